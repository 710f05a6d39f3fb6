//! The arguments that say for how long, and what happens when something goes wrong.

use proc_macro2::{Ident, Span};
use syn::spanned::Spanned;
use syn::{Error, Expr, Result};

use crate::args::{Arg, Args, ungrouped};
use crate::duration::Length;
use crate::errors::Errors;
use crate::suggest;

/// One choice of a function. What it does not choose is up to its engine.
pub(crate) enum Setting {
    /// `ttl = "24h"`: the method `ttl`.
    Length { method: Ident, length: Length },
    /// `on_panic = hold`: the method `on_panic`, and the variant `OnPanic::Hold` of the core.
    Word {
        method: Ident,
        kind: Ident,
        variant: Ident,
    },
    /// `on_conflict = wait(..)`.
    Wait(Length),
    /// `on_error = hold`.
    HoldErrors(Span),
    /// `on_error = record`.
    RecordErrors(Span),
    /// `on_error = path::to::function`.
    RecordErrorsIf(Expr),
    /// `on_abandoned = verify(find(&order))`: asks the outside world, with a future's expression.
    Verify(Expr),
    /// `on_cancel = detach`: the body runs on in a task of its own.
    Detach(Span),
}

/// Understands all of these arguments.
pub(crate) fn settings(args: &Args) -> Result<Vec<Setting>> {
    let mut errors = Errors::default();
    let mut settings = errors.note(lengths(args)).unwrap_or_default();
    let choices = [
        args.on_conflict.as_ref().map(on_conflict),
        args.on_error
            .as_ref()
            .and_then(|arg| on_error(arg).transpose()),
        args.on_abandoned.as_ref().map(on_abandoned),
        args.on_cancel.as_ref().map(on_cancel),
        args.on_panic
            .as_ref()
            .map(|arg| word(arg, &["hold", "release"])),
        args.on_store_failure
            .as_ref()
            .map(|arg| word(arg, &["fail", "run_unprotected"])),
        args.on_unrecorded
            .as_ref()
            .map(|arg| word(arg, &["error", "return"])),
        args.determinism
            .as_ref()
            .map(|arg| word(arg, &["strict", "by_name"])),
    ];
    for choice in choices.into_iter().flatten() {
        settings.extend(errors.note(choice));
    }
    errors.finish().map(|()| settings)
}

/// `ttl` and `lease`, of which the first must not be the shorter one.
fn lengths(args: &Args) -> Result<Vec<Setting>> {
    let mut errors = Errors::default();
    let mut settings = Vec::new();
    let mut millis = Vec::new();
    for Arg { name, value } in [&args.ttl, &args.lease].into_iter().flatten() {
        let length = errors.note(Length::new(&name.to_string(), value));
        settings.extend(length.map(|length| {
            millis.extend(length.millis());
            let method = name.clone();
            Setting::Length { method, length }
        }));
    }
    errors.finish()?;
    match (&args.ttl, &millis[..]) {
        (Some(ttl), [kept, held]) if kept < held => Err(Error::new(
            ttl.value.span(),
            "`ttl` is shorter than `lease`; keep a result at least as long as one run may take",
        )),
        _ => Ok(settings),
    }
}

fn on_conflict(arg: &Arg<Expr>) -> Result<Setting> {
    if let Some(limit) = call_of(&arg.value, "wait") {
        return Length::new("wait", limit).map(Setting::Wait);
    }
    word(arg, &["fail", "wait(\"10s\")"])
}

/// `None` for `release`, which is what happens if nothing is said.
fn on_error(arg: &Arg<Expr>) -> Result<Option<Setting>> {
    const WORDS: [&str; 4] = ["release", "record", "hold", "path::to::function"];
    let name = word_of(&arg.value).map(|word| word.to_string());
    match (name.as_deref(), &arg.value) {
        (Some("release"), _) => Ok(None),
        (Some("record"), value) => Ok(Some(Setting::RecordErrors(value.span()))),
        (Some("hold"), value) => Ok(Some(Setting::HoldErrors(value.span()))),
        // A word that is nearly one of those is not the name of a function either, in all
        // likelihood: `self::recrod` would be one.
        (Some(name), _) if suggest::closest(name, &WORDS).is_some() => Err(unexpected(arg, &WORDS)),
        (_, Expr::Path(_)) => Ok(Some(Setting::RecordErrorsIf(arg.value.clone()))),
        _ => Err(unexpected(arg, &WORDS)),
    }
}

fn on_abandoned(arg: &Arg<Expr>) -> Result<Setting> {
    match call_of(&arg.value, "verify") {
        Some(Expr::Path(path)) => Err(Error::new(
            path.span(),
            "`verify` takes a call with the arguments it needs, as in `verify(find_order(&order))`",
        )),
        Some(future) => Ok(Setting::Verify(future.clone())),
        None => word(arg, &["rerun", "in_doubt", "verify(find_order(&order))"]),
    }
}

fn on_cancel(arg: &Arg<Expr>) -> Result<Setting> {
    match word_of(&arg.value) {
        Some(word) if word == "detach" => Ok(Setting::Detach(word.span())),
        _ => word(arg, &["hold", "detach", "release"]),
    }
}

/// A value that is one of `words`. Those that show an argument, as `wait("10s")` does, are for the
/// message only.
fn word(arg: &Arg<Expr>, words: &[&str]) -> Result<Setting> {
    let Some(word) = word_of(&arg.value).filter(|word| words.iter().any(|known| word == known))
    else {
        return Err(unexpected(arg, words));
    };
    Ok(Setting::Word {
        method: arg.name.clone(),
        kind: Ident::new(&camel_case(&arg.name.to_string()), Span::mixed_site()),
        variant: Ident::new(&camel_case(&word.to_string()), Span::mixed_site()),
    })
}

fn unexpected(arg: &Arg<Expr>, words: &[&str]) -> Error {
    let name = &arg.name;
    let head = match &arg.value {
        Expr::Call(call) => word_of(&call.func),
        value => word_of(value),
    };
    let known = head
        .as_ref()
        .and_then(|head| suggest::closest(&head.to_string(), words));
    match (head, known) {
        // The word is right, and what follows it is not.
        (Some(head), Some(known)) if head == suggest::name_of(known) => {
            Error::new(arg.value.span(), format!("expected `{name} = {known}`"))
        }
        (Some(head), _) => suggest::unknown(&format!("`{name}`"), &head, words),
        (None, _) => Error::new(
            arg.value.span(),
            format!("`{name}` is {}, without quotes", suggest::one_of(words)),
        ),
    }
}

/// The word that `value` consists of. `return` is one, although it is also a keyword.
pub(crate) fn word_of(value: &Expr) -> Option<Ident> {
    match value {
        Expr::Path(path) if path.qself.is_none() => path.path.get_ident().cloned(),
        Expr::Return(word) if word.expr.is_none() => Some(Ident::new("return", word.span())),
        _ => None,
    }
}

/// The only argument of a call of `name`.
fn call_of<'a>(value: &'a Expr, name: &str) -> Option<&'a Expr> {
    match value {
        Expr::Call(call) if word_of(&call.func)? == name && call.args.len() == 1 => {
            call.args.first().map(ungrouped)
        }
        _ => None,
    }
}

/// Turns `run_unprotected` into `RunUnprotected`.
fn camel_case(snake: &str) -> String {
    let mut camel = String::new();
    for part in snake.split('_') {
        let mut letters = part.chars();
        camel.extend(letters.next().map(|first| first.to_ascii_uppercase()));
        camel.push_str(letters.as_str());
    }
    camel
}
