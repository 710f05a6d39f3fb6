//! The operation, and what it needs of a shop.

use std::future::Future;
use std::time::Duration;

use idempotency::{Attempt, BoxError, Engine, Inspect, Outcome, Store, idempotent};
use serde::{Deserialize, Serialize};

use crate::crash::{self, Point};
use crate::payments::Payments;

/// Short, because the program waits for it often.
pub(crate) const LEASE: Duration = Duration::from_secs(1);
/// What every ride costs.
pub(crate) const CENTS: u32 = 2_000;

#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Ride {
    pub(crate) id: u32,
    pub(crate) cents: u32,
}

#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) struct Receipt {
    pub(crate) ride: u32,
    pub(crate) charge: String,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum RideError {
    #[error("the rows could not be written")]
    Database(#[source] BoxError),
    #[error(transparent)]
    Idempotency(#[from] idempotency::Error),
    #[error("nobody knows whether the card was charged")]
    Payment(#[from] std::io::Error),
}

/// How many rows there are of a ride.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Rows {
    pub(crate) rides: i64,
    pub(crate) audits: i64,
}

/// Where rides and their records are.
pub(crate) trait Shop: Clone + Send + Sync + 'static {
    type Store: Inspect + Store;

    /// Whether the end of a ride and the result of its operation are one commit.
    const ENDS_AT_ONCE: bool;

    fn store(&self) -> &Self::Store;

    /// Writes the ride and the entry of its audit.
    fn begin(
        &self,
        run: &Attempt,
        ride: &Ride,
    ) -> impl Future<Output = Result<(), RideError>> + Send;

    /// Notes the charge, and stages the receipt.
    fn end(
        &self,
        run: &Attempt,
        ride: &Ride,
        charge: &str,
    ) -> impl Future<Output = Result<Receipt, RideError>> + Send;

    fn rows(&self, ride: u32) -> impl Future<Output = Result<Rows, BoxError>> + Send;

    /// Sends what is staged. Returns the rides whose receipts were sent, one for each receipt.
    fn send(&self) -> impl Future<Output = Result<Vec<u32>, BoxError>> + Send;
}

/// Books a ride: each line is done once, however often this dies between any two of them.
#[idempotent(
    key = ride.id,
    scope = "rides.create",
    ttl = "24h",
    lease = "1s",
    engine = engine,
    skip(shop, payments),
    ctx = run,
    completer = true
)]
pub(crate) async fn create_ride<S: Shop>(
    engine: &Engine,
    shop: &S,
    payments: Payments,
    ride: Ride,
) -> Result<Outcome<Receipt>, RideError> {
    crash::at(Point::Claimed);
    shop.begin(&run, &ride).await?;
    crash::at(Point::AfterRide);
    let charge = run
        .step("charge", |key| charge(payments, ride.id, key))
        .await?;
    crash::at(Point::AfterCharge);
    let receipt = shop.end(&run, &ride, &charge).await?;
    crash::at(Point::BeforeReply);
    Ok(Outcome::new(receipt))
}

async fn charge(
    payments: Payments,
    ride: u32,
    key: idempotency::StepKey,
) -> Result<String, RideError> {
    Ok(payments.charge(ride, key.as_str()).await?)
}
