//! Operations that nobody calls again are finished all the same, once, and not for ever.

#![expect(clippy::unwrap_used, reason = "helpers of tests unwrap like tests")]

use std::collections::BTreeSet;
use std::future::pending;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use idempotent_core::{
    Attempt, Completer, Engine, Error, Event, EventKind, Inspect, InspectExt, Key, MemoryStore,
    OnCancel, Resolution, State,
};
use tokio::time::{advance, sleep, timeout};

const GRACE: Duration = Duration::from_secs(5 * 60);
const LEASE: Duration = Duration::from_secs(30);

/// A store, and how its payments go.
#[derive(Clone)]
struct Desk {
    store: MemoryStore,
    engine: Engine,
    events: Arc<Mutex<Vec<EventKind>>>,
    charges: Arc<AtomicU32>,
    mails: Arc<AtomicU32>,
    /// How often a mail fails.
    failures: Arc<AtomicU32>,
}

impl Desk {
    fn new() -> Self {
        Self::with_lease(LEASE)
    }

    fn with_lease(lease: Duration) -> Self {
        let store = MemoryStore::new();
        let events = Arc::<Mutex<Vec<EventKind>>>::default();
        let noted = Arc::clone(&events);
        let note = move |event: &Event<'_>| noted.lock().unwrap().push(event.kind());
        let engine = Engine::builder(store.clone()).lease(lease).observer(note);
        Self {
            engine: engine.build(),
            store,
            events,
            charges: Arc::default(),
            mails: Arc::default(),
            failures: Arc::default(),
        }
    }

    /// Charges, and sends a mail, unless the caller goes away in between.
    async fn pay(&self, order: String, stays: bool) -> Result<String, Error> {
        let operation = self.engine.operation("pay").key(&order);
        let operation = operation
            .fingerprint(&order)
            .input(&order)
            .on_cancel(OnCancel::Hold);
        let body = async |run: Attempt| {
            let charge = run.step("charge", async |_| {
                Ok::<_, Error>(self.charges.fetch_add(1, Ordering::SeqCst))
            });
            let charge = charge.await?;
            if !stays {
                pending::<()>().await;
            }
            let mail = run.step("mail", async |_| {
                sleep(Duration::from_secs(1)).await;
                let fails = |left: u32| left.checked_sub(1);
                let order = Ordering::SeqCst;
                if self.failures.fetch_update(order, order, fails).is_ok() {
                    return Err(Error::ResultUnavailable);
                }
                self.mails.fetch_add(1, order);
                Ok(())
            });
            mail.await?;
            Ok(format!("{order} {charge}"))
        };
        operation.run_with(body).await
    }

    /// A client that dies after it was charged.
    async fn begin(&self, order: &str) {
        let call = self.pay(order.to_owned(), false);
        timeout(Duration::from_millis(1), call).await.unwrap_err();
    }

    fn completer(&self) -> Completer<MemoryStore> {
        let desk = self.clone();
        let completer = Completer::new(self.engine.clone(), self.store.clone());
        completer.register("pay", move |order: String| {
            let desk = desk.clone();
            async move { desk.pay(order, true).await }
        })
    }

    async fn state(&self, order: &str) -> State {
        let key = Key::new("pay", order).unwrap();
        self.store.get(&key).await.unwrap().unwrap().state
    }

    fn count(&self, kind: EventKind) -> usize {
        self.events
            .lock()
            .unwrap()
            .iter()
            .filter(|event| **event == kind)
            .count()
    }

    fn effects(&self) -> (u32, u32) {
        (
            self.charges.load(Ordering::SeqCst),
            self.mails.load(Ordering::SeqCst),
        )
    }
}

/// R19, S-16.
#[tokio::test(start_paused = true)]
async fn what_nobody_calls_again_goes_on_from_its_last_recovery_point() {
    let desk = Desk::new();
    desk.begin("a").await;
    advance(LEASE).await;
    let early = desk.completer().pass().await.unwrap();
    assert_eq!(
        early,
        idempotent_core::Pass::default(),
        "a client may still retry"
    );
    advance(GRACE).await;
    let pass = desk.completer().pass().await.unwrap();
    assert_eq!((pass.finished, pass.failed), (1, 0));
    assert_eq!(desk.state("a").await, State::Completed);
    assert_eq!(desk.effects(), (1, 1));
    assert_eq!(
        desk.pay("a".to_owned(), true).await.unwrap(),
        "a 0",
        "and is replayed"
    );
    assert_eq!(desk.count(EventKind::Resumed), 1);
    assert_eq!(desk.completer().pass().await.unwrap().finished, 0);
}

/// S-16: a failure does not stop the others.
#[tokio::test(start_paused = true)]
async fn an_operation_that_fails_does_not_stop_the_others() {
    let desk = Desk::new();
    for order in 0..300 {
        desk.begin(&order.to_string()).await;
    }
    desk.failures.store(7, Ordering::SeqCst);
    advance(LEASE + GRACE).await;
    let pass = desk.completer().pass().await.unwrap();
    assert_eq!((pass.finished, pass.failed), (293, 7));
    advance(GRACE).await;
    let pass = desk.completer().pass().await.unwrap();
    assert_eq!((pass.finished, pass.failed), (7, 0));
    assert_eq!(desk.effects(), (300, 300));
}

/// S-17, R3.
#[tokio::test(start_paused = true)]
async fn pauses_double_and_after_the_last_attempt_the_record_is_parked() {
    let desk = Desk::new();
    desk.failures.store(u32::MAX, Ordering::SeqCst);
    desk.begin("a").await;
    let completer = desk
        .completer()
        .grace(LEASE * 2)
        .backoff(LEASE * 2)
        .max_attempts(4);
    let mut passes = Vec::new();
    for minute in 0..20 {
        advance(LEASE * 2).await;
        let pass = completer.pass().await.unwrap();
        if pass.failed + pass.parked > 0 {
            passes.push((minute, pass.failed, pass.parked));
        }
    }
    // The sleep of a second within each attempt comes on top.
    let attempts: Vec<_> = passes.iter().map(|pass| (pass.1, pass.2)).collect();
    assert_eq!(attempts, [(1, 0), (1, 0), (1, 0), (0, 1)], "{passes:?}");
    let minutes: Vec<_> = passes.iter().map(|pass| pass.0).collect();
    assert!(
        minutes[2] - minutes[1] >= 2 * (minutes[1] - minutes[0]) - 1,
        "{passes:?}"
    );
    assert_eq!(desk.state("a").await, State::InDoubt);
    let parked = desk.pay("a".to_owned(), true).await;
    assert!(matches!(parked, Err(Error::Parked)), "{parked:?}");
    assert!(desk.count(EventKind::Parked) >= 1);

    desk.failures.store(0, Ordering::SeqCst);
    let key = Key::new("pay", "a").unwrap();
    desk.store
        .resolve(&key, Resolution::NotExecuted)
        .await
        .unwrap();
    desk.pay("a".to_owned(), true).await.unwrap();
    assert_eq!(desk.effects(), (1, 1));
}

/// R19: a name that is missing is skipped and reported.
#[tokio::test(start_paused = true)]
async fn an_operation_that_nobody_has_registered_is_left_and_named() {
    let desk = Desk::new();
    desk.begin("a").await;
    advance(LEASE + GRACE).await;
    let completer = Completer::new(desk.engine.clone(), desk.store.clone());
    let pass = completer.pass().await.unwrap();
    assert_eq!(pass.unknown, BTreeSet::from(["pay".to_owned()]));
    assert_eq!(desk.state("a").await, State::InProgress);
}

/// R19: arguments that the program cannot read any more are reported, and nothing runs.
#[tokio::test(start_paused = true)]
async fn arguments_of_another_type_are_reported() {
    let desk = Desk::new();
    desk.begin("a").await;
    advance(LEASE + GRACE).await;
    let completer = Completer::new(desk.engine.clone(), desk.store.clone());
    let completer = completer.register("pay", async |_: u64| Ok::<_, Error>(()));
    assert_eq!(completer.pass().await.unwrap().failed, 1);
    assert_eq!(desk.count(EventKind::Diverged), 1);
}

/// R18: an operation that keeps no arguments is none of a completer's business.
#[tokio::test(start_paused = true)]
async fn an_operation_that_keeps_no_arguments_is_left_alone() {
    let desk = Desk::new();
    let body = async |run: Attempt| {
        run.value("n", || 1).await?;
        pending::<Result<(), Error>>().await
    };
    let call = desk.engine.operation("pay").key("a").run_with(body);
    timeout(Duration::from_millis(1), call).await.unwrap_err();
    advance(LEASE + GRACE).await;
    let pass = desk.completer().pass().await.unwrap();
    assert_eq!((pass.finished, pass.failed, pass.waiting), (0, 0, 1));
}

/// The arguments of a call that has done nothing are not those of the next one with its key.
#[tokio::test(start_paused = true)]
async fn the_arguments_that_count_are_those_of_the_call_that_began() {
    let desk = Desk::new();
    for order in ["wrong", "right"] {
        let operation = desk
            .engine
            .operation("pay")
            .key("a")
            .fingerprint(order)
            .input(order);
        let operation = operation.clean_if(|_: &Error| true);
        let body = async {
            if order == "wrong" {
                Err(Error::InDoubt)
            } else {
                pending().await
            }
        };
        let call = operation.run::<Result<(), Error>>(body);
        _ = timeout(Duration::from_millis(1), call).await;
    }
    advance(LEASE + GRACE).await;
    let seen = Arc::new(Mutex::new(Vec::new()));
    let note = Arc::clone(&seen);
    let completer = Completer::new(desk.engine.clone(), desk.store.clone());
    let completer = completer.register("pay", move |order: String| {
        note.lock().unwrap().push(order);
        async { Ok::<_, Error>(()) }
    });
    completer.pass().await.unwrap();
    assert_eq!(*seen.lock().unwrap(), ["right"]);
}

/// S-18: completers and clients at once, each effect once.
#[tokio::test(flavor = "multi_thread")]
async fn completers_and_clients_at_once_do_everything_once() {
    const ORDERS: u32 = 200;
    let lease = Duration::from_millis(50);
    let desk = Desk::with_lease(lease);
    let orders = || (0..ORDERS).map(|order| order.to_string());
    for order in orders() {
        desk.begin(&order).await;
    }
    sleep(lease).await;
    let mut workers = tokio::task::JoinSet::new();
    for _ in 0..2 {
        let completer = desk
            .completer()
            .grace(Duration::ZERO)
            .backoff(Duration::ZERO);
        let completer = completer.concurrency(16);
        workers.spawn(async move {
            completer.pass().await.unwrap();
        });
        let desk = desk.clone();
        workers.spawn(async move {
            let mut calls = tokio::task::JoinSet::new();
            for order in (0..ORDERS).rev().map(|order| order.to_string()) {
                let desk = desk.clone();
                calls.spawn(async move { desk.pay(order, true).await.unwrap() });
            }
            calls.join_all().await;
        });
    }
    workers.join_all().await;
    assert_eq!(desk.effects(), (ORDERS, ORDERS));
    for order in orders() {
        assert_eq!(desk.state(&order).await, State::Completed);
    }
}

/// It ends with its handle.
#[tokio::test(start_paused = true)]
async fn a_spawned_completer_works_until_it_is_stopped() {
    let desk = Desk::new();
    desk.begin("a").await;
    let handle = desk.completer().interval(Duration::from_secs(10)).spawn();
    sleep(LEASE + GRACE + Duration::from_secs(20)).await;
    assert_eq!(desk.state("a").await, State::Completed);
    handle.stop().await;
    desk.begin("b").await;
    sleep(LEASE + GRACE * 2).await;
    assert_eq!(desk.state("b").await, State::InProgress);
}
