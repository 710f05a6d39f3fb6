//! Creating an order: what must happen once, however often it is asked for.

use std::num::NonZeroU32;
use std::{fmt, io};

use idempotency::{Engine, Outcome, idempotent};
use serde::{Deserialize, Serialize};

use crate::crash::{CrashAt, CrashPlan};
use crate::notes;
use crate::orders_file::OrdersFile;
use crate::payments::{Card, PaymentError, Payments};

/// What a customer asks for. The customer gives each request an id, and repeats it in a retry.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewOrder {
    pub(crate) customer: String,
    pub(crate) request_id: String,
    pub(crate) item: String,
    pub(crate) quantity: NonZeroU32,
    pub(crate) price_cents: u32,
    #[serde(default)]
    pub(crate) card: Card,
}

/// An order, as it stands in the orders file and as every caller gets it.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) struct Order {
    pub(crate) id: String,
    pub(crate) customer: String,
    pub(crate) item: String,
    pub(crate) quantity: NonZeroU32,
    pub(crate) total_cents: u64,
}

impl fmt::Display for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (id, quantity, item) = (&self.id, self.quantity, &self.item);
        let (euros, cents) = (self.total_cents / 100, self.total_cents % 100);
        write!(f, "order {id:.8}: {quantity} {item} for {euros}.{cents:02}")
    }
}

/// What it takes to create an order.
#[derive(Debug)]
pub(crate) struct Shop {
    pub(crate) engine: Engine,
    pub(crate) orders: OrdersFile,
    pub(crate) payments: Payments,
    pub(crate) crash: CrashPlan,
}

/// Why there is no order.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OrderError {
    #[error(transparent)]
    Idempotency(#[from] idempotency::Error),
    #[error("the orders file cannot be used")]
    OrdersFile(#[from] io::Error),
    #[error(transparent)]
    Payment(#[from] PaymentError),
}

impl OrderError {
    pub(crate) fn is_retryable(&self) -> bool {
        match self {
            Self::Idempotency(error) => error.is_retryable(),
            Self::OrdersFile(_) => false,
            Self::Payment(error) => matches!(error, PaymentError::Timeout),
        }
    }
}

/// Creates an order, once for each request of a customer.
#[idempotent(
    key = "{order.customer}:{order.request_id}",
    scope = "orders.create",
    engine = shop.engine,
    skip(shop),
    ctx = attempt
)]
pub(crate) async fn create_order(
    shop: &Shop,
    order: NewOrder,
) -> Result<Outcome<Order>, OrderError> {
    let id = attempt.key_for("order");
    // An attempt that is not the first looks before it acts: the one before may have created the
    // order, and died before that was recorded.
    if !attempt.is_first()
        && let Some(order) = shop.orders.find(&id).await?
    {
        notes::found();
        return Ok(order.into());
    }
    let payment = attempt.key_for("payment");
    shop.payments.charge(&payment, order.card).await?;

    let order = Order {
        id,
        customer: order.customer,
        item: order.item,
        quantity: order.quantity,
        total_cents: u64::from(order.price_cents) * u64::from(order.quantity.get()),
    };
    shop.crash.reach(CrashAt::BeforeEffect);
    shop.orders.append(&order).await?;
    shop.crash.reach(CrashAt::AfterEffect);
    Ok(order.into())
}

#[cfg(test)]
mod tests;
