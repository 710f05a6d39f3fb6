//! What goes wrong around the record: races, clients, keys, notifications and administration.

use idempotent_core::{Key, State};

use super::Defect;
use super::hook::{Hook, has_lapsed};

pub(super) const DEFECTS: &[Defect] = &[
    // Races.
    Defect::new(
        "every operation checks, then acts",
        &[
            "concurrent_claims_have_one_winner",
            "concurrent_takeovers_have_one_winner",
            "concurrent_claims_of_a_tombstone_have_one_winner",
            "concurrent_claims_of_an_expired_record_have_one_winner",
            "concurrent_completions_have_one_winner",
            "concurrent_resolutions_have_one_winner",
            "concurrent_steps_have_one_value",
            "concurrent_steps_are_all_kept",
            "claims_racing_releases_never_run_together",
            "completions_racing_takeovers_have_one_winner",
            "callers_that_crash_and_retry_agree_on_one_value",
        ],
        Hook::CheckThenAct,
    ),
    Defect::new(
        "a dropped call leaves its lock",
        &["a_dropped_call_harms_no_later_one"],
        Hook::LeaveLocked,
    ),
    // Clients and keys.
    Defect::new(
        "each client has its own records",
        &["all_clients_see_the_same_records"],
        Hook::PerClient,
    ),
    Defect::new(
        "the scope is not part of the key",
        &["scopes_are_kept_apart"],
        Hook::Key(|key| Key::new("any", key.value()).unwrap()),
    ),
    Defect::new(
        "keys are compared in lower case",
        &["keys_of_any_text_are_kept_apart"],
        Hook::Key(|key| Key::new(&key.scope(), &key.value().to_ascii_lowercase()).unwrap()),
    ),
    Defect::new(
        "keys are trimmed",
        &["keys_of_any_text_are_kept_apart"],
        Hook::Key(|key| Key::new(&key.scope(), key.value().trim()).unwrap()),
    ),
    Defect::new(
        "long keys are cut off",
        &["keys_of_any_text_are_kept_apart"],
        Hook::Key(|key| {
            let short: String = key.value().chars().take(255).collect();
            Key::new(&key.scope(), &short).unwrap()
        }),
    ),
    // Notifications.
    Defect::new(
        "a completion tells nobody",
        &[
            "a_completion_wakes_whoever_waits",
            "all_who_wait_are_woken",
            "nothing_is_missed_between_the_subscription_and_the_wait",
            "a_waiter_that_gives_up_harms_nobody",
        ],
        Hook::Silent(State::is_finished),
    ),
    Defect::new(
        "a release tells nobody",
        &["a_release_wakes_whoever_waits"],
        Hook::Silent(|state| matches!(state, State::Released)),
    ),
    Defect::new(
        "a doubt tells nobody",
        &["a_doubt_wakes_whoever_waits"],
        Hook::Silent(|state| matches!(state, State::InDoubt)),
    ),
    // Administration.
    Defect::new(
        "a lookup loses a field",
        &["a_record_comes_back_whole"],
        Hook::Get(|record| {
            record.late = 0;
        }),
    ),
    Defect::new(
        "a lookup takes silence for doubt",
        &["only_a_doubt_can_be_resolved"],
        Hook::Get(|record| {
            if record.state == State::InProgress {
                record.state = State::InDoubt;
            }
        }),
    ),
    Defect::new(
        "expired records are shown",
        &[
            "every_state_can_be_looked_up",
            "every_live_record_is_listed_once",
        ],
        Hook::ShowExpired,
    ),
    Defect::new(
        "a page loses its last entry",
        &[
            "every_live_record_is_listed_once",
            "keys_of_any_text_are_listed",
        ],
        Hook::Page(|page| _ = page.entries.pop()),
    ),
    Defect::new(
        "lists know no states",
        &["lists_are_filtered_by_state"],
        Hook::Query(|query| {
            query.state = None;
        }),
    ),
    Defect::new(
        "lists know no scopes",
        &["lists_are_filtered_by_scope"],
        Hook::Query(|query| {
            query.scope = None;
        }),
    ),
    Defect::new(
        "lists know no ages",
        &["lists_are_filtered_by_age"],
        Hook::Query(|query| {
            query.older_than = None;
        }),
    ),
    Defect::new(
        "lists know no steps",
        &["lists_are_filtered_by_steps"],
        Hook::Query(|query| {
            query.steps = false;
        }),
    ),
    Defect::new(
        "a deletion deletes nothing",
        &["a_deleted_record_is_gone"],
        Hook::DeleteNothing,
    ),
    Defect::new(
        "a deletion does not ask",
        &["a_held_record_is_not_deleted"],
        Hook::DeleteAnything,
    ),
    Defect::new(
        "purging removes what has lapsed",
        &["purging_removes_expired_records_alone"],
        Hook::PurgeLive(has_lapsed),
    ),
    Defect::new(
        "purging removes tombstones",
        &["purging_removes_expired_records_alone"],
        Hook::PurgeLive(|record, _| record.state == State::Released),
    ),
    Defect::new(
        "purging knows no batches",
        &["purging_goes_by_batches"],
        Hook::PurgeAtOnce,
    ),
    Defect::new(
        "purging nothing never ends",
        &["purging_nothing_comes_to_an_end"],
        Hook::PurgeForEver,
    ),
    Defect::new(
        "what has lapsed is not counted",
        &["statistics_count_every_state"],
        Hook::Count(|statistics| {
            statistics.in_progress -= statistics.lapsed;
        }),
    ),
];
