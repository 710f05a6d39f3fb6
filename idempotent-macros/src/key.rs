//! The argument `key`.

use proc_macro2::Ident;
use syn::{Error, Expr, ExprLit, Lit, Result};

use crate::args::Arg;
use crate::template::Template;

/// What identifies a call.
pub(crate) enum Key {
    /// A string literal with placeholders.
    Template(Template),
    /// An expression `K: IntoKey`.
    Expr(Expr),
}

impl Key {
    /// Understands the key of the function `name`, which must have one.
    pub(crate) fn new(arg: Option<Arg<Expr>>, name: &Ident) -> Result<Self> {
        let Some(arg) = arg else {
            return Err(Error::new(
                name.span(),
                "missing `key`, as in `#[idempotent(key = order.id)]`",
            ));
        };
        match arg.value {
            Expr::Lit(ExprLit {
                lit: Lit::Str(text),
                ..
            }) => Template::new(&text).map(Self::Template),
            value => Ok(Self::Expr(value)),
        }
    }
}
