//! One delivery: a call, its retries, and how its answer came about.

use std::fmt::Display;
use std::pin::pin;
use std::time::Duration;

use idempotency::{Error, Outcome, Provenance};
use tokio::time::{sleep, timeout};

use crate::notes::{NOTES, Notes};
use crate::order::{NewOrder, Order, OrderError, Shop, create_order};
use crate::queue::Delivery;
use crate::screen::{Label, Screen, chain};

/// How often a call that failed is tried again.
const RETRIES: u32 = 5;
/// The pause before the first retry; it doubles with each.
const PAUSE: Duration = Duration::from_millis(100);
/// After how long whoever watches wants to know what is going on.
const LONG: Duration = Duration::from_millis(500);

/// What came of a delivery.
#[derive(Debug)]
pub(crate) struct Delivered {
    pub(crate) answer: Label,
    pub(crate) order: Option<Order>,
    pub(crate) retries: u32,
}

impl Delivered {
    const fn without_order(answer: Label, retries: u32) -> Self {
        Self {
            answer,
            order: None,
            retries,
        }
    }
}

/// Has the order of a delivery created, or finds out that it was.
pub(crate) async fn deliver(shop: &Shop, screen: &Screen, delivery: Delivery) -> Delivered {
    let Delivery { line, order: new } = delivery;
    let new = match new {
        Ok(new) => new,
        Err(error) => {
            // Every line is line 1 of its own text.
            let text = error.to_string().replace(" at line 1 ", ", ");
            screen.delivery(line, "", Label::Malformed, format_args!("{text}; skipped"));
            return Delivered::without_order(Label::Malformed, 0);
        }
    };
    let key = format!("{}:{}", new.customer, new.request_id);
    let say = |label, text: &dyn Display| screen.delivery(line, &key, label, text);
    let mut retries = 0;
    loop {
        let error = match call(shop, new.clone(), say).await {
            Ok((answer, order)) => {
                say(answer, &order);
                return Delivered {
                    answer,
                    order: Some(order),
                    retries,
                };
            }
            Err(error) => error,
        };
        if retries == RETRIES || !error.is_retryable() {
            let answer = match error {
                OrderError::Idempotency(Error::FingerprintMismatch) => Label::Mismatch,
                _ => Label::Refused,
            };
            say(answer, &chain(&error));
            return Delivered::without_order(answer, retries);
        }
        let pause = PAUSE * 2_u32.pow(retries);
        retries += 1;
        say(
            Label::Failed,
            &format_args!("{}; retry {retries} in {pause:?}", chain(&error)),
        );
        sleep(pause).await;
    }
}

/// Calls once, and says so if that takes long because of another attempt.
async fn call(
    shop: &Shop,
    new: NewOrder,
    say: impl Fn(Label, &dyn Display) + Send + Sync,
) -> Result<(Label, Order), OrderError> {
    let call = async {
        let mut call = pin!(create_order(shop, new));
        let outcome = if let Ok(result) = timeout(LONG, &mut call).await {
            result?
        } else {
            if NOTES.with(|notes| notes.waited.get()) {
                say(
                    Label::Waits,
                    &"another attempt has the key; if it died, its lease ends soon",
                );
            }
            call.await?
        };
        let label = NOTES.with(|notes| label(&outcome, notes));
        Ok((label, outcome.into_value()))
    };
    NOTES.scope(Notes::default(), call).await
}

/// How an order came about.
fn label(outcome: &Outcome<Order>, notes: &Notes) -> Label {
    match outcome.provenance() {
        Provenance::Replayed { .. } if notes.waited.get() => Label::Waited,
        Provenance::Replayed { .. } => Label::Replayed,
        Provenance::Unrecorded => Label::Unrecorded,
        _ if notes.found.get() => Label::Recovered,
        _ => Label::Executed,
    }
}
