//! The decision table in any order: consumers that come and go, a broker and a store at their worst, and
//! handlers that fail in every way.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use idempotent_consumer::{
    Capabilities, Consumer, Context, Delivery, HandlerError, Message, Reason, ReasonKind, Settle,
    SettleError, Source, SourceError, TestBroker, TestSettle, TestSource,
};
use idempotent_core::{Engine, Inspect, Key, MemoryStore, State};
use idempotent_testkit::faults::{Faults, Op};
use proptest::prelude::*;
use proptest::sample::select;
use tokio::runtime::Builder;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::world::{LEASE, SCOPE, message};

const MESSAGES: usize = 3;
const MAX_ATTEMPTS: u32 = 3;

/// What a handler does, one after the other; after that, it succeeds.
#[derive(Clone, Copy, Debug)]
enum Act {
    Dies,
    Fails,
    Gives,
    Panics,
    Sleeps,
}

/// What befalls a call of the store.
#[derive(Clone, Copy, Debug)]
enum Mishap {
    Fails,
    Hangs,
    LosesLease,
    LosesReply,
}

#[derive(Clone, Debug)]
struct Script {
    acts: Vec<Act>,
    mishaps: Vec<(Op, usize, Mishap)>,
    consumers: usize,
    cuts: Vec<u64>,
    seed: u64,
}

fn script() -> impl Strategy<Value = Script> {
    let act = select(&[Act::Dies, Act::Fails, Act::Gives, Act::Panics, Act::Sleeps][..]);
    let op = select(&[Op::Claim, Op::Complete, Op::Release, Op::Renew][..]);
    let mishap = select(
        &[
            Mishap::Fails,
            Mishap::Fails,
            Mishap::Hangs,
            Mishap::LosesLease,
            Mishap::LosesReply,
        ][..],
    );
    (
        prop::collection::vec(act, 0..8),
        prop::collection::vec((op, 1..12_usize, mishap), 0..6),
        1..4_usize,
        prop::collection::vec(1..60_u64, 0..4),
        any::<u64>(),
    )
        .prop_map(|(acts, mishaps, consumers, cuts, seed)| Script {
            acts,
            mishaps,
            consumers,
            cuts,
            seed,
        })
}

/// What has come of each message.
#[derive(Debug, Default)]
struct Story {
    done: u32,
    failed: u32,
}

#[derive(Clone)]
struct World {
    acts: Arc<Mutex<Vec<Act>>>,
    broker: TestBroker,
    faults: Faults,
    stories: Arc<Mutex<BTreeMap<String, Story>>>,
    store: MemoryStore,
}

impl World {
    fn new(script: &Script) -> Self {
        let broker = TestBroker::new()
            .seeded(script.seed)
            .with_visibility(LEASE * 2);
        let broker = broker.duplicating(40).reordering().losing_acks(20);
        for number in 0..MESSAGES {
            broker.publish(message(&number.to_string()));
        }
        let faults = Faults::new();
        for (op, number, mishap) in &script.mishaps {
            let when = faults.on(*op).nth(*number);
            match mishap {
                Mishap::Fails => when.fail(),
                Mishap::Hangs => when.hang(),
                Mishap::LosesLease => when.lose_lease(),
                Mishap::LosesReply => when.drop_reply(),
            }
        }
        Self {
            acts: Arc::new(Mutex::new(script.acts.clone())),
            broker,
            faults,
            stories: Arc::default(),
            store: MemoryStore::new(),
        }
    }

    /// A process that consumes for a while, and then ends: well, or not.
    async fn consume(self, patience: Duration) {
        let engine = Engine::builder(self.faults.wrap(self.store.clone())).build();
        let consumer = Consumer::builder(engine, SCOPE)
            .max_attempts(MAX_ATTEMPTS)
            .lease(LEASE)
            .drain(Duration::from_secs(3))
            .build()
            .unwrap();
        let world = self.clone();
        let worker = consumer.leased(move |message: Message, context: Context| {
            let world = world.clone();
            async move { world.handle(message, context).await }
        });
        let source = Judged {
            source: self.broker.source(),
            store: self.store.clone(),
        };
        _ = worker.run(source, sleep(patience)).await;
    }

    async fn handle(self, message: Message, context: Context) -> Result<u32, HandlerError> {
        let id = message.id.unwrap().to_string();
        let act = self.acts.lock().unwrap().pop();
        let tell = |change: fn(&mut Story)| {
            change(self.stories.lock().unwrap().entry(id.clone()).or_default());
        };
        match act {
            // Not heard of again: what is dropped at the end of the process is told to nobody.
            Some(Act::Dies) => {
                tell(|story| story.failed += 1);
                std::future::pending().await
            }
            Some(Act::Fails) => {
                tell(|story| story.failed += 1);
                Err(HandlerError::retryable("no"))
            }
            Some(Act::Gives) => {
                tell(|story| story.failed += 1);
                Err(HandlerError::retryable("no").after(Duration::ZERO))
            }
            Some(Act::Panics) => {
                tell(|story| story.failed += 1);
                panic!("a bug")
            }
            Some(Act::Sleeps) => {
                sleep(LEASE * 2).await;
                tell(|story| story.done += 1);
                Ok(context.attempt().number())
            }
            None => {
                tell(|story| story.done += 1);
                Ok(context.attempt().number())
            }
        }
    }
}

/// A source whose acknowledgements are judged.
struct Judged<S> {
    source: S,
    store: MemoryStore,
}

struct JudgedSettle {
    id: String,
    settle: TestSettle,
    store: MemoryStore,
}

impl Source for Judged<TestSource> {
    type Settle = JudgedSettle;

    fn capabilities(&self) -> Capabilities {
        self.source.capabilities()
    }

    async fn next(&mut self) -> Result<Option<Delivery<JudgedSettle>>, SourceError> {
        let delivery = self.source.next().await?;
        Ok(delivery.map(
            |Delivery {
                 message, settle, ..
             }| {
                let judged = JudgedSettle {
                    id: message.id.as_ref().unwrap().to_string(),
                    settle,
                    store: self.store.clone(),
                };
                Delivery::new(message, judged)
            },
        ))
    }
}

impl Settle for JudgedSettle {
    fn capabilities(&self) -> Capabilities {
        self.settle.capabilities()
    }

    fn attempts_hint(&self) -> Option<u32> {
        self.settle.attempts_hint()
    }

    async fn ack(self) -> Result<(), SettleError> {
        let key = Key::new(SCOPE, &self.id).unwrap();
        let record = self.store.get(&key).await.unwrap().unwrap();
        assert_eq!(
            record.state,
            State::Completed,
            "acknowledged without completion"
        );
        self.settle.ack().await
    }

    async fn retry(self, after: Duration, counted: bool) -> Result<(), SettleError> {
        self.settle.retry(after, counted).await
    }

    async fn dead_letter(self, reason: &Reason) -> Result<(), SettleError> {
        self.settle.dead_letter(reason).await
    }

    async fn extend(&self, by: Duration) -> Result<(), SettleError> {
        self.settle.extend(by).await
    }
}

async fn play(script: &Script) {
    let world = World::new(script);
    let cuts = script.cuts.clone();
    let broker = world.broker.clone();
    let cutting = tokio::spawn(async move {
        for pause in cuts {
            sleep(Duration::from_secs(pause)).await;
            broker.cut_one_off();
        }
    });
    let mut processes = JoinSet::new();
    for round in 0.. {
        assert!(
            round < 4_000,
            "{MESSAGES} messages do not come to an end: {:?}",
            world.broker
        );
        while processes.len() < script.consumers {
            let patience = Duration::from_secs(20 + 13 * (round % 5));
            processes.spawn(world.clone().consume(patience));
        }
        tokio::select! {
            () = world.broker.idle() => break,
            ended = processes.join_next() => ended.unwrap().unwrap(),
        }
    }
    processes.shutdown().await;
    cutting.abort();

    // Nothing is lost.
    let acked = world.broker.acked();
    let dead = world.broker.dead_letters();
    let stories = world.stories.lock().unwrap();
    for number in 0..MESSAGES {
        let id = number.to_string();
        let is_acked = acked.iter().any(|acked| acked.as_str() == id);
        let letters = dead
            .iter()
            .filter(|letter| letter.message.id.as_ref().unwrap().as_str() == id);
        let letters: Vec<_> = letters.collect();
        assert!(is_acked || !letters.is_empty(), "{id} is lost");
        let story = &stories[&id];
        assert!(!is_acked || story.done > 0, "{id}: {story:?}");
        // And nothing is put aside but for its failures.
        for letter in letters {
            assert_eq!(letter.reason.kind, ReasonKind::Exhausted);
            assert!(
                story.failed + silences(script) >= MAX_ATTEMPTS,
                "{id}: {story:?}"
            );
        }
    }
}

/// How many attempts may have fallen silent without a fault of the handler: they count, because nobody can
/// know.
fn silences(script: &Script) -> u32 {
    let each = script.mishaps.iter().map(|(_, _, mishap)| match mishap {
        Mishap::Fails | Mishap::Hangs | Mishap::LosesReply => 1,
        // The one whose lease is lost, and the one who takes over and is not heard of.
        Mishap::LosesLease => 2,
    });
    each.sum()
}

/// M11 to M28: nothing is acknowledged that is not recorded as completed, nothing is lost, and nothing is put
/// aside that has not failed.
#[test]
fn whatever_happens_nothing_is_lost_and_nothing_is_acknowledged_too_early() {
    let cases = std::env::var("PROPTEST_CASES").map_or(96, |cases| cases.parse().unwrap());
    proptest!(ProptestConfig::with_cases(cases), |(script in script())| {
        let runtime = Builder::new_current_thread().enable_time().start_paused(true).build();
        runtime.unwrap().block_on(play(&script));
    });
}
