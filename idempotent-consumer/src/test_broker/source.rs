use std::time::Duration;

use tokio::sync::watch;
use tokio::time::sleep_until;

use super::TestBroker;
use super::queue::{Settlement, Unheard};
use crate::disposition::Reason;
use crate::race::race;
use crate::settle::{Capabilities, Delivery, Settle, SettleError};
use crate::source::{Source, SourceError};

/// Deliveries of a [`TestBroker`] to one consumer.
#[derive(Debug)]
pub struct TestSource {
    broker: TestBroker,
    changes: watch::Receiver<()>,
    number: usize,
}

/// Settles a delivery of a [`TestBroker`].
#[derive(Debug)]
pub struct TestSettle {
    broker: TestBroker,
    hint: u32,
    source: usize,
    tag: u64,
}

impl TestSource {
    pub(super) fn new(broker: TestBroker, number: usize) -> Self {
        let changes = broker.changes.subscribe();
        Self {
            broker,
            changes,
            number,
        }
    }

    fn deliver(&self) -> Result<Option<Delivery<TestSettle>>, Unheard> {
        let handed = self.broker.lock().deliver(self.number)?;
        Ok(handed.map(|handed| {
            let settle = TestSettle {
                broker: self.broker.clone(),
                hint: handed.hint,
                source: self.number,
                tag: handed.tag,
            };
            Delivery::new(handed.message, settle)
        }))
    }
}

impl Source for TestSource {
    type Settle = TestSettle;

    fn capabilities(&self) -> Capabilities {
        self.broker.lock().options.capabilities
    }

    async fn next(&mut self) -> Result<Option<Delivery<TestSettle>>, SourceError> {
        loop {
            self.changes.mark_unchanged();
            if let Some(delivery) = self.deliver().map_err(SourceError::new)? {
                return Ok(Some(delivery));
            }
            let next = self.broker.lock().next_change(self.number);
            let due = async {
                match next {
                    Some(next) => sleep_until(next).await,
                    None => std::future::pending().await,
                }
            };
            race(self.changes.changed(), due).await;
        }
    }
}

impl Drop for TestSource {
    fn drop(&mut self) {
        self.broker.lock().cut_off(self.number);
        self.broker.tell();
    }
}

impl TestSettle {
    fn settle(self, what: &'static str, settlement: &Settlement<'_>) -> Result<(), SettleError> {
        let mut queue = self.broker.lock();
        let settled = queue.settle(self.source, self.tag, settlement);
        drop(queue);
        self.broker.tell();
        settled.map_err(|unheard| SettleError::new(what, unheard))
    }
}

impl Settle for TestSettle {
    fn capabilities(&self) -> Capabilities {
        self.broker.lock().options.capabilities
    }

    fn attempts_hint(&self) -> Option<u32> {
        Some(self.hint)
    }

    async fn ack(self) -> Result<(), SettleError> {
        self.settle("ack", &Settlement::Ack)
    }

    async fn retry(self, after: Duration, counted: bool) -> Result<(), SettleError> {
        self.settle("retry", &Settlement::Retry { after, counted })
    }

    async fn dead_letter(self, reason: &Reason) -> Result<(), SettleError> {
        self.settle("dead letter", &Settlement::DeadLetter(reason))
    }

    async fn extend(&self, by: Duration) -> Result<(), SettleError> {
        let mut queue = self.broker.lock();
        let extended = queue.extend(self.source, self.tag, by);
        drop(queue);
        extended.map_err(|unheard| SettleError::new("extension", unheard))
    }
}
