//! Protocols that are broken on purpose: each must break a promise, or the model is too tame.

use std::time::Duration;

use clap::ValueEnum;
use idempotency::protocol::{Claim, Grant, Operation, Release, ReleaseMode, Reply, Update, apply};
use idempotency::{Fence, Record, State as Stands, Timestamp};

use super::bounds::Bounds;
use super::promise::Promise;

/// In which way.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
#[non_exhaustive]
pub enum Variant {
    /// A completion asks neither for the owner nor for the fence.
    UnconditionalComplete,
    /// A release deletes the record, whoever sends it.
    UnconditionalDelete,
    /// A release of one's own deletes the record instead of leaving a tombstone.
    DeleteOnRelease,
    /// An owner that was taken over returns its own value.
    LateOwnerReturnsItsOwn,
    /// A value that could not be recorded is returned as a plain `Ok`.
    UnrecordedAsOk,
    /// A record that is gone may be written anew at any time.
    HealingWithoutWindow,
    /// A late owner may complete over the tombstone of its successor.
    CompleteOverTombstone,
    /// A fence is the one before plus one, and the first is 1.
    CounterFences,
    /// The record is gone at the end of its lease.
    LeaseAsExpiry,
    /// A cancelled body is released as if it had never begun.
    CleanAfterCancel,
    /// The body begins under a grant that came later than its lease, without a renewal.
    LateBody,
    /// At most once, but an expired lease is taken over.
    TakeoverAtMostOnce,
    /// A lease never runs out for others.
    EndlessLease,
}

impl Variant {
    /// The promises that it breaks. The first is the one that the protocol names.
    #[must_use]
    pub const fn breaks(self) -> &'static [Promise] {
        match self {
            Self::CleanAfterCancel | Self::LateBody | Self::LeaseAsExpiry => &[Promise::P5],
            Self::CompleteOverTombstone => &[Promise::P3],
            Self::CounterFences => &[Promise::P4],
            Self::DeleteOnRelease => &[Promise::P5, Promise::P7],
            Self::EndlessLease => &[Promise::P8],
            Self::HealingWithoutWindow => &[Promise::P2],
            Self::TakeoverAtMostOnce => &[Promise::E1, Promise::E2],
            Self::UnconditionalComplete => &[Promise::P1, Promise::P3],
            Self::UnconditionalDelete => &[Promise::P1],
            Self::LateOwnerReturnsItsOwn | Self::UnrecordedAsOk => &[Promise::P2, Promise::P6],
        }
    }

    /// A world that is large enough for it to show.
    #[must_use]
    pub const fn bounds(self) -> Bounds {
        let pair = Bounds::PAIR;
        let lucky = Bounds {
            misfortunes: 0,
            ..pair
        };
        match self {
            Self::CleanAfterCancel
            | Self::CompleteOverTombstone
            | Self::UnconditionalComplete
            | Self::UnrecordedAsOk => pair,
            Self::CounterFences => Bounds {
                loses_records: true,
                ..pair
            },
            Self::DeleteOnRelease => Bounds {
                has_steps: true,
                ..pair
            },
            Self::EndlessLease
            | Self::HealingWithoutWindow
            | Self::LateBody
            | Self::LateOwnerReturnsItsOwn
            | Self::LeaseAsExpiry => lucky,
            Self::TakeoverAtMostOnce => Bounds {
                at_most_once: true,
                ..lucky
            },
            Self::UnconditionalDelete => Bounds {
                misfortunes: 2,
                ..pair
            },
        }
    }
}

/// What the store does and answers: [`apply`], and what `variant` spoils of it.
pub(super) fn answer(
    variant: Option<Variant>,
    record: &mut Option<Record>,
    operation: &Operation,
    now: Timestamp,
) -> Reply {
    let Some(variant) = variant else {
        return apply(record, operation, now);
    };
    if let Some(record) = record {
        spoil(variant, record, operation, now);
    }
    match (variant, operation, &*record) {
        (Variant::LeaseAsExpiry, _, Some(found)) if is_lapsed(found, now) => *record = None,
        (Variant::TakeoverAtMostOnce, Operation::Claim(request), _) => {
            let mut request = request.clone();
            request.at_most_once = false;
            return apply(record, &Operation::Claim(request), now);
        }
        _ => {}
    }
    let was_absent = record.as_ref().is_none_or(|record| record.is_expired(now));
    let before = record.as_ref().map(|record| record.fence);
    let reply = apply(record, operation, now);
    match (variant, operation, &reply) {
        (
            Variant::HealingWithoutWindow,
            Operation::Complete { grant, .. } | Operation::Renew { grant, .. },
            Reply::Update(Update::Lost(None)),
        ) => heal(record, grant, operation, now),
        (Variant::CounterFences, _, Reply::Claim(Claim::Granted(grant))) => {
            let previous = before.filter(|_| !was_absent);
            if previous == Some(grant.fence) {
                return reply;
            }
            let mut grant = grant.clone();
            grant.fence = Fence::from_u64(previous.map_or(0, Fence::as_u64) + 1);
            if let Some(record) = record {
                record.fence = grant.fence;
            }
            Reply::Claim(Claim::Granted(grant))
        }
        _ => reply,
    }
}

/// Whether the store forgets the record after it gave this answer.
pub(super) fn forgets(variant: Option<Variant>, operation: &Operation, reply: &Reply) -> bool {
    let Operation::Release {
        release: Release {
            mode: ReleaseMode::Free,
            ..
        },
        ..
    } = operation
    else {
        return false;
    };
    match variant {
        Some(Variant::DeleteOnRelease) => *reply == Reply::Update(Update::Applied),
        Some(Variant::UnconditionalDelete) => true,
        _ => false,
    }
}

/// Makes the store see another record than there is.
fn spoil(variant: Variant, record: &mut Record, operation: &Operation, now: Timestamp) {
    match (variant, operation) {
        (Variant::UnconditionalComplete, Operation::Complete { grant, .. }) => {
            impersonate(record, grant);
        }
        (Variant::CompleteOverTombstone, Operation::Complete { grant, .. })
            if record.state == Stands::Released =>
        {
            impersonate(record, grant);
        }
        (Variant::EndlessLease, Operation::Claim(request)) if is_lapsed(record, now) => {
            record.expires_at = now.plus(record.keep).plus(request.lease);
        }
        (Variant::TakeoverAtMostOnce, Operation::Claim(_)) => record.at_most_once = false,
        _ => {}
    }
}

fn is_lapsed(record: &Record, now: Timestamp) -> bool {
    record.state == Stands::InProgress && !record.is_held(now)
}

fn impersonate(record: &mut Record, grant: &Grant) {
    record.state = Stands::InProgress;
    record.owner = grant.owner;
    record.fence = grant.fence;
}

/// Heals as if the window were still open.
fn heal(
    record: &mut Option<Record>,
    grant: &Grant,
    operation: &Operation,
    now: Timestamp,
) -> Reply {
    const EVER: Duration = Duration::from_secs(1);
    let mut forged = operation.clone();
    if let Operation::Complete { grant, .. } | Operation::Renew { grant, .. } = &mut forged {
        grant.ttl = EVER;
        grant.keep = EVER;
    }
    let reply = apply(record, &forged, now);
    if let Some(record) = record {
        if record.state == Stands::InProgress {
            record.expires_at = record.expires_at.minus(EVER).plus(grant.keep);
        }
        record.keep = grant.keep;
    }
    reply
}
