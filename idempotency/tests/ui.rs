//! What a person sees who makes a mistake.

/// Every case is a mistake of one kind, and the message that helps to correct it.
///
/// After a change, `TRYBUILD=overwrite` writes the messages anew. Read every one.
#[test]
fn mistakes_are_explained() {
    trybuild::TestCases::new().compile_fail("tests/ui/*.rs");
}
