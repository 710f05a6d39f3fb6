//! A payment service behind a bad network.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::sleep;

const LATENCY: Duration = Duration::from_millis(100);

/// Like the test cards of real services: each has a fate of its own.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Card {
    /// Has no money.
    Declined,
    /// The answer to its first payment is lost.
    Flaky,
    #[default]
    Good,
}

/// Why a payment failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PaymentError {
    #[error("the card was declined")]
    Declined,
    #[error("the payment service did not answer")]
    Timeout,
}

/// Charges once for each key, as payment services do: the key makes it safe to ask again.
#[derive(Debug, Default)]
pub(crate) struct Payments {
    charged: Mutex<HashSet<String>>,
}

impl Payments {
    pub(crate) async fn charge(&self, key: &str, card: Card) -> Result<(), PaymentError> {
        sleep(LATENCY).await;
        let mut charged = self.charged.lock().unwrap_or_else(PoisonError::into_inner);
        match card {
            Card::Declined => Err(PaymentError::Declined),
            Card::Flaky if charged.insert(key.to_owned()) => Err(PaymentError::Timeout),
            Card::Flaky | Card::Good => Ok(()),
        }
    }
}
