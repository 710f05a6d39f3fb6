//! What holds of every operation, whatever came before it.

use crate::clock::Timestamp;
use crate::protocol::{
    Claim, ClaimRequest, Completion, Found, Grant, Holder, Operation, Release, ReleaseMode, Reply,
    StepReply, Update,
};
use crate::record::{Ending, Record, State, Step};

/// Judges what `operation` has made of a record, and what was answered.
///
/// # Panics
///
/// Where a rule is broken.
pub(super) fn judge(
    before: Option<&Record>,
    operation: &Operation,
    reply: &Reply,
    after: Option<&Record>,
    now: Timestamp,
) {
    let change = Change { before, after, now };
    change.keeps_what_is_finished();
    change.keeps_the_fence();
    match (operation, reply) {
        (Operation::Claim(request), Reply::Claim(claim)) => change.claim(request, claim),
        (Operation::Complete { grant, completion }, Reply::Update(update)) => {
            change.complete(grant, completion, update);
        }
        (Operation::RecordStep { grant, step, .. }, Reply::Step(reply)) => {
            change.step(grant, step, reply);
        }
        (Operation::Release { holder, release }, Reply::Update(update)) => {
            change.release(*holder, *release, update);
        }
        (Operation::Renew { grant, .. }, Reply::Update(update)) => change.renew(grant, update),
        (operation, reply) => panic!("{reply:?} is no answer to {operation:?}"),
    }
}

/// One key's record before and after an operation. An expired one does not count before it.
#[derive(Clone, Copy)]
struct Change<'a> {
    before: Option<&'a Record>,
    after: Option<&'a Record>,
    now: Timestamp,
}

impl<'a> Change<'a> {
    fn before(self) -> &'a Record {
        self.before.expect("there was a record")
    }

    fn after(self) -> &'a Record {
        self.after.expect("there is a record")
    }

    /// P1, P2: a recorded result is never another one.
    fn keeps_what_is_finished(self) {
        if let Some(before) = self.before.filter(|record| record.state.is_finished()) {
            let late = self.after().late;
            assert_eq!(
                *self.after(),
                Record {
                    late,
                    ..before.clone()
                }
            );
        }
    }

    /// P4, C2: fences rise strictly for as long as a record lives, to the end of numbers.
    fn keeps_the_fence(self) {
        let (Some(before), Some(after)) = (self.before, self.after) else {
            return;
        };
        let regranted = before.owner != after.owner || before.attempt != after.attempt;
        assert!(after.fence >= before.fence);
        assert!(!regranted || after.fence > before.fence || before.fence.as_u64() == u64::MAX);
        assert!(after.attempt >= before.attempt && after.late >= before.late);
    }

    fn is_unchanged(self) {
        assert_eq!(self.after, self.before);
    }

    fn claim(self, request: &ClaimRequest, claim: &Claim) {
        match claim {
            Claim::Busy { remaining, attempt } => {
                let before = self.before();
                assert!(before.is_held(self.now) && !remaining.is_zero());
                assert_eq!(
                    (*remaining, *attempt),
                    (before.lease_until().since(self.now), before.attempt)
                );
                let waiter = before.waiter || request.wait;
                assert_eq!(
                    *self.after(),
                    Record {
                        waiter,
                        ..before.clone()
                    }
                );
            }
            Claim::Done(recorded) => {
                self.is_unchanged();
                let before = self.before();
                assert!(before.state.is_finished() && before.fingerprint == request.fingerprint);
                assert_eq!(recorded.payload, before.result);
            }
            Claim::Granted(grant) => self.granted(request, grant),
            Claim::InDoubt(doubt) => {
                let (before, after) = (self.before(), self.after());
                assert_eq!(after.state, State::InDoubt);
                assert_eq!((after.owner, after.fence), (before.owner, before.fence));
                assert_eq!(doubt.grant.holder(), holder_of(before));
                let was_silent = before.state == State::InProgress && !before.is_held(self.now);
                assert!(
                    before.state == State::InDoubt
                        || was_silent && (before.at_most_once || request.at_most_once)
                );
            }
            Claim::Mismatch => {
                self.is_unchanged();
                assert_ne!(self.before().fingerprint, request.fingerprint);
            }
            Claim::Stale => {
                self.is_unchanged();
                assert_eq!(
                    (self.before().state, self.before().owner),
                    (State::Released, request.owner)
                );
            }
        }
    }

    fn granted(self, request: &ClaimRequest, grant: &Grant) {
        let after = self.after();
        assert_eq!(
            (after.state, after.owner),
            (State::InProgress, request.owner)
        );
        assert_eq!(*grant, Grant::of(after, request));
        let Some(before) = self.before else {
            assert_eq!(
                (after.attempt, after.failures, after.previous),
                (1, 0, None)
            );
            assert!(after.steps.is_empty() && after.fence.granted_at() >= self.now);
            return;
        };
        assert_eq!(after.steps, before.steps, "P7");
        if before.state == State::InProgress && before.owner == request.owner {
            assert_eq!(holder_of(after), holder_of(before));
            return;
        }
        assert!(!before.is_held(self.now), "taken from a live owner");
        let clean = before.state == State::Released && before.ending == Some(Ending::Clean);
        let attempt = before.attempt.saturating_add(u32::from(!clean));
        assert_eq!(after.attempt, attempt);
        assert!(after.fingerprint == before.fingerprint || clean && before.attempt == 1);
        let silent = before.state == State::InProgress;
        let failed = silent && before.ending.unwrap_or(Ending::Expired).is_failure();
        assert_eq!(
            after.failures,
            before.failures.saturating_add(failed.into()),
            "a failed attempt counts once"
        );
        match before.state {
            State::InProgress => assert!(!before.at_most_once && !request.at_most_once),
            state => assert_eq!(state, State::Released),
        }
    }

    fn complete(self, grant: &Grant, completion: &Completion, update: &Update) {
        match update {
            Update::Applied | Update::Healed => {
                match self.before {
                    Some(before) => self.is_held_by(before, grant.holder(), update, true),
                    None => self.is_healed(grant, update),
                }
                let after = self.after();
                assert_eq!(after.state == State::Failed, completion.failed);
                assert_eq!(
                    (&after.result, after.completed_at),
                    (&completion.payload, Some(self.now))
                );
                assert!(after.state.is_finished() && after.steps.is_empty() && !after.waiter);
            }
            Update::Lost(found) => {
                self.is_found(found.as_ref(), grant);
                if let Some(before) = self.before {
                    let late = before.late.saturating_add(1);
                    assert_eq!(
                        *self.after(),
                        Record {
                            late,
                            ..before.clone()
                        }
                    );
                }
            }
            Update::Repeated => {
                self.is_unchanged();
                assert_eq!(holder_of(self.before()), grant.holder());
                assert_eq!(self.before().result, completion.payload);
            }
        }
    }

    fn step(self, grant: &Grant, step: &Step, reply: &StepReply) {
        let known = |record: &Record| {
            let mut steps = record.steps.iter();
            steps
                .find(|known| known.name == step.name)
                .map(|known| known.value.clone())
        };
        match reply {
            StepReply::Known(value) => {
                assert_eq!(known(self.before()).as_ref(), Some(value));
                self.is_renewed(grant);
            }
            StepReply::Lost(found) => {
                self.is_unchanged();
                self.is_found(found.as_ref(), grant);
            }
            StepReply::Recorded => {
                assert_eq!(known(self.before()), None);
                let (last, others) = self.after().steps.split_last().expect("a step");
                assert_eq!((last, others), (step, &*self.before().steps));
            }
        }
    }

    fn release(self, holder: Holder, release: Release, update: &Update) {
        match update {
            Update::Applied => {
                self.is_held_by(
                    self.before(),
                    holder,
                    update,
                    release.mode == ReleaseMode::Free,
                );
                let after = self.after();
                assert_eq!(after.ending, Some(release.ending));
                let failures = match release.mode {
                    ReleaseMode::Free | ReleaseMode::Hold => {
                        release.failures.of(self.before().failures)
                    }
                    ReleaseMode::Note => self.before().failures,
                };
                assert_eq!(after.failures, failures);
                assert_eq!(after.steps, self.before().steps);
                assert_eq!(
                    after.state,
                    match release.mode {
                        ReleaseMode::Free => State::Released,
                        ReleaseMode::Hold => State::InDoubt,
                        ReleaseMode::Note => State::InProgress,
                    }
                );
            }
            Update::Healed => panic!("nothing is healed by its release"),
            Update::Lost(found) => {
                self.is_unchanged();
                assert_eq!(found.is_some(), self.before.is_some());
            }
            Update::Repeated => self.is_unchanged(),
        }
    }

    fn renew(self, grant: &Grant, update: &Update) {
        match update {
            Update::Applied => self.is_renewed(grant),
            Update::Healed => {
                self.is_healed(grant, update);
                assert_eq!(self.after().steps, grant.steps);
            }
            Update::Lost(found) => {
                self.is_unchanged();
                self.is_found(found.as_ref(), grant);
            }
            Update::Repeated => panic!("a renewal is never the same twice"),
        }
    }

    /// C3, C7: what changes is the holder's own; a doubt too, where `settles` it.
    fn is_held_by(self, before: &Record, holder: Holder, update: &Update, settles: bool) {
        assert_eq!(*update, Update::Applied);
        assert_eq!(before.owner, holder.owner);
        assert!(holder.fence.is_none_or(|fence| fence == before.fence));
        assert!(before.state == State::InProgress || settles && before.state == State::InDoubt);
        assert_eq!(holder_of(self.after()), holder_of(before));
    }

    /// C10: a lost record is the grant's again, and says that it was healed.
    fn is_healed(self, grant: &Grant, update: &Update) {
        assert!(self.before.is_none() && *update == Update::Healed);
        let after = self.after();
        assert_eq!(
            (holder_of(after), after.attempt),
            (grant.holder(), grant.attempt)
        );
        assert_eq!(after.previous, Some(Ending::Healed));
        assert!(self.now.since(grant.fence.granted_at()) <= grant.ttl.min(grant.keep));
    }

    fn is_renewed(self, grant: &Grant) {
        self.is_held_by(self.before(), grant.holder(), &Update::Applied, false);
        let expires_at = self.after().expires_at;
        assert_eq!(
            *self.after(),
            Record {
                expires_at,
                ..self.before().clone()
            }
        );
    }

    fn is_found(self, found: Option<&Found>, grant: &Grant) {
        let expected = self
            .before
            .map(|record| Found::of(record, grant.owner, self.now));
        assert_eq!(found, expected.as_ref());
    }
}

fn holder_of(record: &Record) -> Holder {
    Holder {
        owner: record.owner,
        fence: Some(record.fence),
    }
}
