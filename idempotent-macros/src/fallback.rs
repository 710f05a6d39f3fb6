//! What is emitted when the attribute cannot be expanded.

use proc_macro2::TokenStream;
use syn::Error;

/// Keeps the user's function as it was written, beside the error.
pub(crate) fn expand(item: &TokenStream, error: &Error) -> TokenStream {
    let mut tokens = item.clone();
    tokens.extend(error.to_compile_error());
    tokens
}
