//! What the attribute makes of a function.

use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// Expands the attribute with `args` on a function that has an argument of each name `a` to `d`.
pub fn expand(args: TokenStream) -> TokenStream {
    let item = "async fn f(a: u8, b: u8, c: u8, d: u8) -> Result<(), Error> { Ok(()) }";
    let item = item.parse().expect("tokens");
    idempotent_macros_library::expand(args, &item)
}

/// The tokens in parentheses after the first `name`, at any depth.
pub fn call_of(tokens: &TokenStream, name: &str) -> Option<TokenStream> {
    let mut tokens = tokens.clone().into_iter().peekable();
    while let Some(token) = tokens.next() {
        let found = match (&token, tokens.peek()) {
            (TokenTree::Ident(ident), Some(TokenTree::Group(group))) if ident == name => {
                (group.delimiter() == Delimiter::Parenthesis).then(|| group.stream())
            }
            (TokenTree::Group(group), _) => call_of(&group.stream(), name),
            _ => None,
        };
        if found.is_some() {
            return found;
        }
    }
    None
}

/// Whether the attribute has reported an error.
pub fn is_error(tokens: &TokenStream) -> bool {
    tokens.clone().into_iter().any(|token| match token {
        TokenTree::Group(group) => is_error(&group.stream()),
        TokenTree::Ident(ident) => ident == "compile_error",
        TokenTree::Literal(_) | TokenTree::Punct(_) => false,
    })
}
