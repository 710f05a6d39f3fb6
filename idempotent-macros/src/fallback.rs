//! What is emitted when the attribute cannot be expanded.

use proc_macro2::TokenStream;
use quote::quote;
use syn::Error;

/// Keeps the user's function as it was written, beside the error.
///
/// An argument that only the attribute uses is unused now. Warnings about those would hide the error.
pub(crate) fn expand(item: &TokenStream, error: &Error) -> TokenStream {
    let error = error.to_compile_error();
    quote! {
        #[allow(unused_variables, reason = "the attribute was not expanded")]
        #item
        #error
    }
}
