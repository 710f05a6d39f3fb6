//! Tokens of a valid operation. Nothing can fail here, and what can be a function of the core is one.

use proc_macro2::{Ident, Literal, Span, TokenStream};
use quote::{ToTokens, quote_spanned};
use syn::ext::IdentExt;
use syn::spanned::Spanned;
use syn::{Expr, ExprReference, Path, Token};

use crate::boxed::Boxed;
use crate::duration::Length;
use crate::fingerprint::Fingerprint;
use crate::input::Input;
use crate::key::Key;
use crate::operation::Operation;
use crate::policy::Setting;
use crate::shape::Kind;
use crate::template::{Part, Template};
use crate::transaction::Transaction;

// Input:
//     #[idempotent(key = order.id, ttl = "24h", engine = self.engine)]
//     async fn charge(&self, order: Order) -> Result<Receipt, Error> { body }
//
// Output:
//     async fn charge(&self, order: Order) -> Result<Receipt, Error> {
//         static SITE: Site = Site::new(concat!(module_path!(), "::charge"));
//         let operation = __private::operation(__private::engine(&self.engine), &SITE)
//             .key(&order.id)
//             .fingerprint_args(|args| args.arg("order", &order))
//             .ttl(Duration::from_secs(86400));
//         match Operation::begin(operation).await {
//             Start::Return(reply) => reply,
//             Start::Run(running) => Running::finish(running, async move { body }).await,
//         }
//     }
pub(crate) fn expand(operation: &Operation) -> TokenStream {
    let Operation {
        attrs,
        vis,
        sig,
        body,
        shape,
        ..
    } = operation;
    let span = generated_at(sig.ident.span());
    let block = match &shape.kind {
        Kind::Async => {
            let mut future = quote_spanned!(span=> async move);
            // The user's own braces: rustc then reports a broken body there, and only there.
            body.brace.surround(&mut future, |block| {
                pin_type(operation).to_tokens(block);
                capture_whole(operation).to_tokens(block);
                body.tokens.to_tokens(block);
            });
            run(operation, &future)
        }
        Kind::Boxed(boxed) => {
            let Boxed {
                before,
                pin,
                bindings,
                future,
            } = &**boxed;
            let run = run(operation, future);
            quote_spanned!(span=> #(#before)* #pin(async move { #(#bindings)* #run }))
        }
    };
    let inner_attrs = &body.attrs;
    quote_spanned!(span=> #(#attrs)* #vis #sig { #(#inner_attrs)* #block })
}

/// Points at the user's code, and still counts as generated, so that lints leave it alone.
fn generated_at(user: Span) -> Span {
    Span::mixed_site().located_at(user)
}

/// The user's word, as the name of something generated.
fn generated(word: &Ident) -> Ident {
    Ident::new(&word.to_string(), generated_at(word.span()))
}

/// Claims the key, and runs `future` if that is to be done.
fn run(operation: &Operation, future: &impl ToTokens) -> TokenStream {
    let name = &operation.sig.ident;
    let span = generated_at(name.span());
    let private = private(operation, span);
    let scope = if let Some(scope) = &operation.scope {
        scope.to_token_stream()
    } else {
        let name = format!("::{}", name.unraw());
        quote_spanned!(span=> #private::core::concat!(#private::core::module_path!(), #name))
    };
    let allow = allow_underscored(operation);
    let build = build(operation);
    let answer = answer(operation, future);
    quote_spanned! {span=>
        static __SITE: #private::Site =
            #private::Site::new(#scope);
        #allow let __operation = #build;
        #answer
    }
}

/// Returns what there is to return, or runs `future`.
///
/// A return type that cannot be replayed is reported where it stands, and once: two calls that need
/// the same of it have the same span, and are function calls, not method calls, for which rustc would
/// say that there is no such method.
fn answer(operation: &Operation, future: &impl ToTokens) -> TokenStream {
    let span = generated_at(operation.shape.reply.span());
    let private = private(operation, span);
    if let Some(transaction) = &operation.transaction {
        return answer_in(operation, transaction, future, span);
    }
    let begin = begin(operation, span);
    let mut finish = finish(operation, future, span);
    if let Some(ctx) = &operation.ctx {
        finish = quote_spanned!(span=> { let #ctx = __running.attempt(); #finish });
    }
    quote_spanned! {span=>
        match #begin {
            #private::Start::Return(__reply) => __reply,
            #private::Start::Run(__running) => #finish,
        }
    }
}

// Output:
//     match Operation::seat(operation) {
//         Err(reply) => reply,
//         Ok(seat) => {
//             let reply = match Seat::begin(&seat, &self.store).await {
//                 Begun::Return(reply) => reply,
//                 Begun::Run(mut running) => {
//                     let tx = InTransaction::transaction(&mut running);
//                     let ended = caught(async move { body }).await;
//                     InTransaction::finish(running, ended).await
//                 }
//             };
//             reply
//         }
//     }
fn answer_in(
    operation: &Operation,
    Transaction { name, store }: &Transaction,
    future: &impl ToTokens,
    span: Span,
) -> TokenStream {
    let private = private(operation, span);
    // A store without transactions is reported where it stands.
    let at_store = generated_at(store.span());
    let private_at_store = self::private(operation, at_store);
    let store = reference(store);
    let begin = quote_spanned!(at_store=> #private_at_store::Seat::begin(&__seat, #store).await);
    let open =
        quote_spanned!(at_store=> #private_at_store::InTransaction::transaction(&mut __running));
    let finish = quote_spanned!(at_store=> #private_at_store::InTransaction::finish(__running, __ended).await);
    let ctx = operation.ctx.as_ref();
    let ctx = ctx.map(|ctx| quote_spanned!(span=> let #ctx = __running.attempt();));
    quote_spanned! {span=>
        match #private::Operation::seat(__operation) {
            #private::core::result::Result::Err(__reply) => __reply,
            #private::core::result::Result::Ok(__seat) => {
                let __reply = match #begin {
                    #private::Begun::Return(__reply) => __reply,
                    #private::Begun::Run(mut __running) => {
                        #ctx
                        let #name = #open;
                        let __ended = #private::caught(#future).await;
                        #finish
                    }
                };
                __reply
            }
        }
    }
}

fn begin(operation: &Operation, span: Span) -> TokenStream {
    let verify = operation.settings.iter().find_map(|setting| match setting {
        Setting::Verify(future) => Some(future),
        _ => None,
    });
    if let Some(future) = verify {
        // A verdict about something else is reported at the expression that gives it.
        let span = generated_at(future.span());
        let private = private(operation, span);
        quote_spanned!(span=> #private::Operation::begin_verified(__operation, || #future).await)
    } else {
        let private = private(operation, span);
        quote_spanned!(span=> #private::Operation::begin(__operation).await)
    }
}

fn finish(operation: &Operation, future: &impl ToTokens, span: Span) -> TokenStream {
    let detach = operation.settings.iter().find_map(|setting| match setting {
        Setting::Detach(word) => Some(*word),
        _ => None,
    });
    if let Some(word) = detach {
        // A body that borrows cannot outlive its caller: rustc says so at the word.
        let span = generated_at(word);
        let private = private(operation, span);
        quote_spanned!(span=> #private::Running::finish_detached(__running, #future).await)
    } else {
        let private = private(operation, span);
        quote_spanned!(span=> #private::Running::finish(__running, #future).await)
    }
}

/// Keeps clippy quiet about the use of an `_argument`. It goes by where that was declared, so that the
/// spans of generated code do not help.
fn allow_underscored(operation: &Operation) -> Option<TokenStream> {
    let is_underscored = match &operation.fingerprint {
        Fingerprint::None | Fingerprint::Value(_) => false,
        Fingerprint::Arguments(names) => names.iter().any(|name| name.to_string().starts_with('_')),
    };
    let span = generated_at(operation.sig.ident.span());
    is_underscored.then(|| {
        quote_spanned! {span=>
            #[allow(clippy::used_underscore_binding, reason = "the fingerprint uses all arguments")]
        }
    })
}

/// The builder of the operation, told everything that the attribute says.
fn build(operation: &Operation) -> TokenStream {
    let span = generated_at(operation.sig.ident.span());
    let private = private(operation, span);
    let engine = if let Some(engine) = &operation.engine {
        let engine = reference(engine);
        quote_spanned!(span=> #private::engine(#engine))
    } else {
        quote_spanned!(span=> #private::installed())
    };
    let key = match &operation.key {
        Key::Expr(key) => key_reference(key),
        Key::Template(template) => template_reference(operation, template),
    };
    let fingerprint = fingerprint(&operation.fingerprint, span);
    let input = operation.input.as_ref().map(input);
    let settings = operation
        .settings
        .iter()
        .map(|setting| self::setting(operation, setting));
    quote_spanned! {span=>
        #private::operation(#engine, &__SITE).key_ref(#key) #fingerprint #input #(#settings)*
    }
}

fn fingerprint(fingerprint: &Fingerprint, span: Span) -> Option<TokenStream> {
    match fingerprint {
        Fingerprint::None => None,
        Fingerprint::Value(value) => {
            let value = reference(value);
            Some(quote_spanned!(span=> .fingerprint(#value)))
        }
        Fingerprint::Arguments(names) => {
            let args = names.iter().map(|name| {
                // A type that cannot be part of a fingerprint is reported at the argument.
                let span = generated_at(name.span());
                let text = name.unraw().to_string();
                quote_spanned!(span=> .arg(#text, &#name))
            });
            Some(quote_spanned!(span=> .fingerprint_args(|__args| __args #(#args)*)))
        }
    }
}

/// `.input(&(&user, &order))`: a tuple, whatever the number of arguments.
fn input(Input(names): &Input) -> TokenStream {
    let span = Span::mixed_site();
    let args = names.iter().map(|name| {
        let span = generated_at(name.span());
        quote_spanned!(span=> &#name,)
    });
    quote_spanned!(span=> .input(&(#(#args)*)))
}

fn setting(operation: &Operation, setting: &Setting) -> Option<TokenStream> {
    let span = generated_at(operation.sig.ident.span());
    let private = private(operation, span);
    match setting {
        Setting::Length { method, length } => {
            let (method, length) = (generated(method), self::length(operation, length));
            Some(quote_spanned!(span=> .#method(#length)))
        }
        Setting::Word {
            method,
            kind,
            variant,
        } => {
            let method = generated(method);
            Some(quote_spanned!(span=> .#method(#private::#kind::#variant)))
        }
        Setting::Wait(limit) => {
            let limit = length(operation, limit);
            Some(quote_spanned!(span=> .on_conflict(#private::OnConflict::Wait(#limit))))
        }
        Setting::HoldErrors(word) => {
            let span = generated_at(*word);
            Some(quote_spanned!(span=> .hold_errors()))
        }
        Setting::RecordErrors(word) => {
            let span = generated_at(*word);
            Some(quote_spanned!(span=> .record_errors()))
        }
        Setting::RecordErrorsIf(function) => {
            // Says of which errors, so that a function that takes others is reported where it stands.
            let span = generated_at(function.span());
            let (krate, reply) = (krate(operation, span), &operation.shape.reply);
            let error = quote_spanned!(span=> <#reply as #krate::Reply>::Error);
            Some(quote_spanned!(span=> .record_errors_if::<#error>(#function)))
        }
        Setting::Verify(_) | Setting::Detach(_) => None,
    }
}

/// Moves each `mut` argument into the body as a whole.
///
/// A block would take those of its fields that it mentions. rustc then says of an assignment to one
/// that the value it replaces is never read, which is no concern of the user's: it was an argument.
fn capture_whole(operation: &Operation) -> TokenStream {
    let captures = operation.changed.iter().map(|name| {
        let span = generated_at(name.span());
        quote_spanned!(span=> let _ = &#name;)
    });
    captures.collect()
}

/// Tells rustc what the body returns, so that `?` and `return` know, and a wrong `return` is
/// reported where it stands. Not `let never: R = loop {};`, which is reported as unreachable.
fn pin_type(operation: &Operation) -> TokenStream {
    let reply = &operation.shape.reply;
    let span = generated_at(reply.span());
    let private = private(operation, span);
    quote_spanned! {span=>
        if let #private::core::option::Option::Some(__never) =
            #private::core::option::Option::<#reply>::None
        {
            return __never;
        }
    }
}

fn length(operation: &Operation, length: &Length) -> TokenStream {
    let span = generated_at(operation.sig.ident.span());
    let private = private(operation, span);
    match length {
        Length::Millis(millis) if millis % 1_000 == 0 => {
            let secs = Literal::u64_unsuffixed(millis / 1_000);
            quote_spanned!(span=> #private::core::time::Duration::from_secs(#secs))
        }
        Length::Millis(millis) => {
            let millis = Literal::u64_unsuffixed(*millis);
            quote_spanned!(span=> #private::core::time::Duration::from_millis(#millis))
        }
        Length::Expr(expr) => expr.to_token_stream(),
    }
}

/// A reference to the key. The parts of a tuple are referred to one by one: a tuple of them would
/// move them out of the arguments.
fn key_reference(key: &Expr) -> TokenStream {
    let Expr::Tuple(tuple) = key else {
        return reference(key);
    };
    let span = generated_at(key.span());
    let parts = tuple.elems.iter().map(key_reference);
    quote_spanned!(span=> &(#(#parts,)*))
}

fn template_reference(operation: &Operation, template: &Template) -> TokenStream {
    let span = generated_at(template.span);
    let private = private(operation, span);
    let ends = template.ends();
    let parts = template.parts.iter().map(|part| match part {
        Part::Text(text) => quote_spanned!(span=> .text(#text)),
        Part::Value(value) => {
            let value = reference(value);
            quote_spanned!(span=> .value(#value))
        }
    });
    quote_spanned!(span=> &#private::KeyTemplate::new(#ends) #(#parts)*)
}

/// `&expr`, or `&(expr)` where that is needed.
fn reference(expr: &Expr) -> TokenStream {
    let reference = ExprReference {
        attrs: Vec::new(),
        and_token: Token![&](generated_at(expr.span())),
        mutability: None,
        expr: Box::new(expr.clone()),
    };
    reference.to_token_stream()
}

/// The path of what the core keeps for expansions, pointing at `span`.
fn private(operation: &Operation, span: Span) -> TokenStream {
    let krate = krate(operation, span);
    quote_spanned!(span=> #krate::__private)
}

fn krate(operation: &Operation, span: Span) -> TokenStream {
    match &operation.krate {
        None => quote_spanned!(span=> ::idempotency),
        Some(path) => located_at(path, span),
    }
}

/// The user's path, which keeps its meaning and points elsewhere.
fn located_at(path: &Path, span: Span) -> TokenStream {
    let tokens = path.to_token_stream().into_iter();
    tokens
        .map(|mut token| {
            token.set_span(token.span().located_at(span));
            token
        })
        .collect()
}
