//! A small run of each kind on each store. `cargo xtask verify --full` has the long ones.

use anyhow::Result;
use verification::{
    Mode, Report, Setup, StoreKind, blocked, cut, evict, failover, full, kill, race, reconnect,
    restart, stop, summary, table, transaction,
};

/// What the workers are.
const PROGRAM: &str = env!("CARGO_BIN_EXE_verification");
/// Rounds are the same in every run, and what comes of them is not.
const SEED: u64 = 2026;

fn setup(store: StoreKind, mode: Mode, rounds: u64) -> Setup {
    Setup::new(PROGRAM, store, rounds, SEED).mode(mode)
}

#[track_caller]
fn check(report: Result<Report>) {
    let report = report.expect("the harness itself does not fail");
    let reports = [report];
    let text = format!("{}\n{}", table(&reports), summary(&reports));
    assert!(reports[0].is_good(), "\n{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_64_callers_at_once_one_runs_in_memory() {
    check(race::run(setup(StoreKind::Memory, Mode::Rerun, 20)).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_64_callers_in_four_processes_one_runs_on_postgres() {
    check(race::run(setup(StoreKind::Postgres, Mode::Rerun, 10)).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_64_callers_in_four_processes_one_runs_on_redis() {
    check(race::run(setup(StoreKind::Redis, Mode::Rerun, 20)).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_64_callers_in_four_processes_one_runs_on_sqlite() {
    check(race::run(setup(StoreKind::Sqlite, Mode::Rerun, 20)).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_owner_is_taken_over_on_postgres() {
    check(kill::run(setup(StoreKind::Postgres, Mode::Rerun, 30)).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_owner_is_taken_over_on_redis() {
    check(kill::run(setup(StoreKind::Redis, Mode::Rerun, 60)).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_owner_is_taken_over_on_sqlite() {
    check(kill::run(setup(StoreKind::Sqlite, Mode::Rerun, 40)).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_owner_leaves_a_doubt_on_postgres() {
    check(kill::run(setup(StoreKind::Postgres, Mode::InDoubt, 30)).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_owner_leaves_a_doubt_on_redis() {
    check(kill::run(setup(StoreKind::Redis, Mode::InDoubt, 60)).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_owner_leaves_a_doubt_on_sqlite() {
    check(kill::run(setup(StoreKind::Sqlite, Mode::InDoubt, 40)).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_owner_comes_back_too_late_on_postgres() {
    check(stop::run(setup(StoreKind::Postgres, Mode::Rerun, 30)).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_owner_comes_back_too_late_on_redis() {
    check(stop::run(setup(StoreKind::Redis, Mode::Rerun, 40)).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_owner_comes_back_too_late_on_sqlite() {
    check(stop::run(setup(StoreKind::Sqlite, Mode::Rerun, 30)).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_owner_settles_its_doubt_on_postgres() {
    check(stop::run(setup(StoreKind::Postgres, Mode::InDoubt, 30)).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_owner_settles_its_doubt_on_redis() {
    check(stop::run(setup(StoreKind::Redis, Mode::InDoubt, 40)).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_owner_settles_its_doubt_on_sqlite() {
    check(stop::run(setup(StoreKind::Sqlite, Mode::InDoubt, 30)).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cut_connection_costs_no_answer_its_truth_on_postgres() {
    check(cut::run(setup(StoreKind::Postgres, Mode::Rerun, 40)).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cut_connection_costs_no_answer_its_truth() {
    check(cut::run(setup(StoreKind::Redis, Mode::Rerun, 60)).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cut_connection_costs_no_second_effect_on_postgres() {
    check(cut::run(setup(StoreKind::Postgres, Mode::InDoubt, 40)).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cut_connection_costs_no_second_effect() {
    check(cut::run(setup(StoreKind::Redis, Mode::InDoubt, 60)).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_breaks_while_it_is_made_costs_no_later_call_on_postgres() {
    check(reconnect::run(setup(StoreKind::Postgres, Mode::Rerun, 24)).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_breaks_while_it_is_made_costs_no_later_call() {
    check(reconnect::run(setup(StoreKind::Redis, Mode::Rerun, 24)).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restarted_server_remembers_on_postgres() {
    check(restart::run(setup(StoreKind::Postgres, Mode::Rerun, 3)).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restarted_server_remembers() {
    check(restart::run(setup(StoreKind::Redis, Mode::Rerun, 5)).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restarted_server_costs_no_second_effect_on_postgres() {
    check(restart::run(setup(StoreKind::Postgres, Mode::InDoubt, 3)).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restarted_server_costs_no_second_effect() {
    check(restart::run(setup(StoreKind::Redis, Mode::InDoubt, 5)).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blocked_owner_is_told_that_it_is_late_on_postgres() {
    check(blocked::run(setup(StoreKind::Postgres, Mode::Rerun, 30)).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blocked_owner_is_told_that_it_is_late_on_redis() {
    check(blocked::run(setup(StoreKind::Redis, Mode::Rerun, 40)).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blocked_owner_is_told_that_it_is_late_on_sqlite() {
    check(blocked::run(setup(StoreKind::Sqlite, Mode::Rerun, 30)).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blocked_owner_settles_its_doubt_on_postgres() {
    check(blocked::run(setup(StoreKind::Postgres, Mode::InDoubt, 30)).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blocked_owner_settles_its_doubt_on_redis() {
    check(blocked::run(setup(StoreKind::Redis, Mode::InDoubt, 40)).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blocked_owner_settles_its_doubt_on_sqlite() {
    check(blocked::run(setup(StoreKind::Sqlite, Mode::InDoubt, 30)).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failover_loses_what_the_replica_had_not_received() {
    check(failover::run(setup(StoreKind::Redis, Mode::Rerun, 5)).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failover_loses_less_where_writes_wait_for_the_replica() {
    check(failover::run(setup(StoreKind::Redis, Mode::Rerun, 5).replicated(true)).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_evicted_record_is_written_anew_by_its_owner() {
    check(evict::run(setup(StoreKind::Redis, Mode::Rerun, 8)).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_server_finishes_what_has_begun() {
    check(full::run(setup(StoreKind::Redis, Mode::Rerun, 5)).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_file_finishes_what_has_begun() {
    check(full::run(setup(StoreKind::Sqlite, Mode::Rerun, 5)).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_transaction_leaves_nothing_or_all_on_postgres() {
    check(transaction::run(setup(StoreKind::Postgres, Mode::Rerun, 40)).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_transaction_leaves_nothing_or_all_on_sqlite() {
    check(transaction::run(setup(StoreKind::Sqlite, Mode::Rerun, 40)).await);
}
