//! What breaks the protocol on purpose is found out, so that a good run means something.

use verification::{Control, Setup, StoreKind, controls, summary};

/// What the workers are.
const PROGRAM: &str = env!("CARGO_BIN_EXE_verification");

async fn check(control: Control, store: StoreKind) {
    let setup = Setup::new(PROGRAM, store, 40, 2026).control(Some(control));
    let report = controls::run(setup)
        .await
        .expect("the harness itself does not fail");
    assert!(!report.violations.is_empty());
    assert!(report.is_good(), "\n{}", summary(&[report]));
}

#[tokio::test(flavor = "multi_thread")]
async fn deletion_on_release_is_found_out_on_postgres() {
    check(Control::DeleteOnRelease, StoreKind::Postgres).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn deletion_on_release_is_found_out_on_redis() {
    check(Control::DeleteOnRelease, StoreKind::Redis).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn deletion_on_release_is_found_out_on_sqlite() {
    check(Control::DeleteOnRelease, StoreKind::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_as_the_expiry_is_found_out_on_postgres() {
    check(Control::LeaseAsExpiry, StoreKind::Postgres).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_as_the_expiry_is_found_out_on_redis() {
    check(Control::LeaseAsExpiry, StoreKind::Redis).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_as_the_expiry_is_found_out_on_sqlite() {
    check(Control::LeaseAsExpiry, StoreKind::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_apart_from_its_row_is_found_out_on_postgres() {
    check(Control::RecordApart, StoreKind::Postgres).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_apart_from_its_row_is_found_out_on_sqlite() {
    check(Control::RecordApart, StoreKind::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn unconditional_completion_is_found_out_on_postgres() {
    check(Control::UnconditionalComplete, StoreKind::Postgres).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn unconditional_completion_is_found_out_on_redis() {
    check(Control::UnconditionalComplete, StoreKind::Redis).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn unconditional_completion_is_found_out_on_sqlite() {
    check(Control::UnconditionalComplete, StoreKind::Sqlite).await;
}
