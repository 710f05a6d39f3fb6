//! What an annotated function means. Everything that could be wrong about it has been checked.

use proc_macro2::Ident;
use syn::{Attribute, Error, Expr, ExprLit, Lit, LitStr, Path, Result, Signature, Visibility};

use crate::args::{Arg, Args};
use crate::errors::Errors;
use crate::fingerprint::Fingerprint;
use crate::input::{self, Input};
use crate::item::{Body, FnItem};
use crate::key::Key;
use crate::names::Names;
use crate::policy::{self, Setting};
use crate::shape::Shape;
use crate::transaction::{self, Transaction};

/// A valid idempotent function.
pub(crate) struct Operation {
    pub(crate) attrs: Vec<Attribute>,
    pub(crate) vis: Visibility,
    pub(crate) sig: Signature,
    pub(crate) body: Body,
    pub(crate) shape: Shape,
    /// Where the runtime is: in the facade, unless this says otherwise.
    pub(crate) krate: Option<Path>,
    /// The operation's name, if it has one that outlives the function's.
    pub(crate) scope: Option<LitStr>,
    /// The engine, unless it is the process default.
    pub(crate) engine: Option<Expr>,
    pub(crate) key: Key,
    pub(crate) fingerprint: Fingerprint,
    /// The arguments that are kept for a completer.
    pub(crate) input: Option<Input>,
    pub(crate) settings: Vec<Setting>,
    /// The name under which the body sees its attempt.
    pub(crate) ctx: Option<Ident>,
    /// The transaction that the body runs in.
    pub(crate) transaction: Option<Transaction>,
    /// The arguments that the body may change.
    pub(crate) changed: Vec<Ident>,
}

impl Operation {
    /// Checks `args` against `item`, and against each other.
    pub(crate) fn new(args: Args, item: FnItem) -> Result<Self> {
        let FnItem {
            attrs,
            vis,
            sig,
            body,
        } = item;
        let mut errors = Errors::default();

        let shape = errors.note(Shape::find(&sig, &body));
        let names = Names::new(&sig, shape.as_ref().ok().and_then(Shape::boxed));
        let settings = policy::settings(&args);
        _ = errors.note(transaction::check(&args, &names.all));
        let key = errors.note(Key::new(args.key, &sig.ident));
        let scope = errors.note(args.scope.map(scope).transpose());
        let ctx = errors.note(args.ctx.map(|arg| ctx(arg, &names.all)).transpose());
        let engine = args.engine.map(|arg| arg.value);
        let transaction = args.transaction.map(|arg| arg.value);
        let store = transaction.as_ref().map(|transaction| &transaction.store);
        let owners: Vec<_> = [engine.as_ref(), store]
            .into_iter()
            .flatten()
            .filter_map(root)
            .collect();
        let skipped = input::skipped(args.skip.as_ref(), &owners);
        let input = Input::new(args.completer, &names.all, &skipped);
        let input = errors.note(input);
        let fingerprint = Fingerprint::new(args.fingerprint, args.skip, &names.all, &owners);
        let fingerprint = errors.note(fingerprint);
        let settings = errors.note(settings);
        errors.finish()?;

        Ok(Self {
            attrs,
            vis,
            sig,
            body,
            shape: shape?,
            krate: args.krate.map(|arg| arg.value),
            scope: scope?,
            engine,
            key: key?,
            fingerprint: fingerprint?,
            input: input?,
            settings: settings?,
            ctx: ctx?,
            transaction,
            changed: names.changed,
        })
    }
}

fn scope(arg: Arg<Expr>) -> Result<LitStr> {
    match arg.value {
        Expr::Lit(ExprLit {
            lit: Lit::Str(text),
            ..
        }) if text.value().is_empty() => Err(Error::new(text.span(), "`scope` cannot be empty")),
        Expr::Lit(ExprLit {
            lit: Lit::Str(text),
            ..
        }) => Ok(text),
        value => Err(Error::new_spanned(
            value,
            "`scope` is a string literal, as in `scope = \"orders.create\"`",
        )),
    }
}

fn ctx(arg: Arg<Ident>, names: &[Ident]) -> Result<Ident> {
    if names.contains(&arg.value) {
        return Err(Error::new(
            arg.value.span(),
            format!("`{}` is already an argument of the function", arg.value),
        ));
    }
    Ok(arg.value)
}

/// The argument that an expression such as `ctx.engine()` starts with.
fn root(expr: &Expr) -> Option<&Ident> {
    match expr {
        Expr::Path(path) => path.path.get_ident(),
        Expr::Field(field) => root(&field.base),
        Expr::MethodCall(call) => root(&call.receiver),
        Expr::Paren(paren) => root(&paren.expr),
        Expr::Reference(reference) => root(&reference.expr),
        Expr::Unary(unary) => root(&unary.expr),
        _ => None,
    }
}
