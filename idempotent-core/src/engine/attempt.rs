use std::fmt;
use std::sync::{Arc, OnceLock};

use sha2::{Digest, Sha256};
use tokio::sync::Notify;

use super::EventKind;
use super::claim::Call;
use super::steps::{Log, Stop};
use crate::lease::Fence;
use crate::protocol::Grant;
use crate::record::Ending;
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicBool, Ordering};

/// One run of an operation, as the operation itself sees it.
///
/// Bound inside the body by `ctx = name`, or handed to the closure of
/// [`Operation::run_with`](crate::Operation::run_with).
///
/// # Examples
///
/// An attempt that is not the first looks before it acts:
///
/// ```
/// use idempotent_core::{Engine, Error, MemoryStore};
///
/// # async fn find_charge(key: &str) -> Result<Option<String>, Error> { Ok(None) }
/// # async fn charge(key: &str) -> Result<String, Error> { Ok("receipt".to_owned()) }
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Error> {
/// let engine = Engine::new(MemoryStore::new());
/// let receipt = engine
///     .operation("charge")
///     .key("order-1")
///     .run_with(async |attempt| {
///         let key = attempt.key_for("charge");
///         if !attempt.is_first()
///             && let Some(receipt) = find_charge(&key).await?
///         {
///             return Ok::<_, Error>(receipt);
///         }
///         charge(&key).await
///     })
///     .await?;
/// # assert_eq!(receipt, "receipt");
/// # Ok(())
/// # }
/// ```
///
/// # Clone
///
/// A clone is another handle to the same attempt.
#[derive(Clone)]
pub struct Attempt {
    call: Option<Arc<Call>>,
    grant: Option<Arc<Grant>>,
    pub(super) run: Arc<Run>,
}

/// What an attempt and whoever drives it tell each other.
#[derive(Debug, Default)]
pub(crate) struct Run {
    pub(super) lease: LeaseSignal,
    /// Not there until the first step.
    pub(super) log: OnceLock<Mutex<Log>>,
}

/// Tells whoever asks that the lease is lost.
#[derive(Debug, Default)]
pub(crate) struct LeaseSignal {
    lost: AtomicBool,
    told: Notify,
}

impl LeaseSignal {
    /// Returns whether this is news.
    pub(crate) fn lose(&self) -> bool {
        let is_news = !self.lost.swap(true, Ordering::SeqCst);
        self.told.notify_waiters();
        is_news
    }

    fn is_lost(&self) -> bool {
        self.lost.load(Ordering::SeqCst)
    }

    async fn lost(&self) {
        let told = self.told.notified();
        if !self.is_lost() {
            told.await;
        }
    }
}

impl Attempt {
    pub(crate) const fn new(call: Arc<Call>, grant: Arc<Grant>, run: Arc<Run>) -> Self {
        Self {
            call: Some(call),
            grant: Some(grant),
            run,
        }
    }

    /// An attempt whose claim and result are in one transaction.
    pub(crate) fn in_transaction(call: Arc<Call>, grant: Arc<Grant>) -> Self {
        let run = Run {
            log: Mutex::new(Log::stopped(Stop::InTransaction)).into(),
            ..Run::default()
        };
        Self::new(call, grant, run.into())
    }

    pub(crate) fn unprotected(call: Option<Arc<Call>>) -> Self {
        Self {
            call,
            grant: None,
            run: Arc::default(),
        }
    }

    /// The call, and the grant that it runs under, unless it is unprotected.
    pub(super) fn held(&self) -> Option<(&Arc<Call>, &Arc<Grant>)> {
        self.call.as_ref().zip(self.grant.as_ref())
    }

    pub(super) fn emit(&self, kind: EventKind, detail: &dyn fmt::Display) {
        if let Some(call) = &self.call {
            call.emit(kind, detail);
        }
    }

    /// 1 for the first attempt in the record's life; one more for each that may have begun since.
    ///
    /// An attempt that runs unprotected is always the first.
    #[must_use]
    pub fn number(&self) -> u32 {
        self.grant.as_ref().map_or(1, |grant| grant.attempt)
    }

    /// Whether nothing of this operation has run before, for as long as the record has lived.
    ///
    /// If not, an earlier attempt may have had its effect: look before you act. A store that loses
    /// acknowledged writes, as Redis may in a failover, can claim this wrongly.
    #[must_use]
    pub fn is_first(&self) -> bool {
        self.number() == 1
    }

    /// How the attempt before ended. `None` for the first.
    #[must_use]
    pub fn previous(&self) -> Option<Ending> {
        self.grant.as_ref()?.previous
    }

    /// How many attempts before [failed](Ending::is_failure): returned an error that was not recorded,
    /// panicked, or fell silent.
    #[must_use]
    pub fn failures(&self) -> u32 {
        self.grant.as_ref().map_or(0, |grant| grant.failures)
    }

    /// The number of this attempt's grant, which rises with each attempt. `None` if it runs
    /// unprotected.
    ///
    /// Hand it to a downstream that remembers the highest fence it has seen, and refuses lower ones:
    /// that keeps a late attempt from overwriting what its successor wrote.
    #[must_use]
    pub fn fence(&self) -> Option<Fence> {
        Some(self.grant.as_ref()?.fence)
    }

    /// Whether the operation runs without a record, so that nothing is promised.
    #[must_use]
    pub const fn is_unprotected(&self) -> bool {
        self.grant.is_none()
    }

    /// Whether the lease is known to be lost: another attempt may be running.
    #[must_use]
    pub fn is_lease_lost(&self) -> bool {
        self.run.lease.is_lost()
    }

    /// Waits until the lease is known to be lost. Never returns otherwise.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: meant for `tokio::select!`.
    pub async fn lease_lost(&self) {
        self.run.lease.lost().await;
    }

    /// A key for the call named `name` to another service: the same for every attempt of this
    /// operation under this key, on every host and in every version.
    ///
    /// 40 characters of base32 (RFC 4648, lower case), derived by SHA-256. A downstream that
    /// deduplicates by it makes the call safe to repeat. Without a key of its own, an operation has
    /// none to derive from, and the text is random.
    #[must_use]
    pub fn key_for(&self, name: &str) -> String {
        match &self.call {
            Some(call) => derived(call.key.as_str(), name),
            None => derived(
                &crate::Owner::random().map_or_else(|_| String::new(), |owner| owner.to_string()),
                name,
            ),
        }
    }
}

impl fmt::Debug for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Attempt")
            .field("number", &self.number())
            .field("fence", &self.fence())
            .field("previous", &self.previous())
            .finish_non_exhaustive()
    }
}

/// The key that is derived from an operation's `key` for the call `name`.
fn derived(key: &str, name: &str) -> String {
    let mut hash = Sha256::new();
    hash.update(u64::try_from(key.len()).unwrap_or(u64::MAX).to_be_bytes());
    hash.update(key);
    hash.update(name);
    base32(&hash.finalize()[..25])
}

fn base32(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
    bytes
        .chunks(5)
        .flat_map(|chunk| {
            let bits = chunk
                .iter()
                .fold(0_u64, |bits, byte| bits << 8 | u64::from(*byte));
            (0..8).rev().map(move |digit| (bits >> (5 * digit)) & 31)
        })
        .map(|digit| char::from(DIGITS[usize::try_from(digit).unwrap_or_default()]))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn derived_keys_differ_by_name_and_by_key_and_stay_the_same() {
        assert_eq!(
            derived("scope/a", "charge"),
            "kl35gqn4zl2eu67klj3ci645y3vmhck4riztn7jg"
        );
        assert_ne!(derived("scope/a", "charge"), derived("scope/a", "mail"));
        assert_ne!(derived("scope/a", "charge"), derived("scope/b", "charge"));
    }

    #[test]
    fn base32_follows_rfc_4648() {
        assert_eq!(base32(b"fooba"), "mzxw6ytb");
    }
}
