//! The two kinds of function that give a future: `async fn`, and what `#[async_trait]` makes of one.

use proc_macro2::{TokenStream, TokenTree};
use quote::ToTokens;
use syn::punctuated::Punctuated;
use syn::{
    Block, Error, Expr, ExprCall, GenericArgument, PathArguments, Result, ReturnType, Signature,
    Stmt, Token, Type, TypeParamBound, TypePath,
};

use crate::item::Body;

/// Where the operation is in a function, and what it returns.
pub(crate) struct Shape {
    pub(crate) kind: Kind,
    /// The `R` that the future gives.
    pub(crate) reply: Type,
}

pub(crate) enum Kind {
    /// `async fn f() -> R { body }`: the operation is the body.
    Async,
    /// `fn f() -> Pin<Box<dyn Future<Output = R>>> { before; Box::pin(future) }`: it is `future`.
    Boxed {
        before: Vec<Stmt>,
        pin: Box<Expr>,
        future: Box<Expr>,
    },
}

impl Shape {
    pub(crate) fn find(sig: &Signature, body: &Body) -> Result<Self> {
        if let Some(token) = sig.constness {
            return Err(Error::new(token.span, "a `const fn` cannot be idempotent"));
        }
        let ReturnType::Type(_, output) = &sig.output else {
            return Err(match sig.asyncness {
                None => not_async(sig),
                Some(_) => Error::new(
                    sig.ident.span(),
                    format!(
                        "`{}` has no way to report an error; let it return `Result<(), E>` with an \
                         `E: From<idempotency::Error>`",
                        sig.ident
                    ),
                ),
            });
        };
        let (kind, reply) = match sig.asyncness {
            Some(_) => (Kind::Async, &**output),
            None => boxed(output, body).ok_or_else(|| not_async(sig))?,
        };
        check_reply(reply)?;
        Ok(Self {
            kind,
            reply: reply.clone(),
        })
    }
}

fn not_async(sig: &Signature) -> Error {
    Error::new(sig.fn_token.span, "`#[idempotent]` needs an `async fn`")
}

/// Finds the future and its output in a function that `#[async_trait]` has rewritten.
///
/// This is a heuristic: it goes by the last expression, which calls something `::pin`, and by the
/// first `Output = ..` in the return type. It is wrong for a function whose own `pin` does something
/// else, and does not find a return type behind an alias.
fn boxed<'a>(output: &'a Type, body: &Body) -> Option<(Kind, &'a Type)> {
    let reply = future_output(output)?;
    let mut before = syn::parse::Parser::parse2(Block::parse_within, body.tokens.clone()).ok()?;
    let Some(Stmt::Expr(Expr::Call(ExprCall { func, args, .. }), None)) = before.pop() else {
        return None;
    };
    let Expr::Path(callee) = &*func else {
        return None;
    };
    let is_pin = callee.path.segments.last()?.ident == "pin";
    let future = exactly_one(args).filter(|_| is_pin)?;
    Some((
        Kind::Boxed {
            before,
            pin: func,
            future: Box::new(future),
        },
        reply,
    ))
}

fn exactly_one<T>(list: Punctuated<T, Token![,]>) -> Option<T> {
    let mut list = list.into_iter();
    list.next().filter(|_| list.len() == 0)
}

/// Finds `R` in `Pin<Box<dyn Future<Output = R> + Send>>`.
fn future_output(ty: &Type) -> Option<&Type> {
    match ty {
        Type::Path(ty) => {
            generic_arguments(&ty.path.segments.last()?.arguments).find_map(|argument| {
                match argument {
                    GenericArgument::Type(inner) => future_output(inner),
                    _ => None,
                }
            })
        }
        Type::TraitObject(object) => object.bounds.iter().find_map(|bound| match bound {
            TypeParamBound::Trait(bound) => {
                generic_arguments(&bound.path.segments.last()?.arguments).find_map(|argument| {
                    match argument {
                        GenericArgument::AssocType(output) if output.ident == "Output" => {
                            Some(&output.ty)
                        }
                        _ => None,
                    }
                })
            }
            _ => None,
        }),
        _ => None,
    }
}

fn generic_arguments(arguments: &PathArguments) -> impl Iterator<Item = &GenericArgument> {
    let list = match arguments {
        PathArguments::AngleBracketed(list) => Some(&list.args),
        _ => None,
    };
    list.into_iter().flatten()
}

/// Refuses what no trait bound could explain as well. All else is left to the traits of the core.
fn check_reply(reply: &Type) -> Result<()> {
    if let Some(token) = find(reply.to_token_stream(), "impl") {
        return Err(Error::new(
            token.span(),
            "a replay cannot give an `impl Trait`; name the type, so that it can be stored",
        ));
    }
    // For a borrowed result, rustc would only say that `Deserialize` is not general enough.
    if let Some(token) = value_type(reply).and_then(|ty| find(ty.to_token_stream(), "&")) {
        return Err(Error::new(
            token.span(),
            "a replay has nothing to borrow from; return an owned value, such as a `String` for a \
             `&str`",
        ));
    }
    Ok(())
}

/// Guesses which part of a return type is the value: the `T` of `Result<T, E>`.
///
/// This is a heuristic: it takes the first type argument of whatever the type is called. It finds
/// nothing behind an alias, where rustc's own message has to do.
fn value_type(reply: &Type) -> Option<&Type> {
    let Type::Path(TypePath { path, .. }) = reply else {
        return Some(reply);
    };
    generic_arguments(&path.segments.last()?.arguments).find_map(|argument| match argument {
        GenericArgument::Type(value) => Some(value),
        _ => None,
    })
}

/// Finds the token that is written `text`, at any depth.
fn find(tokens: TokenStream, text: &str) -> Option<TokenTree> {
    tokens.into_iter().find_map(|token| match &token {
        TokenTree::Group(group) => find(group.stream(), text),
        TokenTree::Ident(_) | TokenTree::Punct(_) => (token.to_string() == text).then_some(token),
        TokenTree::Literal(_) => None,
    })
}
