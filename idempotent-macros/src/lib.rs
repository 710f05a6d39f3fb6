//! The `#[idempotent]` attribute of [`idempotency`](https://docs.rs/idempotency), where it is
//! documented.
//!
//! An attribute is expanded in three phases, each with a type of its own. Tokens are parsed into
//! `Args` and an `FnItem`, which know the grammar. These are validated into an `Operation`, which
//! knows what may be combined with what. That is expanded into tokens, which cannot fail. An error of
//! the first two phases is reported beside the function as its author wrote it.

mod args;
mod boxed;
mod duration;
mod errors;
mod expand;
mod fallback;
mod fingerprint;
mod input;
mod item;
mod key;
mod names;
mod operation;
mod policy;
mod shape;
mod suggest;
mod template;

#[cfg(test)]
mod tests;
mod transaction;

use proc_macro2::TokenStream;
use syn::Result;

use crate::operation::Operation;

/// Makes an async function return the answer of its first call with the same key.
#[cfg(not(fuzzing))]
#[proc_macro_attribute]
pub fn idempotent(
    args: proc_macro::TokenStream,
    item: proc_macro::TokenStream,
) -> proc_macro::TokenStream {
    attribute(args.into(), &item.into()).into()
}

/// Makes of `item` what the attribute makes of it, in a build that is no procedural macro.
#[cfg(fuzzing)]
#[must_use]
pub fn expand(args: TokenStream, item: &TokenStream) -> TokenStream {
    attribute(args, item)
}

fn attribute(args: TokenStream, item: &TokenStream) -> TokenStream {
    match try_expand(args, item.clone()) {
        Ok(expanded) => expanded,
        // Callers, and the editor, keep the function they know.
        Err(error) => fallback::expand(item, &error),
    }
}

fn try_expand(args: TokenStream, item: TokenStream) -> Result<TokenStream> {
    let item = syn::parse2(item)?;
    let args = syn::parse2(args)?;
    let operation = Operation::new(args, item)?;
    Ok(expand::expand(&operation))
}
