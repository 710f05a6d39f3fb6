//! Consumes messages that come more than once, and counts what took effect.
//!
//! Every message is published twice, and consumers die all the time. A message writes a row, in a table without
//! any constraint: what keeps it from being written twice is the record of the message, in the same
//! commit. Some messages are poison, and are put aside.

mod args;
#[cfg(any(feature = "nats", feature = "rabbitmq", feature = "redis"))]
mod brokers;
mod ledger;
#[cfg(any(feature = "nats", feature = "rabbitmq", feature = "redis"))]
mod processes;
mod report;
mod tasks;

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use idempotency::consumer::{Backoff, Consumer, HandlerError, Message, MessageId, Mode, Worker};
use idempotency::{BoxError, Engine, Lent};

use crate::args::{Args, Broker, Role};
use crate::ledger::Ledger;
use crate::report::{Report, Seen};

/// What a message says that nobody can handle.
const POISON: &str = "poison";
/// How many of them there are.
const POISONS: usize = 2;
/// How often they are tried.
const ATTEMPTS: u32 = 3;

#[tokio::main]
async fn main() -> ExitCode {
    match run(&Args::parse()).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("worker: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Returns whether each message took effect once.
async fn run(args: &Args) -> Result<bool, BoxError> {
    if let Some(Role::Consume { ledger }) = &args.role {
        return consume(args, ledger).await.map(|()| true);
    }
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("ledger.sqlite");
    let ledger = Ledger::open(&path)?;
    let report = match &args.broker {
        Broker::Test => tasks::run(args, &ledger).await?,
        #[cfg(feature = "nats")]
        Broker::Nats(url) => {
            processes::run::<brokers::nats::Nats>(args, url, &ledger, &path).await?
        }
        #[cfg(feature = "rabbitmq")]
        Broker::RabbitMq(url) => {
            processes::run::<brokers::rabbitmq::RabbitMq>(args, url, &ledger, &path).await?
        }
        #[cfg(feature = "redis")]
        Broker::Redis(url) => {
            processes::run::<brokers::redis::Redis>(args, url, &ledger, &path).await?
        }
    };
    println!("{report}");
    Ok(report.is_good())
}

/// Is one of the consumers.
#[cfg_attr(
    not(any(feature = "nats", feature = "rabbitmq", feature = "redis")),
    expect(clippy::unused_async, reason = "no broker is built in")
)]
async fn consume(args: &Args, path: &Path) -> Result<(), BoxError> {
    match &args.broker {
        #[cfg(feature = "nats")]
        Broker::Nats(url) => processes::consume::<brokers::nats::Nats>(url, path).await,
        #[cfg(feature = "rabbitmq")]
        Broker::RabbitMq(url) => processes::consume::<brokers::rabbitmq::RabbitMq>(url, path).await,
        #[cfg(feature = "redis")]
        Broker::Redis(url) => processes::consume::<brokers::redis::Redis>(url, path).await,
        Broker::Test => {
            let path = path.display();
            Err(format!("{path}: a process of its own needs a broker of its own").into())
        }
    }
}

/// What consumes.
fn consumer(ledger: &Ledger) -> Result<Consumer, BoxError> {
    let engine = Engine::new(ledger.store().clone());
    let backoff = Backoff::new(Duration::from_millis(50), Duration::from_millis(200));
    let builder = Consumer::builder(engine, "worker.ledger").backoff(backoff);
    Ok(builder.max_attempts(ATTEMPTS).build()?)
}

/// What it does: each message writes a row, in one commit with its record.
fn worker(consumer: &Consumer, ledger: &Ledger) -> Worker<impl Mode<Value = ()> + use<>> {
    let store = ledger.store().clone();
    consumer.transactional(store, |tx: Lent<_>, message: Message, _| async move {
        if message.body.starts_with(POISON.as_bytes()) {
            return Err(HandlerError::retryable("nobody can handle this"));
        }
        ledger::write(&tx, &message)?;
        // Time to be killed in.
        tokio::time::sleep(Duration::from_millis(2)).await;
        Ok(())
    })
}

/// All messages, each twice.
fn messages(count: u32) -> impl Iterator<Item = Message> {
    let good = (0..count).map(|number| (format!("order {number}"), format!("order-{number}")));
    let poison = (0..POISONS).map(|number| (format!("{POISON} {number}"), format!("bad-{number}")));
    good.chain(poison).flat_map(|(body, id)| {
        let message = Message::new(body).with_id(MessageId::Producer(id));
        [message.clone(), message]
    })
}
