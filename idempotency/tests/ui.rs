//! What a person sees who makes a mistake, and who does not.

/// Every case is a mistake of one kind, and the message that helps to correct it.
///
/// After a change, `TRYBUILD=overwrite` writes the messages anew. Read every one.
#[test]
fn mistakes_are_explained_and_the_rest_compiles() {
    let cases = trybuild::TestCases::new();
    cases.compile_fail("tests/ui/*.rs");
    cases.pass("tests/ui/pass/*.rs");
}
