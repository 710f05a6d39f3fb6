//! The arguments `fingerprint` and `skip`: what is compared when a key comes again.

use proc_macro2::Ident;
use syn::{Error, Expr, Result};

use crate::args::{Arg, List};
use crate::policy::word_of;
use crate::suggest;

/// What a call's fingerprint is made of.
pub(crate) enum Fingerprint {
    /// `fingerprint = none`, or no argument is left: the key alone decides.
    None,
    /// `fingerprint = expr`.
    Value(Expr),
    /// The function's arguments, by the names that its body uses.
    Arguments(Vec<Ident>),
}

impl Fingerprint {
    /// Understands both arguments for a function that takes `names`, of which the fingerprint never
    /// contains `owners`: those of the engine and of the store.
    pub(crate) fn new(
        value: Option<Arg<Expr>>,
        skip: Option<Arg<List>>,
        names: &[Ident],
        owners: &[&Ident],
    ) -> Result<Self> {
        let Some(value) = value else {
            let skipped = skip
                .map(|skip| checked(skip, names))
                .transpose()?
                .unwrap_or_default();
            let left_out = |name: &Ident| skipped.contains(name) || owners.contains(&name);
            let names = names.iter().filter(|name| !left_out(name));
            let names: Vec<_> = names.cloned().collect();
            return Ok(if names.is_empty() {
                Self::None
            } else {
                Self::Arguments(names)
            });
        };
        if let Some(skip) = skip {
            return Err(Error::new(
                skip.name.span(),
                "`skip` has no effect beside `fingerprint`, which replaces the arguments",
            ));
        }
        match word_of(&value.value) {
            Some(word) if word == "none" => Ok(Self::None),
            // `Option::None` would only fail later, with a type that nobody wrote.
            Some(word) if word == "None" => Err(suggest::unknown("fingerprint", &word, &["none"])),
            _ => Ok(Self::Value(value.value)),
        }
    }
}

/// The names in `skip(..)`, each of which must be an argument.
fn checked(skip: Arg<List>, names: &[Ident]) -> Result<Vec<Ident>> {
    let mut skipped = Vec::new();
    for name in skip.value {
        if skipped.contains(&name) {
            return Err(Error::new(
                name.span(),
                format!("`{name}` is skipped twice"),
            ));
        }
        if name != "self" && !names.contains(&name) {
            let known: Vec<_> = names.iter().map(ToString::to_string).collect();
            let known: Vec<_> = known.iter().map(String::as_str).collect();
            return Err(suggest::unknown("function argument", &name, &known));
        }
        skipped.push(name);
    }
    Ok(skipped)
}
