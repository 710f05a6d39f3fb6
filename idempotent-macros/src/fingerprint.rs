//! The arguments `fingerprint` and `skip`: what is compared when a key comes again.

use proc_macro2::Ident;
use syn::{Error, Expr, FnArg, Pat, Result, Signature};

use crate::args::{Arg, Names};
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
    /// contains `engine`.
    pub(crate) fn new(
        value: Option<Arg<Expr>>,
        skip: Option<Arg<Names>>,
        names: Vec<Ident>,
        engine: Option<&Ident>,
    ) -> Result<Self> {
        let Some(value) = value else {
            let skipped = skip
                .map(|skip| checked(skip, &names))
                .transpose()?
                .unwrap_or_default();
            let left_out = |name: &Ident| skipped.contains(name) || engine == Some(name);
            let names: Vec<_> = names.into_iter().filter(|name| !left_out(name)).collect();
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
fn checked(skip: Arg<Names>, names: &[Ident]) -> Result<Vec<Ident>> {
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

/// Lists the names that the arguments of a function bind, other than `self`.
///
/// `_` binds nothing: the body cannot depend on it, and so the fingerprint need not.
pub(crate) fn bound_names(sig: &Signature) -> Vec<Ident> {
    let mut names = Vec::new();
    for input in &sig.inputs {
        if let FnArg::Typed(argument) = input {
            bind(&argument.pat, &mut names);
        }
    }
    names
}

fn bind(pat: &Pat, names: &mut Vec<Ident>) {
    match pat {
        Pat::Ident(pat) => {
            names.push(pat.ident.clone());
            if let Some((_, inner)) = &pat.subpat {
                bind(inner, names);
            }
        }
        // All alternatives bind the same names.
        Pat::Or(pat) => pat.cases.iter().take(1).for_each(|case| bind(case, names)),
        Pat::Paren(pat) => bind(&pat.pat, names),
        Pat::Reference(pat) => bind(&pat.pat, names),
        Pat::Slice(pat) => pat.elems.iter().for_each(|elem| bind(elem, names)),
        Pat::Struct(pat) => pat.fields.iter().for_each(|field| bind(&field.pat, names)),
        Pat::Tuple(pat) => pat.elems.iter().for_each(|elem| bind(elem, names)),
        Pat::TupleStruct(pat) => pat.elems.iter().for_each(|elem| bind(elem, names)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use syn::parse_quote;

    use super::bound_names;

    #[test]
    fn every_name_that_a_body_can_use_is_found() {
        let sig = parse_quote! {
            fn f(
                &self,
                plain: A,
                mut changed: A,
                (a, mut b): (A, A),
                Point { x, y: [z, ..] }: Point,
                Id(ref c): Id,
                whole @ (d, _): (A, A),
                &e: &A,
                (Ok(f) | Err(f)): Result<A, A>,
                _: A,
            )
        };
        let names = bound_names(&sig);
        let names: Vec<_> = names.iter().map(ToString::to_string).collect();
        assert_eq!(
            names,
            [
                "plain", "changed", "a", "b", "x", "z", "c", "whole", "d", "e", "f"
            ]
        );
    }
}
