//! What every store has to show, as one test each.
//!
//! A case is a sentence and its proof. It gets a store of its own from a [`Harness`], and sees it
//! through two clients in turns. [`store_tests!`](crate::store_tests) makes a `#[test]` of each.

mod claim;
mod complete;
mod damage;
mod doubt;
mod fence;
mod full;
mod healing;
mod inspect;
mod keys;
mod payload;
mod prelude;
mod races;
mod release;
mod renew;
mod steps;
mod takeover;
mod turns;
mod wait;

use std::fmt;
use std::pin::Pin;
use std::time::Duration;

use self::prelude::World;
use crate::harness::{Damaging, Filling, Harness};

/// A case that takes longer hangs.
const LIMIT: Duration = Duration::from_secs(120);

/// One sentence about stores, and its proof.
pub struct Case {
    name: &'static str,
    start: fn() -> Pin<Box<dyn Future<Output = ()> + Send>>,
}

impl Case {
    /// The sentence, as in `a_late_owner_cannot_complete`.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// Runs the proof on a fresh store.
    ///
    /// # Panics
    ///
    /// If the store does not do as the sentence says.
    pub async fn run(&self) {
        let case = tokio::time::timeout(LIMIT, (self.start)());
        assert!(case.await.is_ok(), "the case `{}` hangs", self.name);
    }
}

impl fmt::Debug for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Case").field(&self.name).finish()
    }
}

/// Passes the names of all cases to the macro `$then`, after whatever else it wants to be told.
#[doc(hidden)]
#[macro_export]
macro_rules! __store_cases {
    ($then:path, $($told:tt)*) => {
        $then! {
            $($told)*;
            claim: [
                an_absent_key_is_granted_as_the_first_attempt,
                a_completed_record_is_replayed,
                a_recorded_error_is_replayed,
                a_result_is_replayed_to_its_own_owner,
                a_repeated_claim_gets_the_same_grant,
                a_repeated_claim_gets_the_same_grant_after_its_lease,
                a_repeated_claim_renews_the_lease,
                a_claim_after_its_own_release_is_stale,
                a_live_lease_is_busy,
                a_busy_claim_changes_nothing,
                a_waiting_claim_leaves_its_flag,
                other_arguments_are_a_mismatch_in_progress,
                other_arguments_are_a_mismatch_after_the_lease,
                other_arguments_are_a_mismatch_after_the_result,
                other_arguments_are_a_mismatch_after_a_release,
                other_arguments_are_a_mismatch_in_doubt,
                other_arguments_may_use_a_key_after_a_clean_release,
                other_arguments_may_not_use_a_key_once_an_attempt_has_begun,
                scopes_are_kept_apart,
            ]
            takeover: [
                an_expired_lease_is_taken_over_as_the_next_attempt,
                a_released_record_is_taken_over_with_its_reason,
                a_note_is_handed_over,
                an_attempt_that_never_began_does_not_count,
                an_attempt_that_never_began_hides_nothing,
                attempts_and_failures_are_counted_apart,
                a_takeover_brings_its_own_policy,
                a_takeover_keeps_the_waiters,
                an_orphan_is_remembered_after_its_lease,
                an_orphan_is_forgotten_when_it_was_kept_long_enough,
                a_tombstone_is_forgotten_when_it_was_kept_long_enough,
            ]
            fence: [
                fences_rise_with_every_grant,
                fences_rise_over_an_expired_lease,
                fences_rise_over_a_lost_record,
                fences_rise_over_an_expired_record,
                fences_are_near_the_stores_clock,
            ]
            complete: [
                a_result_is_kept_for_its_ttl_from_completion,
                a_result_is_absent_after_its_ttl,
                a_repeated_completion_is_told_so,
                a_second_result_is_refused,
                an_expired_lease_can_be_completed,
                a_late_owner_cannot_complete,
                a_late_owner_is_given_the_winners_result,
                a_late_owner_with_an_equal_result_is_late_all_the_same,
                a_late_owner_cannot_complete_over_a_tombstone,
                a_released_call_cannot_complete,
                a_completion_shows_its_owner,
                a_completion_shows_its_fence,
                late_completions_are_counted,
                a_completion_without_a_result_is_a_completion,
                a_finished_record_keeps_no_steps_and_no_waiter,
            ]
            renew: [
                a_renewed_lease_keeps_others_out,
                a_renewal_may_shorten_the_lease,
                a_renewal_changes_the_lease_alone,
                an_expired_lease_can_be_renewed,
                a_late_owner_cannot_renew,
                a_renewal_shows_owner_and_fence,
                a_finished_record_is_not_renewed,
                a_released_record_is_not_renewed,
            ]
            release: [
                a_release_leaves_a_tombstone,
                a_repeated_release_is_told_so,
                only_failures_are_counted,
                a_release_says_what_becomes_of_the_count_of_failures,
                a_late_owner_cannot_release,
                a_release_shows_owner_and_fence,
                a_result_is_not_released,
                a_note_changes_nothing_but_the_ending,
                a_note_comes_too_late_for_a_tombstone,
                an_owner_without_a_fence_may_release,
                an_expired_lease_can_be_released,
                there_is_nothing_to_release_where_there_is_nothing,
            ]
            doubt: [
                an_expired_lease_is_in_doubt_if_either_policy_says_so,
                a_released_record_is_never_in_doubt,
                a_doubt_tells_how_the_attempt_ended,
                a_doubt_stays_until_it_is_resolved,
                the_silent_owner_may_complete,
                the_silent_owner_may_not_go_on,
                nobody_else_may_settle_the_doubt,
                a_doubt_can_be_resolved_with_a_value,
                a_doubt_can_be_resolved_as_not_executed,
                only_a_doubt_can_be_resolved,
                the_silent_owner_may_release,
            ]
            steps: [
                steps_are_kept_in_their_order,
                the_first_value_of_a_step_wins,
                steps_are_handed_over_after_an_expired_lease,
                steps_are_handed_over_after_every_release,
                steps_are_in_the_same_grant_again,
                recording_a_step_renews_the_lease,
                a_late_owner_cannot_record_a_step,
                a_step_shows_owner_and_fence,
                steps_are_recorded_in_progress_only,
                a_step_can_be_recorded_after_an_expired_lease,
                a_step_does_not_heal,
            ]
            healing: [
                a_renewal_heals_a_lost_record,
                a_completion_heals_a_lost_record,
                healing_ends_with_its_window,
                a_record_that_was_granted_anew_is_not_healed_over,
                a_healed_record_is_taken_over_with_its_history,
            ]
            wait: [
                a_completion_wakes_whoever_waits,
                all_who_wait_are_woken,
                a_release_wakes_whoever_waits,
                a_doubt_wakes_whoever_waits,
                a_takeover_keeps_waiters_informed,
                nothing_is_missed_between_the_subscription_and_the_wait,
                a_waiter_that_gives_up_harms_nobody,
            ]
            inspect: [
                a_record_comes_back_whole,
                every_state_can_be_looked_up,
                every_live_record_is_listed_once,
                lists_are_filtered_by_state,
                lists_are_filtered_by_scope,
                lists_are_filtered_by_steps,
                lists_are_filtered_by_age,
                a_deleted_record_is_gone,
                a_held_record_is_not_deleted,
                purging_removes_expired_records_alone,
                purging_goes_by_batches,
                purging_nothing_comes_to_an_end,
                statistics_count_every_state,
                all_clients_see_the_same_records,
            ]
            payload: [
                results_are_bytes,
                a_large_result_survives,
                an_empty_result_is_a_result,
                the_codec_is_kept,
                steps_are_bytes,
                large_steps_survive,
                many_steps_survive,
            ]
            keys: [
                keys_of_any_text_are_kept_apart,
                keys_of_any_text_are_listed,
                durations_of_any_length_are_kept,
                a_dropped_call_harms_no_later_one,
            ]
            races: [
                concurrent_claims_have_one_winner,
                concurrent_takeovers_have_one_winner,
                concurrent_claims_of_a_tombstone_have_one_winner,
                concurrent_claims_of_an_expired_record_have_one_winner,
                concurrent_claims_of_a_silent_key_leave_one_doubt,
                concurrent_claims_of_one_owner_get_one_grant,
                concurrent_completions_have_one_winner,
                concurrent_steps_have_one_value,
                concurrent_steps_are_all_kept,
                concurrent_resolutions_have_one_winner,
            ]
            turns: [
                claims_racing_releases_never_run_together,
                completions_racing_takeovers_have_one_winner,
                callers_that_crash_and_retry_agree_on_one_value,
            ]
        }
    };
}

/// Like `__store_cases!`, for [`damage_tests!`](crate::damage_tests).
#[doc(hidden)]
#[macro_export]
macro_rules! __damage_cases {
    ($then:path, $($told:tt)*) => {
        $then! {
            $($told)*;
            damage: [
                foreign_data_is_corrupt,
                a_newer_format_is_incompatible,
                damage_stays_where_it_is,
            ]
        }
    };
}

/// Like `__store_cases!`, for [`full_tests!`](crate::full_tests).
#[doc(hidden)]
#[macro_export]
macro_rules! __full_cases {
    ($then:path, $($told:tt)*) => {
        $then! {
            $($told)*;
            full: [
                a_full_store_refuses_new_keys,
                a_full_store_finishes_what_it_has_begun,
                a_full_store_releases_what_it_has_begun,
            ]
        }
    };
}

/// Makes a test of each case that every store has to pass.
///
/// The argument is a [`Harness`]. Nothing but `idempotent-testkit` is needed among the
/// dev-dependencies.
///
/// # Examples
///
/// In `tests/conformance.rs` of a store's crate:
///
/// ```
/// # use std::time::Duration;
/// # use idempotent_core::{Clock, MemoryStore};
/// use idempotent_testkit::{Harness, store_tests};
///
/// struct MyHarness(MemoryStore, Clock);
///
/// impl Harness for MyHarness {
///     type Store = MemoryStore;
///
///     async fn start() -> Self {
///         let clock = Clock::manual();
///         Self(MemoryStore::new().with_clock(clock.clone()), clock)
///     }
///
///     async fn store(&self) -> MemoryStore {
///         self.0.clone()
///     }
///
///     async fn pass(&self, duration: Duration) {
///         self.1.advance(duration);
///     }
/// }
///
/// store_tests!(MyHarness);
/// ```
#[macro_export]
macro_rules! store_tests {
    ($harness:ty) => {
        $crate::__store_cases! { $crate::__tests, store_cases, $harness }
    };
}

/// Makes a test of each case about what is not a record. The argument is a [`Damaging`] harness.
#[macro_export]
macro_rules! damage_tests {
    ($harness:ty) => {
        $crate::__damage_cases! { $crate::__tests, damage_cases, $harness }
    };
}

/// Makes a test of each case about a store without room. The argument is a [`Filling`] harness.
#[macro_export]
macro_rules! full_tests {
    ($harness:ty) => {
        $crate::__full_cases! { $crate::__tests, full_cases, $harness }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __tests {
    ($cases:ident, $harness:ty; $($module:ident: [$($case:ident,)*])*) => {$($(
        #[test]
        fn $case() {
            $crate::conformance::run(&$crate::conformance::$cases::<$harness>(), stringify!($case));
        }
    )*)*};
}

/// Makes a list of cases. Each starts a world of its own.
macro_rules! cases {
    ($harness:ident; $($module:ident: [$($case:ident,)*])*) => {
        vec![$($(Case {
            name: stringify!($case),
            start: || Box::pin(async { $module::$case(&World::<$harness>::start().await).await }),
        },)*)*]
    };
}

/// All cases of [`store_tests!`](crate::store_tests).
#[must_use]
pub fn store_cases<H: Harness>() -> Vec<Case> {
    __store_cases! { cases, H }
}

/// All cases of [`damage_tests!`](crate::damage_tests).
#[must_use]
pub fn damage_cases<H: Damaging>() -> Vec<Case> {
    __damage_cases! { cases, H }
}

/// All cases of [`full_tests!`](crate::full_tests).
#[must_use]
pub fn full_cases<H: Filling>() -> Vec<Case> {
    __full_cases! { cases, H }
}

/// Runs the case with this name on a runtime of its own, with threads enough for a race.
#[doc(hidden)]
pub fn run(cases: &[Case], name: &str) {
    let case = cases
        .iter()
        .find(|case| case.name == name)
        .expect("the case exists");
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(4)
        .enable_all()
        .build()
        .expect("the machine has room for a runtime")
        .block_on(case.run());
}
