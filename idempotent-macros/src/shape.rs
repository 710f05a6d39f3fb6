//! Where the operation is in a function, and what it returns.

use proc_macro2::{TokenStream, TokenTree};
use quote::ToTokens;
use syn::{Error, GenericArgument, Path, PathArguments, Result, ReturnType, Signature, Type};

use crate::boxed::{Boxed, future_output};
use crate::item::Body;

pub(crate) struct Shape {
    pub(crate) kind: Kind,
    /// The `R` that the future gives.
    pub(crate) reply: Type,
}

/// The two kinds of function that give a future.
pub(crate) enum Kind {
    /// `async fn f() -> R { body }`: the operation is the body.
    Async,
    /// `fn f() -> Pin<Box<dyn Future<Output = R>>> { Box::pin(future) }`: it is the future.
    Boxed(Box<Boxed>),
}

impl Shape {
    pub(crate) fn find(sig: &Signature, body: &Body) -> Result<Self> {
        if let Some(token) = sig.constness {
            return Err(Error::new(token.span, "a `const fn` cannot be idempotent"));
        }
        let (kind, reply) = match (&sig.output, sig.asyncness) {
            (ReturnType::Type(_, reply), Some(_)) => (Kind::Async, &**reply),
            (ReturnType::Default, Some(_)) => return Err(no_error_channel(sig)),
            (ReturnType::Type(_, output), None) => {
                let boxed = Boxed::find(body).zip(future_output(output));
                let (boxed, reply) = boxed.ok_or_else(|| not_async(sig))?;
                (Kind::Boxed(Box::new(boxed)), reply)
            }
            (ReturnType::Default, None) => return Err(not_async(sig)),
        };
        check_reply(reply)?;
        Ok(Self {
            kind,
            reply: reply.clone(),
        })
    }

    pub(crate) const fn boxed(&self) -> Option<&Boxed> {
        match &self.kind {
            Kind::Async => None,
            Kind::Boxed(boxed) => Some(boxed),
        }
    }
}

fn not_async(sig: &Signature) -> Error {
    Error::new(sig.fn_token.span, "`#[idempotent]` needs an `async fn`")
}

fn no_error_channel(sig: &Signature) -> Error {
    Error::new(
        sig.ident.span(),
        format!(
            "`{}` has no way to report an error; let it return `Result<(), E>` with an \
             `E: From<idempotency::Error>`",
            sig.ident
        ),
    )
}

/// Refuses what no trait bound could explain as well. All else is left to the traits of the core.
fn check_reply(reply: &Type) -> Result<()> {
    if let Some(token) = find(reply.to_token_stream(), "impl") {
        return Err(Error::new(
            token.span(),
            "a replay cannot give an `impl Trait`; name the type, so that it can be recorded",
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
/// This is a heuristic: it takes the first type argument of whatever the type is called. It is wrong
/// for an alias whose first argument is something else, and finds nothing in an alias without
/// arguments, where rustc's own message has to do.
fn value_type(reply: &Type) -> Option<&Type> {
    match reply {
        Type::Group(group) => value_type(&group.elem),
        Type::Path(ty) => generic_arguments(&ty.path).find_map(|argument| match argument {
            GenericArgument::Type(value) => Some(value),
            _ => None,
        }),
        _ => Some(reply),
    }
}

/// The `T` and `E` of `result::Result<T, E>`.
pub(crate) fn generic_arguments(path: &Path) -> impl Iterator<Item = &GenericArgument> {
    let arguments = path.segments.last().map(|segment| &segment.arguments);
    let list = match arguments {
        Some(PathArguments::AngleBracketed(list)) => Some(&list.args),
        _ => None,
    };
    list.into_iter().flatten()
}

/// Finds the token that is written `text`, at any depth.
fn find(tokens: TokenStream, text: &str) -> Option<TokenTree> {
    tokens.into_iter().find_map(|token| match &token {
        TokenTree::Group(group) => find(group.stream(), text),
        TokenTree::Ident(_) | TokenTree::Punct(_) => (token.to_string() == text).then_some(token),
        TokenTree::Literal(_) => None,
    })
}
