use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use idempotent_core::protocol::{
    Claim, ClaimRequest, Grant, Holder, Operation, Release, Reply, Update, apply,
};
use idempotent_core::{Deletion, Fence, Inspect, Key, Owner, Record, Step, Timestamp};

use super::ask::{ask, completion, name, request};
use super::plan::{Action, Call, Forged, Pick, Plan};
use crate::align::Align;
use crate::harness::Harness;

/// Runs plans on a store, each under a key of its own.
pub(super) struct Runner<H: Harness> {
    harness: H,
    clients: [H::Store; 2],
    keys: AtomicUsize,
}

/// Where a store went another way than the specification.
#[derive(Debug)]
pub(super) struct Mismatch {
    /// How many actions it took.
    pub(super) operations: usize,
    what: String,
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

impl<H: Harness> Runner<H> {
    pub(super) async fn new(harness: H) -> Self {
        let clients = [harness.store().await, harness.store().await];
        Self {
            harness,
            clients,
            keys: AtomicUsize::new(0),
        }
    }

    /// Returns what the store replied, or the first difference.
    pub(super) async fn run(&self, plan: &Plan) -> Result<Vec<&'static str>, Mismatch> {
        let mut sequence = Sequence::new(self, &plan.calls);
        let mut replies = Vec::new();
        for (number, action) in plan.actions.iter().enumerate() {
            match sequence.act(number, action).await {
                Ok(reply) => replies.extend(reply),
                Err(what) => {
                    return Err(Mismatch {
                        operations: number + 1,
                        what,
                    });
                }
            }
        }
        Ok(replies)
    }
}

/// One key's life, in the store and beside it.
struct Sequence<'a, H: Harness> {
    runner: &'a Runner<H>,
    key: Key,
    requests: Vec<ClaimRequest>,
    /// The record, as the specification has it.
    expected: Option<Record>,
    grants: Vec<Grant>,
    highest: Fence,
}

/// What the specification allows the store to have done.
struct Outcome<R> {
    reply: R,
    record: Option<Record>,
}

/// Between which moments the store did it, and how exactly their distance is known.
#[derive(Clone, Copy)]
struct Span {
    from: Timestamp,
    to: Timestamp,
}

impl Span {
    fn tolerance(self) -> Duration {
        self.to.since(self.from)
    }
}

impl<'a, H: Harness> Sequence<'a, H> {
    fn new(runner: &'a Runner<H>, calls: &[Call]) -> Self {
        let number = runner.keys.fetch_add(1, Ordering::Relaxed);
        Self {
            runner,
            key: Key::new("equality", &number.to_string()).unwrap(),
            requests: calls.iter().map(request).collect(),
            expected: None,
            grants: Vec::new(),
            highest: Fence::default(),
        }
    }

    /// Acts on the store and on the expected record. Says what the store replied, if anything.
    async fn act(
        &mut self,
        number: usize,
        action: &Action,
    ) -> Result<Option<&'static str>, String> {
        let client = &self.runner.clients[number % 2];
        let operation = match action {
            Action::Pass(duration) => {
                self.runner.harness.pass(*duration).await;
                return self.compare_records(client).await.map(|()| None);
            }
            Action::Delete => return self.delete(client).await.map(Some),
            Action::Claim { call } => Operation::Claim(self.requests[*call].clone()),
            Action::Complete {
                by,
                result,
                failed,
                ttl,
            } => Operation::Complete {
                grant: self.pick(*by),
                completion: completion(result, *failed, *ttl),
            },
            Action::RecordStep {
                by,
                name,
                value,
                lease,
            } => Operation::RecordStep {
                grant: self.pick(*by),
                step: Step {
                    name: (*name).to_owned(),
                    value: Bytes::from_static(value.as_bytes()),
                },
                lease: *lease,
            },
            Action::Release {
                by,
                with_fence,
                ending,
                mode,
                failures,
            } => {
                let grant = self.pick(*by);
                let fence = with_fence.then_some(grant.fence);
                let holder = Holder {
                    owner: grant.owner,
                    fence,
                };
                let mut release = Release::new(*ending, *mode);
                release.failures = *failures;
                Operation::Release { holder, release }
            }
            Action::Renew { by, lease } => Operation::Renew {
                grant: self.pick(*by),
                lease: *lease,
            },
        };
        self.operate(client, &operation).await.map(Some)
    }

    async fn operate(
        &mut self,
        client: &H::Store,
        operation: &Operation,
    ) -> Result<&'static str, String> {
        let from = self.now_at_the_earliest();
        let reply = ask(client, &self.key, operation).await;
        let span = Span {
            from,
            to: self.now_at_the_latest(),
        };
        let reply = reply.map_err(|error| format!("the store failed: {error:?}"))?;

        let expected = self.expected.clone();
        self.judge(client, span, &reply, |now| {
            let mut record = expected.clone();
            let reply = apply(&mut record, operation, now);
            Outcome { reply, record }
        })
        .await?;
        match (operation, &reply) {
            (_, Reply::Claim(Claim::Granted(grant))) => self.remember(grant)?,
            // With a forged fence, too, it is in force from now on.
            (
                Operation::Complete { grant, .. } | Operation::Renew { grant, .. },
                Reply::Update(Update::Healed),
            ) => self.grants.push(grant.clone()),
            _ => {}
        }
        Ok(name(&reply))
    }

    async fn delete(&mut self, client: &H::Store) -> Result<&'static str, String> {
        let from = self.now_at_the_earliest();
        let deletion = client.delete(&self.key).await;
        let span = Span {
            from,
            to: self.now_at_the_latest(),
        };
        let deletion = deletion.map_err(|error| format!("the store failed: {error:?}"))?;

        let expected = self.expected.clone();
        self.judge(client, span, &deletion, |now| {
            let record = expected.clone().filter(|record| !record.is_expired(now));
            match record {
                Some(record) if record.is_held(now) => Outcome {
                    reply: Deletion::InProgress,
                    record: Some(record),
                },
                Some(_) => Outcome {
                    reply: Deletion::Deleted,
                    record: None,
                },
                None => Outcome {
                    reply: Deletion::Absent,
                    record: None,
                },
            }
        })
        .await?;
        // Fences rise over a record that is gone as long as the clock goes on.
        self.runner.harness.pass(Duration::from_millis(1)).await;
        Ok("deletion")
    }

    async fn compare_records(&mut self, client: &H::Store) -> Result<(), String> {
        let expected = self.expected.clone();
        let span = Span {
            from: self.now_at_the_earliest(),
            to: self.now_at_the_latest(),
        };
        self.judge(client, span, &(), |_| Outcome {
            reply: (),
            record: expected.clone(),
        })
        .await
    }

    /// Compares what the store did within `span` with what the specification does at its ends.
    ///
    /// Whatever runs out in between makes two outcomes of one, and either is right.
    async fn judge<R>(
        &mut self,
        client: &H::Store,
        span: Span,
        reply: &R,
        outcome: impl Fn(Timestamp) -> Outcome<R> + Send + Sync,
    ) -> Result<(), String>
    where
        R: Align + fmt::Debug + PartialEq + Send + Sync,
    {
        let from = self.now_at_the_earliest();
        let record = client.get(&self.key).await;
        let looked = Span {
            from,
            to: self.now_at_the_latest(),
        };
        let record = record.map_err(|error| format!("the store cannot be read: {error:?}"))?;

        let mut differences = String::new();
        for now in [span.from, span.to] {
            let mut expected = outcome(now);
            expected.reply.align(reply, span.tolerance());
            expected
                .record
                .align(&record, span.tolerance().max(looked.tolerance()));
            let is_there = |record: &Record| !record.is_expired(looked.from);
            let may_be_gone = |record: &Record| record.is_expired(looked.to);
            let same_record = match (&expected.record, &record) {
                (Some(expected), Some(record)) => is_there(expected) && expected == record,
                (Some(expected), None) => may_be_gone(expected),
                (None, record) => record.is_none(),
            };
            if expected.reply == *reply && same_record {
                self.expected = record;
                return Ok(());
            }
            differences = format!(
                "  expected reply:  {:?}\n  the store's:     {reply:?}\n  expected record: {:?}\n  \
                 the store's:     {record:?}",
                expected.reply, expected.record,
            );
        }
        Err(differences)
    }

    /// Notes a grant. What the reply says and what the store keeps has to be the same to the last
    /// digit, and a new grant higher than all before it.
    fn remember(&mut self, grant: &Grant) -> Result<(), String> {
        if let Some(record) = &self.expected
            && (record.fence, record.started_at) != (grant.fence, grant.started_at)
        {
            return Err(format!("granted: {grant:?}\n  kept:    {record:?}"));
        }
        if self
            .grants
            .iter()
            .any(|known| known.holder() == grant.holder())
        {
            return Ok(());
        }
        if grant.fence <= self.highest {
            return Err(format!(
                "{:?} was granted after {:?}",
                grant.fence, self.highest
            ));
        }
        self.highest = grant.fence;
        self.grants.push(grant.clone());
        Ok(())
    }

    fn pick(&self, pick: Pick) -> Grant {
        let known = self.grants.iter().rev().cycle().nth(pick.back);
        let mut grant = known.cloned().unwrap_or_else(|| self.never_granted());
        match pick.forged {
            Forged::Fence => grant.fence = Fence::from_u64(grant.fence.as_u64() + 1),
            Forged::No => {}
            Forged::Owner => grant.owner = Owner::random().unwrap(),
        }
        grant
    }

    /// What the first call would have been granted.
    fn never_granted(&self) -> Grant {
        let claim = Operation::Claim(self.requests[0].clone());
        match apply(&mut None, &claim, self.runner.harness.now()) {
            Reply::Claim(Claim::Granted(grant)) => grant,
            reply => unreachable!("an absent key is granted, not {reply:?}"),
        }
    }

    fn now_at_the_earliest(&self) -> Timestamp {
        self.runner.harness.now().minus(H::PRECISION)
    }

    fn now_at_the_latest(&self) -> Timestamp {
        self.runner.harness.now().plus(H::PRECISION)
    }
}
