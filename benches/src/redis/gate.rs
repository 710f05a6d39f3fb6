use std::future::Future;

use anyhow::Result;
use idempotency::{Engine, Error, idempotent};
use tokio::sync::Semaphore;

use crate::orders::{Order, Ours, Receipt, deliver};

/// Holds operations up between their claims and their completions, so that the server's work for
/// either can be told apart: the script that completes calls the command that claims.
#[derive(Debug)]
pub(super) struct Gate {
    arrived: Semaphore,
    opened: Semaphore,
}

/// A desk whose operations can be held up.
pub(super) trait GatedDesk: Clone + Send + Sync + 'static {
    fn take_through(
        &self,
        gate: Option<&Gate>,
        order: Order,
    ) -> impl Future<Output = Result<Receipt>> + Send;
}

impl Gate {
    pub(super) const fn new() -> Self {
        Self {
            arrived: Semaphore::const_new(0),
            opened: Semaphore::const_new(0),
        }
    }

    /// Waits until as many as `operations` stand before the gate.
    pub(super) async fn wait_for(&self, operations: u32) -> Result<()> {
        self.arrived.acquire_many(operations).await?.forget();
        Ok(())
    }

    /// Lets `operations` through.
    pub(super) fn open(&self, operations: u32) {
        self.opened
            .add_permits(usize::try_from(operations).unwrap_or_default());
    }

    /// Stands before the gate until it opens. It is never closed for good.
    pub(super) async fn pass(&self) {
        self.arrived.add_permits(1);
        if let Ok(permit) = self.opened.acquire().await {
            permit.forget();
        }
    }
}

impl GatedDesk for Ours {
    async fn take_through(&self, gate: Option<&Gate>, order: Order) -> Result<Receipt> {
        Ok(take_gated(self.engine(), self.text(), gate, order).await?)
    }
}

#[idempotent(
    key = "{order.customer}:{order.request}",
    ttl = "24h",
    scope = "orders.gate",
    engine = engine,
    skip(text, gate)
)]
async fn take_gated(
    engine: &Engine,
    text: &str,
    gate: Option<&Gate>,
    order: Order,
) -> Result<Receipt, Error> {
    if let Some(gate) = gate {
        gate.pass().await;
    }
    Ok(deliver(text, &order))
}
