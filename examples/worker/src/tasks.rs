//! Consumers in this process, of a broker in memory. To kill one is to cut it off: its handlers run on, and
//! nothing that they say is heard.

use std::future::pending;

use idempotency::BoxError;
use idempotency::consumer::{EventKind, Mode, TestBroker, Worker};
use tokio::task::JoinHandle;
use tokio::time::sleep;

use crate::args::Args;
use crate::ledger::Ledger;
use crate::{Report, Seen, consumer, messages, worker};

pub(crate) async fn run(args: &Args, ledger: &Ledger) -> Result<Report, BoxError> {
    let broker = TestBroker::new().reordering().losing_acks(5);
    let mut published = 0;
    for message in messages(args.messages) {
        broker.publish(message);
        published += 1;
    }
    let consumer = consumer(ledger)?;
    let worker = worker(&consumer, ledger);
    let mut consumers: Vec<_> = (0..args.consumers)
        .map(|_| start(&broker, &worker))
        .collect();
    let mut kills = 0;
    loop {
        tokio::select! {
            () = broker.idle() => break,
            () = sleep(args.kill_every) => {}
        }
        if broker.cut_one_off() {
            kills += 1;
            consumers.push(start(&broker, &worker));
        }
    }
    for consumer in &consumers {
        consumer.abort();
    }
    let counts = consumer.counts();
    Ok(Report {
        published,
        messages: args.messages,
        seen: Some(Seen {
            deliveries: broker.counts().delivered,
            duplicates: counts.of(EventKind::Duplicate),
            retries: counts.of(EventKind::Failed),
        }),
        kills,
        rows: ledger.rows()?,
        dead_letters: broker.dead_letters().len(),
        left: 0,
    })
}

/// A consumer, which ends when it is cut off.
fn start<M: Mode>(broker: &TestBroker, worker: &Worker<M>) -> JoinHandle<()> {
    let (source, worker) = (broker.source(), worker.clone());
    tokio::spawn(async move {
        _ = worker.run(source, pending()).await;
    })
}
