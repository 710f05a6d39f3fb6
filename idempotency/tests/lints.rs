//! Lints are quiet in the code that `#[idempotent]` generates, even the strictest.
//!
//! There is little to run here: the test is that clippy passes.

#![deny(
    warnings,
    missing_docs,
    unused,
    rust_2018_idioms,
    rust_2024_compatibility
)]
#![deny(keyword_idents, let_underscore, nonstandard_style, future_incompatible)]
#![deny(
    single_use_lifetimes,
    unreachable_pub,
    unused_qualifications,
    unused_results
)]
#![deny(
    unused_lifetimes,
    trivial_casts,
    trivial_numeric_casts,
    variant_size_differences
)]
#![deny(clippy::all, clippy::pedantic, clippy::nursery)]
#![deny(
    clippy::allow_attributes,
    clippy::as_conversions,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::infinite_loop,
    clippy::large_futures,
    clippy::min_ident_chars,
    clippy::missing_docs_in_private_items,
    clippy::panic,
    clippy::shadow_reuse,
    clippy::shadow_same,
    clippy::shadow_unrelated,
    clippy::single_char_lifetime_names,
    clippy::unreachable,
    clippy::unwrap_used
)]

use core::time::Duration;
use std::sync::Arc;

use idempotency::{Engine, Error, MemoryStore, OnError, Outcome, Verdict, idempotent};
use serde::{Deserialize, Serialize};

/// An order.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Order {
    /// Who orders.
    pub customer: String,
    /// What is unique among the customer's orders.
    pub number: u32,
}

/// How long the results are kept.
const TTL: Duration = Duration::from_secs(60);

/// Creates an order.
///
/// # Errors
///
/// Fails if the engine does.
#[idempotent(
    key = "{order.customer}:{order.number}",
    ttl = TTL,
    lease = "30s",
    engine = engine,
    on_conflict = wait("100ms"),
    on_panic = release,
    ctx = attempt
)]
pub async fn create(engine: &Engine, order: Order) -> Result<Order, Error> {
    if attempt.is_first() {
        return Ok(order);
    }
    Ok(order)
}

/// Cancels an order.
///
/// # Errors
///
/// Fails if the engine does.
#[idempotent(
    key = (order.customer, order.number),
    engine = engine,
    on_error = classify,
    on_abandoned = verify(find(&order)),
    on_cancel = detach
)]
pub async fn cancel(
    engine: Engine,
    mut order: Order,
    _note: String,
) -> Result<Outcome<u32>, Failed> {
    order.number = order.number.saturating_add(1);
    Ok(order.number.into())
}

/// Tells what an error of [`cancel`] means.
const fn classify(_: &Failed) -> OnError {
    OnError::Release
}

/// Looks for a cancelled order.
async fn find(order: &Order) -> Verdict<u32> {
    tokio::task::yield_now().await;
    if order.number == 0 {
        Verdict::NotExecuted
    } else {
        Verdict::Unknown
    }
}

/// Why an order could not be cancelled.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Failed(String);

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Self(error.to_string())
    }
}

/// A service.
#[derive(Debug)]
pub struct Service {
    /// The engine.
    engine: Engine,
}

impl Service {
    /// Renames an order.
    ///
    /// # Errors
    ///
    /// Fails if the engine does.
    #[idempotent(key = number, engine = self.engine, skip(name))]
    pub async fn rename(&mut self, number: u32, name: &str) -> Result<String, Error> {
        Ok(name.to_owned())
    }

    /// Does nothing, but only once.
    ///
    /// # Errors
    ///
    /// Fails if the engine does.
    #[idempotent(key = number, engine = self.engine, fingerprint = none)]
    pub async fn touch(self: Arc<Self>, number: u32) -> Result<(), Error> {
        Ok(())
    }
}

/// Pays for an order.
///
/// # Errors
///
/// Fails if the engine does.
#[idempotent(key = order.number, engine = engine)]
pub async fn pay(engine: &Engine, mut order: Order) -> Result<u32, Error> {
    order.number = 7;
    Ok(order.number)
}

/// A service behind a trait.
#[async_trait::async_trait]
pub trait Archive {
    /// Archives an order.
    async fn archive(&mut self, order: Order, request: u32, _: &str) -> Result<u32, Error>;
}

#[async_trait::async_trait]
impl Archive for Service {
    #[idempotent(key = "{number}/{request}", engine = self.engine)]
    async fn archive(
        &mut self,
        Order { number, .. }: Order,
        request: u32,
        _: &str,
    ) -> Result<u32, Error> {
        Ok(number)
    }
}

#[tokio::test]
async fn the_functions_work() -> Result<(), Error> {
    let engine = Engine::new(MemoryStore::new());
    let order = Order {
        customer: "ada".to_owned(),
        number: 1,
    };
    assert_eq!(create(&engine, order.clone()).await?.number, 1);
    assert_eq!(pay(&engine, order.clone()).await?, 7);
    let cancelled = cancel(engine.clone(), order.clone(), String::new()).await;
    assert!(cancelled.is_ok_and(|number| *number.value() == 2));
    let mut service = Service { engine };
    assert_eq!(service.archive(order, 1, "").await?, 1);
    assert_eq!(service.rename(1, "b").await?, "b");
    Arc::new(service).touch(1).await
}
