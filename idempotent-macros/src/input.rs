//! `completer = true`: the arguments are kept, so that a completer can call the function again.

use proc_macro2::Ident;
use syn::{Error, Expr, ExprLit, Lit, Result};

use crate::args::{Arg, List};

/// The arguments that are kept, in their order.
pub(crate) struct Input(pub(crate) Vec<Ident>);

impl Input {
    /// Understands the argument for a function that takes `names`, without those that are `skipped`.
    pub(crate) fn new(
        arg: Option<Arg<Expr>>,
        names: &[Ident],
        skipped: &[Ident],
    ) -> Result<Option<Self>> {
        let Some(Arg { value, .. }) = arg else {
            return Ok(None);
        };
        match &value {
            Expr::Lit(ExprLit {
                lit: Lit::Bool(keeps),
                ..
            }) => {
                let kept = names.iter().filter(|name| !skipped.contains(name));
                Ok(keeps.value.then(|| Self(kept.cloned().collect())))
            }
            value => Err(Error::new_spanned(
                value,
                "`completer` is `true` or `false`, without quotes",
            )),
        }
    }
}

/// The arguments that are never kept: those of the engine, and those that `skip` names.
pub(crate) fn skipped(skip: Option<&Arg<List>>, owners: &[&Ident]) -> Vec<Ident> {
    let skip = skip.into_iter().flat_map(|arg| arg.value.iter());
    skip.chain(owners.iter().copied()).cloned().collect()
}
