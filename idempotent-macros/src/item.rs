//! The function below the attribute. Its body stays tokens: what it says is rustc's to judge.

use proc_macro2::TokenStream;
use syn::parse::{Parse, ParseStream};
use syn::{Attribute, Error, Result, Signature, Token, Visibility, braced, token};

/// A function with a body, free or in an `impl` or `trait` block.
pub(crate) struct FnItem {
    pub(crate) attrs: Vec<Attribute>,
    pub(crate) vis: Visibility,
    pub(crate) sig: Signature,
    pub(crate) body: Body,
}

/// The body of a function.
pub(crate) struct Body {
    pub(crate) brace: token::Brace,
    /// Attributes such as `#![allow(..)]`, which may only stand at the start of a function.
    pub(crate) attrs: Vec<Attribute>,
    pub(crate) tokens: TokenStream,
}

impl Parse for FnItem {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let attrs = input.call(Attribute::parse_outer)?;
        let vis = input.parse()?;
        if !starts_function(input) {
            return Err(input.error("`#[idempotent]` goes on an `async fn`"));
        }
        let sig: Signature = input.parse()?;
        if input.peek(Token![;]) {
            return Err(Error::new(
                sig.ident.span(),
                format!(
                    "`{}` has no body; put `#[idempotent]` on an implementation of it",
                    sig.ident
                ),
            ));
        }
        Ok(Self {
            attrs,
            vis,
            sig,
            body: input.parse()?,
        })
    }
}

impl Parse for Body {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let content;
        let brace = braced!(content in input);
        let attrs = content.call(Attribute::parse_inner)?;
        Ok(Self {
            brace,
            attrs,
            tokens: content.parse()?,
        })
    }
}

fn starts_function(input: ParseStream<'_>) -> bool {
    input.peek(Token![fn])
        || input.peek(Token![async])
        || input.peek(Token![unsafe])
        || input.peek(Token![extern])
        || (input.peek(Token![const]) && !input.peek3(Token![:]))
}
