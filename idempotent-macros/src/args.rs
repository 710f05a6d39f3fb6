//! What stands between the parentheses of `#[idempotent(..)]`: the grammar, and nothing else.

use proc_macro2::Ident;
use syn::ext::IdentExt;
use syn::parse::{Parse, ParseStream};
use syn::punctuated::Punctuated;
use syn::{Error, Expr, Path, Result, Token, parenthesized, token};

use crate::suggest;
use crate::transaction::Transaction;

/// The names of the arguments, in the order of the documentation.
const NAMES: [&str; 18] = [
    "key",
    "ttl",
    "scope",
    "engine",
    "skip",
    "fingerprint",
    "lease",
    "on_conflict",
    "on_error",
    "on_abandoned",
    "on_cancel",
    "on_panic",
    "on_store_failure",
    "on_unrecorded",
    "ctx",
    "determinism",
    "completer",
    "transaction",
];

/// The arguments of the attribute, each given at most once.
///
/// A value is an expression wherever it can be: words such as `hold` are expressions too, and what
/// they mean is decided when all arguments are known.
#[derive(Default)]
pub(crate) struct Args {
    pub(crate) key: Option<Arg<Expr>>,
    pub(crate) ttl: Option<Arg<Expr>>,
    pub(crate) scope: Option<Arg<Expr>>,
    pub(crate) engine: Option<Arg<Expr>>,
    pub(crate) skip: Option<Arg<List>>,
    pub(crate) fingerprint: Option<Arg<Expr>>,
    pub(crate) lease: Option<Arg<Expr>>,
    pub(crate) on_conflict: Option<Arg<Expr>>,
    pub(crate) on_error: Option<Arg<Expr>>,
    pub(crate) on_abandoned: Option<Arg<Expr>>,
    pub(crate) on_cancel: Option<Arg<Expr>>,
    pub(crate) on_panic: Option<Arg<Expr>>,
    pub(crate) on_store_failure: Option<Arg<Expr>>,
    pub(crate) on_unrecorded: Option<Arg<Expr>>,
    pub(crate) ctx: Option<Arg<Ident>>,
    pub(crate) determinism: Option<Arg<Expr>>,
    pub(crate) completer: Option<Arg<Expr>>,
    pub(crate) transaction: Option<Arg<Transaction>>,
    pub(crate) krate: Option<Arg<Path>>,
}

/// One argument: its name, for messages, and its value.
pub(crate) struct Arg<V> {
    pub(crate) name: Ident,
    pub(crate) value: V,
}

/// The names in `skip(a, b)`.
pub(crate) type List = Punctuated<Ident, Token![,]>;

impl Parse for Args {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let mut args = Self::default();
        while !input.is_empty() {
            args.parse_one(input)?;
            if !input.is_empty() {
                input.parse::<Token![,]>()?;
            }
        }
        Ok(args)
    }
}

impl Args {
    fn parse_one(&mut self, input: ParseStream<'_>) -> Result<()> {
        let name = input.call(Ident::parse_any)?;
        match name.to_string().as_str() {
            "key" => set_once(&mut self.key, name, input, expression),
            "ttl" => set_once(&mut self.ttl, name, input, expression),
            "scope" => set_once(&mut self.scope, name, input, expression),
            "engine" => set_once(&mut self.engine, name, input, expression),
            "skip" => set_once(&mut self.skip, name, input, listed),
            "fingerprint" => set_once(&mut self.fingerprint, name, input, expression),
            "lease" => set_once(&mut self.lease, name, input, expression),
            "on_conflict" => set_once(&mut self.on_conflict, name, input, expression),
            "on_error" => set_once(&mut self.on_error, name, input, expression),
            "on_abandoned" => set_once(&mut self.on_abandoned, name, input, expression),
            "on_cancel" => set_once(&mut self.on_cancel, name, input, expression),
            "on_panic" => set_once(&mut self.on_panic, name, input, expression),
            "on_store_failure" => set_once(&mut self.on_store_failure, name, input, expression),
            "on_unrecorded" => set_once(&mut self.on_unrecorded, name, input, expression),
            "ctx" => set_once(&mut self.ctx, name, input, assigned),
            "determinism" => set_once(&mut self.determinism, name, input, expression),
            "completer" => set_once(&mut self.completer, name, input, expression),
            "transaction" => set_once(&mut self.transaction, name, input, opened),
            "crate" => set_once(&mut self.krate, name, input, assigned),
            _ => Err(suggest::unknown("argument", &name, &NAMES)),
        }
    }
}

fn set_once<V>(
    slot: &mut Option<Arg<V>>,
    name: Ident,
    input: ParseStream<'_>,
    value: fn(&Ident, ParseStream<'_>) -> Result<V>,
) -> Result<()> {
    if slot.is_some() {
        return Err(Error::new(
            name.span(),
            format!("duplicate `{name}` argument"),
        ));
    }
    let value = value(&name, input)?;
    *slot = Some(Arg { name, value });
    Ok(())
}

/// Parses `= value`.
fn assigned<V: Parse>(name: &Ident, input: ParseStream<'_>) -> Result<V> {
    if !input.peek(Token![=]) {
        return Err(Error::new(
            name.span(),
            format!("`{name}` needs a value, as in `{name} = ..`"),
        ));
    }
    input.parse::<Token![=]>()?;
    input.parse()
}

/// Parses `= expression`.
fn expression(name: &Ident, input: ParseStream<'_>) -> Result<Expr> {
    let value = assigned(name, input)?;
    Ok(ungrouped(&value).clone())
}

/// Takes off the invisible delimiters of what a `macro_rules` macro has captured: a word is a word,
/// and a literal a literal, wherever they were written.
pub(crate) fn ungrouped(mut value: &Expr) -> &Expr {
    while let Expr::Group(group) = value {
        value = &group.expr;
    }
    value
}

/// Parses `(a, b)`.
fn listed(name: &Ident, input: ParseStream<'_>) -> Result<List> {
    if !input.peek(token::Paren) {
        return Err(Error::new(
            name.span(),
            format!("`{name}` takes a list of arguments, as in `{name}(db)`"),
        ));
    }
    let content;
    parenthesized!(content in input);
    // `skip(self)` says what holds anyway; it is a keyword, but the name of an argument.
    content.parse_terminated(Ident::parse_any, Token![,])
}

/// Parses `(tx in store)`.
fn opened(name: &Ident, input: ParseStream<'_>) -> Result<Transaction> {
    if !input.peek(token::Paren) {
        return Err(Error::new(
            name.span(),
            format!("`{name}` takes a name and a store, as in `{name}(tx in self.store)`"),
        ));
    }
    let content;
    parenthesized!(content in input);
    content.parse()
}

#[cfg(test)]
mod tests {
    use super::{Args, NAMES};

    #[test]
    fn every_name_that_is_suggested_is_accepted() {
        for name in NAMES {
            let args = match name {
                "skip" => "skip(a)".to_owned(),
                "transaction" => "transaction(a in b)".to_owned(),
                name => format!("{name} = a"),
            };
            syn::parse_str::<Args>(&args).unwrap_or_else(|error| panic!("{name}: {error}"));
        }
    }
}
