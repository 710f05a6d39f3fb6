//! A payment service, as people write services: behind a trait, with what it needs injected.
//!
//! Its callers know [`Payments`]; its tests give it a store in memory and a bank of their own.

use std::future::Future;

use idempotency::{Engine, Outcome, idempotent};
use serde::{Deserialize, Serialize};

/// A request to charge an account. A retry has the same `request_id`.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Charge {
    /// Who pays.
    pub account: String,
    /// The account's name for this request.
    pub request_id: String,
    /// How much.
    pub cents: u64,
}

/// What a payment leaves.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Receipt {
    /// The bank's name for the transfer.
    pub transfer: String,
    /// How much.
    pub cents: u64,
}

/// Why a payment failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PaymentError {
    /// The bank refused.
    #[error("the bank refused the transfer")]
    Refused,
    /// What the engine has to say.
    #[error(transparent)]
    Idempotency(#[from] idempotency::Error),
}

/// What callers know.
pub trait Payments {
    /// Charges an account, once for each of its requests.
    fn charge(
        &self,
        charge: Charge,
    ) -> impl Future<Output = Result<Outcome<Receipt>, PaymentError>> + Send;

    /// Gives a charge back, once.
    fn refund(
        &self,
        receipt: Receipt,
    ) -> impl Future<Output = Result<Outcome<Receipt>, PaymentError>> + Send;
}

/// Where the money is. Two transfers with one key are one transfer.
pub trait Bank: Send + Sync {
    /// Moves money, and returns the transfer's name.
    fn transfer(
        &self,
        key: &str,
        cents: u64,
    ) -> impl Future<Output = Result<String, PaymentError>> + Send;
}

/// The service.
#[derive(Debug)]
pub struct PaymentService<B> {
    engine: Engine,
    bank: B,
}

impl<B> PaymentService<B> {
    /// A service on the store of `engine`.
    pub const fn new(engine: Engine, bank: B) -> Self {
        Self { engine, bank }
    }
}

impl<B: Bank> Payments for PaymentService<B> {
    #[idempotent(
        key = "{charge.account}:{charge.request_id}",
        scope = "payments.charge",
        engine = self.engine,
        ctx = attempt
    )]
    async fn charge(&self, charge: Charge) -> Result<Outcome<Receipt>, PaymentError> {
        let cents = charge.cents;
        let key = attempt.key_for("transfer");
        let transfer = self.bank.transfer(&key, cents).await?;
        Ok(Receipt { transfer, cents }.into())
    }

    #[idempotent(
        key = receipt.transfer,
        scope = "payments.refund",
        engine = self.engine,
        ctx = attempt
    )]
    async fn refund(&self, receipt: Receipt) -> Result<Outcome<Receipt>, PaymentError> {
        let cents = receipt.cents;
        let key = attempt.key_for("transfer");
        let transfer = self.bank.transfer(&key, cents).await?;
        Ok(Receipt { transfer, cents }.into())
    }
}
