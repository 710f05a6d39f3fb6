//! The service, tested as its own project would test it: in memory, with a bank that counts.

use std::collections::HashSet;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use idempotency::{Engine, Error, MemoryStore, Outcome};
use idempotent_testkit::interruptions::Interruptions;
use service::{Bank, Charge, PaymentError, PaymentService, Payments, Receipt};

#[derive(Default)]
struct CountingBank {
    transfers: AtomicUsize,
    refuses_the_first: bool,
}

impl Bank for &CountingBank {
    async fn transfer(&self, _: &str, _: u64) -> Result<String, PaymentError> {
        let number = self.transfers.fetch_add(1, Ordering::Relaxed);
        if self.refuses_the_first && number == 0 {
            return Err(PaymentError::Refused);
        }
        // Long enough for others to come in between.
        tokio::task::yield_now().await;
        Ok(format!("transfer {number}"))
    }
}

impl CountingBank {
    fn transfers(&self) -> usize {
        self.transfers.load(Ordering::Relaxed)
    }
}

fn service(bank: &CountingBank) -> impl Payments {
    PaymentService::new(Engine::new(MemoryStore::new()), bank)
}

fn charge(account: &str, cents: u64) -> Charge {
    Charge {
        account: account.to_owned(),
        request_id: "r1".to_owned(),
        cents,
    }
}

#[tokio::test]
async fn a_retry_gets_the_first_receipt() {
    let bank = CountingBank::default();
    let payments = service(&bank);
    let first = payments.charge(charge("ada", 100)).await.unwrap();
    let retry = payments.charge(charge("ada", 100)).await.unwrap();
    assert!(first.is_executed() && retry.is_replayed());
    assert_eq!(first.value(), retry.value());
    assert_eq!(bank.transfers(), 1);
}

#[tokio::test]
async fn callers_at_once_are_charged_once() {
    let bank = CountingBank::default();
    let payments = service(&bank);
    let charge = || payments.charge(charge("ada", 100));
    let (first, second, third) = tokio::join!(charge(), charge(), charge());
    assert_eq!(first.unwrap().value(), second.unwrap().value());
    third.unwrap();
    assert_eq!(bank.transfers(), 1);
}

#[tokio::test]
async fn another_account_is_another_charge() {
    let bank = CountingBank::default();
    let payments = service(&bank);
    payments.charge(charge("ada", 100)).await.unwrap();
    payments.charge(charge("bob", 100)).await.unwrap();
    assert_eq!(bank.transfers(), 2);
}

#[tokio::test]
async fn another_amount_is_refused() {
    let bank = CountingBank::default();
    let payments = service(&bank);
    payments.charge(charge("ada", 100)).await.unwrap();
    let error = payments.charge(charge("ada", 900)).await.unwrap_err();
    assert!(matches!(
        error,
        PaymentError::Idempotency(Error::FingerprintMismatch)
    ));
    assert_eq!(bank.transfers(), 1);
}

#[tokio::test]
async fn a_refusal_can_be_retried() {
    let bank = CountingBank {
        refuses_the_first: true,
        ..CountingBank::default()
    };
    let payments = service(&bank);
    payments.charge(charge("ada", 100)).await.unwrap_err();
    assert!(
        payments
            .charge(charge("ada", 100))
            .await
            .unwrap()
            .is_executed()
    );
}

#[tokio::test]
async fn a_charge_is_refunded_once() {
    let bank = CountingBank::default();
    let payments = service(&bank);
    let receipt: Receipt = payments
        .charge(charge("ada", 100))
        .await
        .unwrap()
        .into_value();
    payments.refund(receipt.clone()).await.unwrap();
    assert!(payments.refund(receipt).await.unwrap().is_replayed());
    assert_eq!(bank.transfers(), 2);
}

/// A bank that knows every transfer by its key, as banks do.
#[derive(Clone, Default)]
struct KnowingBank(Arc<Mutex<HashSet<String>>>);

impl Bank for KnowingBank {
    async fn transfer(&self, key: &str, _: u64) -> Result<String, PaymentError> {
        tokio::task::yield_now().await;
        let key = key.to_owned();
        self.0
            .lock()
            .expect("nobody panics with the lock")
            .insert(key.clone());
        tokio::task::yield_now().await;
        Ok(format!("transfer {key}"))
    }
}

#[test]
fn money_moves_once_wherever_the_service_is_stopped() {
    let bank = KnowingBank::default();
    let transfers = Arc::clone(&bank.0);
    let moved_before = AtomicUsize::new(0);
    let report = Interruptions::of(move |store| {
        let payments = PaymentService::new(Engine::new(store), bank.clone());
        async move {
            payments
                .charge(charge("ada", 100))
                .await
                .map(Outcome::into_value)
        }
    })
    .effects(move || {
        let moved = transfers.lock().unwrap().drain().count();
        moved_before.fetch_add(moved, Ordering::Relaxed) + moved
    })
    .run();
    report.assert_answered();
    report.assert_same_answers();
    report.assert_at_most(1);
}

#[test]
fn a_second_process_replays_what_the_first_did() {
    let folder = tempfile::tempdir().unwrap();
    let run = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_service"));
        let output = command.current_dir(&folder).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let first = run();
    assert_eq!(first.matches("executed").count(), 2, "{first}");
    assert_eq!(first.matches("replayed").count(), 2, "{first}");
    assert_eq!(first.matches("refused").count(), 1, "{first}");
    assert_eq!(run().matches("executed").count(), 0);
}
