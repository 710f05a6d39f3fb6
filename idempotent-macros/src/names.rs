//! The names that the arguments of a function have in its body.

use proc_macro2::Ident;
use syn::{FnArg, Pat, Signature};

use crate::boxed::Boxed;

#[derive(Default)]
pub(crate) struct Names {
    /// All of them, other than `self`.
    pub(crate) all: Vec<Ident>,
    /// Those that the body changes, `self` included: they are `mut`.
    pub(crate) changed: Vec<Ident>,
}

impl Names {
    /// Lists what the arguments bind.
    ///
    /// `_` binds nothing: the body cannot depend on it, and so the fingerprint need not.
    pub(crate) fn new(sig: &Signature, boxed: Option<&Boxed>) -> Self {
        let mut names = Self::default();
        for input in &sig.inputs {
            match input {
                FnArg::Receiver(receiver) if receiver.mutability.is_some() => {
                    names
                        .changed
                        .push(Ident::new("self", receiver.self_token.span));
                }
                FnArg::Receiver(_) => {}
                FnArg::Typed(argument) => {
                    let pat = &*argument.pat;
                    names.bind(boxed.and_then(|boxed| boxed.pattern_of(pat)).unwrap_or(pat));
                }
            }
        }
        names
    }

    fn bind(&mut self, pat: &Pat) {
        match pat {
            Pat::Ident(pat) => {
                self.all.push(pat.ident.clone());
                if pat.mutability.is_some() {
                    self.changed.push(pat.ident.clone());
                }
                if let Some((_, inner)) = &pat.subpat {
                    self.bind(inner);
                }
            }
            // All alternatives bind the same names.
            Pat::Or(pat) => pat.cases.iter().take(1).for_each(|case| self.bind(case)),
            Pat::Paren(pat) => self.bind(&pat.pat),
            Pat::Reference(pat) => self.bind(&pat.pat),
            Pat::Slice(pat) => pat.elems.iter().for_each(|elem| self.bind(elem)),
            Pat::Struct(pat) => pat.fields.iter().for_each(|field| self.bind(&field.pat)),
            Pat::Tuple(pat) => pat.elems.iter().for_each(|elem| self.bind(elem)),
            Pat::TupleStruct(pat) => pat.elems.iter().for_each(|elem| self.bind(elem)),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use proc_macro2::Ident;
    use syn::parse_quote;

    use super::Names;

    #[test]
    fn every_name_that_a_body_can_use_is_found() {
        let sig = parse_quote! {
            fn f(
                mut self,
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
        let names = Names::new(&sig, None);
        let text = |names: &[Ident]| {
            names
                .iter()
                .map(Ident::to_string)
                .collect::<Vec<_>>()
                .join(" ")
        };
        assert_eq!(text(&names.all), "plain changed a b x z c whole d e f");
        assert_eq!(text(&names.changed), "self changed b");
    }
}
