//! Any arguments on any item: a function if the item is one, or the item beside a compile error.
//!
//! The first line has the arguments, the others the item.

#![no_main]

use idempotent_fuzz::expansion::is_error;
use libfuzzer_sys::fuzz_target;
use proc_macro2::TokenStream;

/// Deeper code overflows the parser's stack, in a compiler too.
const DEEPEST: usize = 64;

const FUNCTION: &str = "async fn f(a: u8, mut b: B) -> Result<(), Error> { Ok(()) }";

fuzz_target!(|text: &str| {
    let (args, item) = text.split_once('\n').unwrap_or((text, FUNCTION));
    if depth(text) > DEEPEST {
        return;
    }
    let (Ok(args), Ok(item)) = (args.parse(), item.parse::<TokenStream>()) else {
        return;
    };
    let expansion = idempotent_macros_library::expand(args, &item);
    let is_function = |tokens| syn::parse2::<syn::ItemFn>(tokens).is_ok();
    if is_error(&expansion) {
        let expansion = expansion.to_string();
        assert!(
            expansion.contains(&item.to_string()),
            "the item is as it was"
        );
    } else {
        // The body is the compiler's to judge: its mistakes stay as they are.
        assert!(
            is_function(expansion) || !is_function(item),
            "the expansion is a function"
        );
    }
});

/// How deep brackets, or signs that stand before an expression, may be nested.
fn depth(text: &str) -> usize {
    let opens = |c: char| matches!(c, '(' | '[' | '{' | '<' | '&' | '*' | '!' | '-' | '|');
    text.chars().filter(|c| opens(*c)).count()
}
