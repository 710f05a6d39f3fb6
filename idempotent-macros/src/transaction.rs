//! `transaction(tx in store)`: the body runs in a transaction, which it sees as `tx`.

use proc_macro2::Ident;
use syn::parse::{Parse, ParseStream};
use syn::{Error, Expr, Result, Token};

use crate::args::{Arg, Args};
use crate::errors::Errors;
use crate::policy::word_of;

/// The name of the transaction, and the store that opens it.
pub(crate) struct Transaction {
    pub(crate) name: Ident,
    pub(crate) store: Expr,
}

impl Parse for Transaction {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let name: Ident = input.parse()?;
        if !input.peek(Token![in]) {
            return Err(Error::new(
                name.span(),
                format!("say which store opens it, as in `transaction({name} in self.store)`"),
            ));
        }
        input.parse::<Token![in]>()?;
        let store = input.parse()?;
        if input.is_empty() {
            Ok(Self { name, store })
        } else {
            Err(input.error("`transaction` takes one name and one store"))
        }
    }
}

/// Refuses what says nothing about an operation in a transaction, beside `transaction`.
pub(crate) fn check(args: &Args, names: &[Ident]) -> Result<()> {
    let Some(Arg { value, .. }) = &args.transaction else {
        return Ok(());
    };
    let mut errors = Errors::default();
    let leases = [
        (&args.lease, "the claim lasts as long as the transaction"),
        (&args.on_abandoned, "one that is abandoned is rolled back"),
        (&args.on_cancel, "one that is cancelled is rolled back"),
        (&args.on_panic, "one that panics is rolled back"),
        (&args.on_store_failure, "there is none without its store"),
        (&args.on_unrecorded, "what is not recorded is rolled back"),
        (
            &args.determinism,
            "it is recorded as a whole, without steps",
        ),
        (&args.completer, "one that is abandoned has never begun"),
    ];
    for (arg, reason) in leases {
        if let Some(Arg { name, .. }) = arg {
            let text = format!("`{name}` has no effect in a transaction: {reason}");
            _ = errors.note::<()>(Err(Error::new(name.span(), text)));
        }
    }
    if let Some(Arg { value, .. }) = &args.on_error
        && word_of(value).is_some_and(|word| word == "hold")
    {
        let text = "`hold` has no effect in a transaction: an error rolls everything back, so there is \
                    no doubt to hold";
        _ = errors.note::<()>(Err(Error::new_spanned(value, text)));
    }
    let taken = args.ctx.as_ref().map(|ctx| &ctx.value);
    if names.contains(&value.name) || taken == Some(&value.name) {
        let text = format!("`{}` is already the name of something else", value.name);
        _ = errors.note::<()>(Err(Error::new(value.name.span(), text)));
    }
    errors.finish()
}
