use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use super::{BrokerCounts, DeadLetter};
use crate::disposition::Reason;
use crate::message::{Message, MessageId};
use crate::settle::Capabilities;

/// Everything that the broker knows.
pub(super) struct Queue {
    pub(super) options: Options,
    pub(super) random: Random,
    pub(super) counts: BrokerCounts,
    pub(super) acked: Vec<MessageId>,
    pub(super) dead: Vec<DeadLetter>,
    pub(super) given_up: Vec<Message>,
    ready: Vec<Queued>,
    unsettled: BTreeMap<u64, Unsettled>,
    sources: Vec<Link>,
}

pub(super) struct Options {
    pub(super) capabilities: Capabilities,
    pub(super) delivery_limit: Option<u32>,
    /// Of a hundred.
    pub(super) duplicates: u8,
    /// Of a hundred.
    pub(super) lost_acks: u8,
    pub(super) reorders: bool,
}

#[derive(Clone)]
pub(super) struct Queued {
    pub(super) message: Message,
    due: Instant,
    deliveries: u32,
    failures: u32,
    /// How often it came back, for whatever reason.
    returns: u32,
}

struct Unsettled {
    queued: Queued,
    source: usize,
    until: Option<Instant>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Link {
    Cut,
    Up,
}

/// What a consumer is handed.
pub(super) struct Handed {
    pub(super) tag: u64,
    pub(super) message: Message,
    pub(super) hint: u32,
}

/// What becomes of a delivery.
pub(super) enum Settlement<'a> {
    Ack,
    DeadLetter(&'a Reason),
    Retry { after: Duration, counted: bool },
}

/// Nothing was heard.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unheard {
    #[error("the connection is cut")]
    Cut,
    #[error("the delivery is another consumer's by now")]
    Gone,
    #[error("the acknowledgement was lost")]
    Lost,
}

impl Queue {
    pub(super) fn new() -> Self {
        Self {
            options: Options {
                capabilities: Capabilities {
                    delays_retries: true,
                    prefetch: Some(32),
                    ..Capabilities::default()
                },
                delivery_limit: None,
                duplicates: 0,
                lost_acks: 0,
                reorders: false,
            },
            random: Random(0),
            counts: BrokerCounts::default(),
            acked: Vec::new(),
            dead: Vec::new(),
            given_up: Vec::new(),
            ready: Vec::new(),
            unsettled: BTreeMap::new(),
            sources: Vec::new(),
        }
    }

    pub(super) fn publish(&mut self, message: Message) {
        self.counts.published += 1;
        let queued = Queued {
            message,
            due: Instant::now(),
            deliveries: 0,
            failures: 0,
            returns: 0,
        };
        if self.random.hits(self.options.duplicates) {
            self.ready.push(queued.clone());
        }
        self.ready.push(queued);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.ready.is_empty() && self.unsettled.is_empty()
    }

    pub(super) fn add_source(&mut self) -> usize {
        self.sources.push(Link::Up);
        self.sources.len() - 1
    }

    /// The next delivery to `source`, if there is one now.
    pub(super) fn deliver(&mut self, source: usize) -> Result<Option<Handed>, Unheard> {
        self.check(source)?;
        let now = Instant::now();
        self.expire(now);
        if self.is_full(source) {
            return Ok(None);
        }
        let due = (0..self.ready.len()).filter(|at| self.ready[*at].due <= now);
        let due: Vec<_> = due.collect();
        let chosen = match due.len() {
            0 => return Ok(None),
            all if self.options.reorders => due[self.random.below(all)],
            _ => due[0],
        };
        let mut queued = self.ready.remove(chosen);
        let hint = if self.options.capabilities.counts_failures_only {
            queued.failures
        } else {
            queued.deliveries
        };
        queued.deliveries += 1;
        self.counts.delivered += 1;
        let (tag, message) = (self.counts.delivered, queued.message.clone());
        let until = self.options.capabilities.visibility;
        let unsettled = Unsettled {
            queued,
            source,
            until: until.map(|visibility| now + visibility),
        };
        self.unsettled.insert(tag, unsettled);
        Ok(Some(Handed { tag, message, hint }))
    }

    /// When there may be something to deliver to `source` that is not there now.
    pub(super) fn next_change(&self, source: usize) -> Option<Instant> {
        // A consumer that has all it may have gets nothing more by waiting.
        let ready = if self.is_full(source) {
            &[]
        } else {
            &self.ready[..]
        };
        let due = ready.iter().map(|queued| queued.due);
        let ends = self
            .unsettled
            .values()
            .filter_map(|unsettled| unsettled.until);
        due.chain(ends).min()
    }

    /// Whether `source` has as many deliveries as it may have.
    fn is_full(&self, source: usize) -> bool {
        let theirs = |unsettled: &&Unsettled| unsettled.source == source;
        let prefetch = self.options.capabilities.prefetch.unwrap_or(usize::MAX);
        self.unsettled.values().filter(theirs).count() >= prefetch
    }

    pub(super) fn settle(
        &mut self,
        source: usize,
        tag: u64,
        settlement: &Settlement<'_>,
    ) -> Result<(), Unheard> {
        self.check(source)?;
        self.expire(Instant::now());
        let unsettled = self.unsettled.remove(&tag).ok_or(Unheard::Gone)?;
        let queued = unsettled.queued;
        match settlement {
            Settlement::Ack if self.random.hits(self.options.lost_acks) => {
                self.counts.lost_acks += 1;
                self.come_back(queued, Duration::ZERO);
                return Err(Unheard::Lost);
            }
            Settlement::Ack => {
                self.counts.acked += 1;
                self.acked.extend(queued.message.id);
            }
            Settlement::DeadLetter(reason) => self.dead.push(DeadLetter {
                message: queued.message,
                reason: (*reason).clone(),
            }),
            Settlement::Retry { after, counted } => {
                let count = if *counted {
                    &mut self.counts.retried
                } else {
                    &mut self.counts.retried_uncounted
                };
                *count += 1;
                let queued = Queued {
                    failures: queued.failures + u32::from(*counted),
                    ..queued
                };
                let delays = self.options.capabilities.delays_retries;
                self.come_back(queued, if delays { *after } else { Duration::ZERO });
            }
        }
        Ok(())
    }

    pub(super) fn extend(&mut self, source: usize, tag: u64, by: Duration) -> Result<(), Unheard> {
        self.check(source)?;
        let unsettled = self.unsettled.get_mut(&tag).ok_or(Unheard::Gone)?;
        unsettled.until = unsettled.until.map(|_| Instant::now() + by);
        self.counts.extended += 1;
        Ok(())
    }

    /// Cuts one of the consumers off that have something unsettled.
    pub(super) fn cut_one_off(&mut self) -> bool {
        let mut busy: Vec<_> = self.unsettled.values().map(|one| one.source).collect();
        busy.dedup();
        if busy.is_empty() {
            return false;
        }
        let source = busy[self.random.below(busy.len())];
        self.cut_off(source);
        true
    }

    /// A consumer is gone.
    pub(super) fn cut_off(&mut self, source: usize) {
        self.sources[source] = Link::Cut;
        let theirs = |unsettled: &Unsettled| unsettled.source == source;
        self.take_back(theirs);
    }

    /// Takes deliveries back that were not settled in time.
    fn expire(&mut self, now: Instant) {
        self.take_back(|unsettled| unsettled.until.is_some_and(|until| until <= now));
    }

    fn take_back(&mut self, is_taken: impl Fn(&Unsettled) -> bool) {
        let taken = self.unsettled.iter().filter(|(_, one)| is_taken(one));
        let tags: Vec<_> = taken.map(|(tag, _)| *tag).collect();
        for tag in tags {
            if let Some(unsettled) = self.unsettled.remove(&tag) {
                self.come_back(unsettled.queued, Duration::ZERO);
            }
        }
    }

    fn come_back(&mut self, queued: Queued, after: Duration) {
        let queued = Queued {
            due: Instant::now() + after,
            returns: queued.returns + 1,
            ..queued
        };
        match self.options.delivery_limit {
            Some(limit) if queued.returns > limit => self.given_up.push(queued.message),
            _ => self.ready.push(queued),
        }
    }

    fn check(&self, source: usize) -> Result<(), Unheard> {
        match self.sources[source] {
            Link::Cut => Err(Unheard::Cut),
            Link::Up => Ok(()),
        }
    }
}

/// A generator of which nothing is asked but to be the same each time (`SplitMix64`).
pub(super) struct Random(u64);

impl Random {
    pub(super) const fn seed(&mut self, seed: u64) {
        self.0 = seed;
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % limit as u64).expect("below a usize")
    }

    fn hits(&mut self, percent: u8) -> bool {
        self.below(100) < usize::from(percent)
    }
}
