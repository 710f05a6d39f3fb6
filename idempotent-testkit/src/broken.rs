//! Stores that fail on purpose, each in one point.
//!
//! A suite that no store can fail proves nothing. [`defects`] are the mistakes that stores have
//! made, or could make; each says which cases of the [suite](crate::conformance) have to notice it,
//! and this crate's own tests see to it that they do.
//!
//! They also serve as controls: an experiment that is to show that an effect does not happen twice
//! has to show with one of these stores that it would notice.
//!
//! # Examples
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
//! use std::time::Duration;
//!
//! use idempotent_core::protocol::{Claim, ClaimRequest, Release, ReleaseMode};
//! use idempotent_core::{Clock, Ending, Fingerprint, Key, Owner, Store};
//! use idempotent_testkit::broken::{BrokenStore, Defect};
//!
//! let store = BrokenStore::new(Defect::named("a release deletes"), Clock::manual());
//! let key = Key::new("charge", "order 7")?;
//! for _ in 0..2 {
//!     let minute = Duration::from_secs(60);
//!     let request = ClaimRequest::new(Owner::random()?, Fingerprint::EMPTY, minute, minute);
//!     let Claim::Granted(grant) = store.claim(&key, &request).await? else { panic!() };
//!     assert_eq!(grant.attempt, 1, "nobody remembers that there was one before");
//!
//!     let release = Release::new(Ending::Error, ReleaseMode::Free);
//!     store.release(&key, &grant.holder(), release).await?;
//! }
//! # Ok(())
//! # }
//! ```

mod claims;
mod completions;
mod hook;
mod other;
mod releases;
mod renewals;
mod store;
mod takeovers;

use std::fmt;

use self::hook::Hook;
pub use self::store::BrokenStore;

/// One mistake, and the cases that notice it.
pub struct Defect {
    name: &'static str,
    noticed_by: &'static [&'static str],
    hook: Hook,
}

impl Defect {
    /// No defect at all, to see that a [`BrokenStore`] is sound otherwise.
    pub const NONE: Self = Self {
        name: "none",
        noticed_by: &[],
        hook: Hook::None,
    };

    /// The defect of this name.
    ///
    /// # Panics
    ///
    /// If there is none.
    #[must_use]
    pub fn named(name: &str) -> &'static Self {
        defects()
            .find(|defect| defect.name == name)
            .expect("there is a defect of this name")
    }

    /// What the store does, as in `a release deletes`.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// The names of cases that have to fail.
    #[must_use]
    pub const fn noticed_by(&self) -> &'static [&'static str] {
        self.noticed_by
    }
}

impl fmt::Debug for Defect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Defect").field(&self.name).finish()
    }
}

/// All defects.
pub fn defects() -> impl Iterator<Item = &'static Defect> {
    [
        claims::DEFECTS,
        takeovers::DEFECTS,
        completions::DEFECTS,
        renewals::DEFECTS,
        releases::DEFECTS,
        other::DEFECTS,
    ]
    .into_iter()
    .flatten()
}
