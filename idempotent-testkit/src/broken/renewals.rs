//! What goes wrong with renewals, and with records that were lost.

use std::time::Duration;

use idempotent_core::State;
use idempotent_core::protocol::{Operation, Reply, Update};

use super::Defect;
use super::completions::refuse_after_the_lease;
use crate::faults::Op;

/// Long enough for any window to be open.
const AGES: Duration = Duration::from_secs(60 * 60 * 24 * 365);

pub(super) const DEFECTS: &[Defect] = &[
    Defect::after(
        "a renewal does nothing",
        &["a_renewed_lease_keeps_others_out"],
        |after| {
            if let Some((before, record, _)) = after.of(Op::Renew) {
                *record = before.clone();
            }
        },
    ),
    Defect::after(
        "a renewal only makes a lease longer",
        &["a_renewal_may_shorten_the_lease"],
        |after| {
            if let Some((before, record, _)) = after.of(Op::Renew) {
                record.expires_at = record.expires_at.max(before.expires_at);
            }
        },
    ),
    Defect::after(
        "a renewal writes the whole record anew",
        &["a_renewal_changes_the_lease_alone"],
        |after| {
            if let Some((_, record, Reply::Update(Update::Applied))) = after.of(Op::Renew) {
                (record.waiter, record.ending) = (false, None);
            }
        },
    ),
    Defect::after(
        "a renewal after the lease is refused",
        &["an_expired_lease_can_be_renewed"],
        |after| refuse_after_the_lease(after, Op::Renew),
    ),
    Defect::before(
        "a renewal is unconditional",
        &["a_late_owner_cannot_renew"],
        |before| {
            if let Some((record, mut shown)) = before.write(Op::Renew) {
                shown.forge(record);
            }
        },
    ),
    Defect::before(
        "a renewal shows its owner only",
        &["a_renewal_shows_owner_and_fence"],
        |before| {
            if let Some((record, mut shown)) = before.write(Op::Renew)
                && shown.holder().owner == record.owner
            {
                shown.forge(record);
            }
        },
    ),
    Defect::after(
        "a renewal moves the end of a result",
        &["a_finished_record_is_not_renewed"],
        |after| {
            let Operation::Renew { lease, .. } = after.operation else {
                return;
            };
            if let Some(record) = after.slot
                && record.state.is_finished()
            {
                record.expires_at = after.now.plus(*lease);
            }
        },
    ),
    Defect::before(
        "a renewal revives a released call",
        &["a_released_record_is_not_renewed"],
        |before| {
            if let Some((record, shown)) = before.write(Op::Renew)
                && record.state == State::Released
                && shown.holds(record)
            {
                record.state = State::InProgress;
            }
        },
    ),
    Defect::before(
        "a renewal resolves the doubt",
        &["the_silent_owner_may_not_go_on"],
        |before| {
            if let Some((record, shown)) = before.write(Op::Renew)
                && record.state == State::InDoubt
                && shown.holds(record)
            {
                record.state = State::InProgress;
            }
        },
    ),
    // Healing.
    Defect::after(
        "nothing heals",
        &[
            "a_renewal_heals_a_lost_record",
            "a_completion_heals_a_lost_record",
        ],
        |after| {
            if *after.reply == Reply::Update(Update::Healed) {
                *after.slot = None;
                *after.reply = Reply::Update(Update::Lost(None));
            }
        },
    ),
    Defect::before(
        "healing has no window",
        &["healing_ends_with_its_window"],
        |before| {
            if before
                .slot
                .as_ref()
                .is_none_or(|record| record.is_expired(before.now))
            {
                for op in [Op::Complete, Op::Renew] {
                    if let Some(grant) = before.grant(op) {
                        (grant.keep, grant.ttl) = (AGES, AGES);
                    }
                }
            }
        },
    ),
    Defect::before(
        "healing overwrites what came after",
        &["a_record_that_was_granted_anew_is_not_healed_over"],
        |before| {
            for op in [Op::Complete, Op::Renew] {
                if let Some((record, shown)) = before.write(op)
                    && record.attempt == 1
                    && !shown.holds(record)
                {
                    *before.slot = None;
                }
            }
        },
    ),
    Defect::after(
        "healing forgets the history",
        &["a_healed_record_is_taken_over_with_its_history"],
        |after| {
            if let (Some(record), Reply::Update(Update::Healed)) =
                (after.slot.as_mut(), &*after.reply)
            {
                (record.attempt, record.failures) = (1, 0);
                record.steps.clear();
            }
        },
    ),
];
