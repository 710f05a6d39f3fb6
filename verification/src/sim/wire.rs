//! What a store and its server say to each other: a length, and that much JSON.
//!
//! Whatever the protocol's types say of a record is sent as the record itself, and read from it again
//! at the other end.

use std::io;
use std::time::Duration;

use anyhow::{Context, Result};
use bytes::Bytes;
use idempotency::protocol::{
    Claim, ClaimRequest, Completion, Doubt, Failures, Found, Grant, Holder, Operation, Recorded,
    Release, ReleaseMode, Reply, StepReply, Update,
};
use idempotency::{
    CodecId, Ending, Fence, Fingerprint, Owner, Payload, Record, State, Step, Timestamp,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// No message is as long as this.
const LONGEST: u32 = 1 << 20;

/// Sends one message.
pub(super) async fn send(
    to: &mut (impl AsyncWrite + Send + Unpin),
    message: &(impl Serialize + Sync),
) -> io::Result<()> {
    let text = serde_json::to_vec(message)?;
    let length = u32::try_from(text.len()).map_err(io::Error::other)?;
    let mut frame = length.to_be_bytes().to_vec();
    frame.extend(text);
    to.write_all(&frame).await
}

/// Receives one message.
pub(super) async fn receive<T: DeserializeOwned>(
    from: &mut (impl AsyncRead + Send + Unpin),
) -> io::Result<T> {
    let length = from.read_u32().await?;
    if length > LONGEST {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut text = vec![0; length as usize];
    from.read_exact(&mut text).await?;
    Ok(serde_json::from_slice(&text)?)
}

/// What a store asks of its server.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct Request {
    pub(super) key: String,
    what: Asked,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
enum Asked {
    Claim {
        owner: String,
        fingerprint: String,
        lease: Duration,
        keep: Duration,
        ttl: Duration,
        at_most_once: bool,
        wait: bool,
    },
    Complete {
        grant: Granted,
        failed: bool,
        result: (u16, Vec<u8>),
        ttl: Duration,
    },
    RecordStep {
        grant: Granted,
        step: (String, Vec<u8>),
        lease: Duration,
    },
    Release {
        owner: String,
        fence: Option<u64>,
        ending: char,
        mode: Mode,
        failures: Count,
    },
    Renew {
        grant: Granted,
        lease: Duration,
    },
}

#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
enum Mode {
    Free,
    Hold,
    Note,
}

/// What becomes of the count of failures.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
enum Count {
    Keep,
    More,
    Reset,
}

/// A grant, as the record that it was read from.
#[derive(Clone, Debug, Deserialize, Serialize)]
struct Granted {
    record: Kept,
    ttl: Duration,
}

/// A record.
#[derive(Clone, Debug, Deserialize, Serialize)]
struct Kept {
    state: char,
    owner: String,
    fence: u64,
    attempt: u32,
    failures: u32,
    previous: Option<char>,
    ending: Option<char>,
    at_most_once: bool,
    fingerprint: String,
    started_at: u64,
    keep: Duration,
    expires_at: u64,
    late: u32,
    waiter: bool,
    steps: Vec<(String, Vec<u8>)>,
    result: (u16, Vec<u8>),
    completed_at: Option<u64>,
}

/// What a server answers: a word, and the record that it is about.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct Answer {
    word: Word,
    record: Option<Kept>,
    now: u64,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
enum Word {
    Applied,
    Busy { remaining: Duration, attempt: u32 },
    Done,
    Granted,
    Healed,
    InDoubt,
    Known(Vec<u8>),
    Lost,
    Mismatch,
    Recorded,
    Repeated,
    Stale,
}

impl Request {
    pub(super) fn claim(key: String, request: &ClaimRequest) -> Self {
        let what = Asked::Claim {
            owner: request.owner.to_string(),
            fingerprint: request.fingerprint.to_string(),
            lease: request.lease,
            keep: request.keep,
            ttl: request.ttl,
            at_most_once: request.at_most_once,
            wait: request.wait,
        };
        Self { key, what }
    }

    pub(super) fn complete(key: String, grant: &Grant, completion: &Completion) -> Self {
        let what = Asked::Complete {
            grant: Granted::of(grant),
            failed: completion.failed,
            result: of_payload(&completion.payload),
            ttl: completion.ttl,
        };
        Self { key, what }
    }

    pub(super) fn record_step(key: String, grant: &Grant, step: &Step, lease: Duration) -> Self {
        let what = Asked::RecordStep {
            grant: Granted::of(grant),
            step: of_step(step),
            lease,
        };
        Self { key, what }
    }

    pub(super) fn release(key: String, holder: &Holder, release: Release) -> Result<Self> {
        let what = Asked::Release {
            owner: holder.owner.to_string(),
            fence: holder.fence.map(Fence::as_u64),
            ending: release.ending.letter(),
            mode: match release.mode {
                ReleaseMode::Free => Mode::Free,
                ReleaseMode::Hold => Mode::Hold,
                ReleaseMode::Note => Mode::Note,
                mode => anyhow::bail!("{mode:?} is unknown here"),
            },
            failures: match release.failures {
                Failures::Count => Count::More,
                Failures::Keep => Count::Keep,
                Failures::Reset => Count::Reset,
                failures => anyhow::bail!("{failures:?} is unknown here"),
            },
        };
        Ok(Self { key, what })
    }

    pub(super) fn renew(key: String, grant: &Grant, lease: Duration) -> Self {
        let grant = Granted::of(grant);
        let what = Asked::Renew { grant, lease };
        Self { key, what }
    }

    /// What is asked, as the protocol has it.
    pub(super) fn operation(&self) -> Result<Operation> {
        Ok(match &self.what {
            Asked::Claim {
                owner,
                fingerprint,
                lease,
                keep,
                ttl,
                at_most_once,
                wait,
            } => {
                let fingerprint = Fingerprint::from_hex(fingerprint)?;
                let mut request = ClaimRequest::new(owner.parse()?, fingerprint, *lease, *ttl);
                request.keep = *keep;
                request.at_most_once = *at_most_once;
                request.wait = *wait;
                Operation::Claim(request)
            }
            Asked::Complete {
                grant,
                failed,
                result,
                ttl,
            } => {
                let mut completion = Completion::value(to_payload(result)?, *ttl);
                completion.failed = *failed;
                let grant = grant.read()?;
                Operation::Complete { grant, completion }
            }
            Asked::RecordStep { grant, step, lease } => Operation::RecordStep {
                grant: grant.read()?,
                step: to_step(step),
                lease: *lease,
            },
            Asked::Release {
                owner,
                fence,
                ending,
                mode,
                failures,
            } => {
                let mode = match mode {
                    Mode::Free => ReleaseMode::Free,
                    Mode::Hold => ReleaseMode::Hold,
                    Mode::Note => ReleaseMode::Note,
                };
                let mut release = Release::new(to_ending(*ending)?, mode);
                release.failures = match failures {
                    Count::Keep => Failures::Keep,
                    Count::More => Failures::Count,
                    Count::Reset => Failures::Reset,
                };
                let holder = Holder {
                    owner: owner.parse()?,
                    fence: fence.map(Fence::from_u64),
                };
                Operation::Release { holder, release }
            }
            Asked::Renew { grant, lease } => Operation::Renew {
                grant: grant.read()?,
                lease: *lease,
            },
        })
    }
}

impl Answer {
    /// The answer `reply`, which has left `record`.
    pub(super) fn new(reply: &Reply, record: Option<&Record>, now: Timestamp) -> Result<Self> {
        let word = match reply {
            Reply::Claim(claim) => match claim {
                Claim::Busy { remaining, attempt } => Word::Busy {
                    remaining: *remaining,
                    attempt: *attempt,
                },
                Claim::Done(_) => Word::Done,
                Claim::Granted(_) => Word::Granted,
                Claim::InDoubt(_) => Word::InDoubt,
                Claim::Mismatch => Word::Mismatch,
                Claim::Stale => Word::Stale,
                claim => anyhow::bail!("{claim:?} is unknown here"),
            },
            Reply::Step(step) => match step {
                StepReply::Known(value) => Word::Known(value.to_vec()),
                StepReply::Lost(_) => Word::Lost,
                StepReply::Recorded => Word::Recorded,
                step => anyhow::bail!("{step:?} is unknown here"),
            },
            Reply::Update(update) => match update {
                Update::Applied => Word::Applied,
                Update::Healed => Word::Healed,
                Update::Lost(_) => Word::Lost,
                Update::Repeated => Word::Repeated,
                update => anyhow::bail!("{update:?} is unknown here"),
            },
            reply => anyhow::bail!("{reply:?} is unknown here"),
        };
        Ok(Self {
            word,
            record: record.map(Kept::of),
            now: now.as_micros(),
        })
    }

    fn record(&self) -> Result<Option<Record>> {
        self.record.as_ref().map(Kept::read).transpose()
    }

    fn found(&self, owner: Owner) -> Result<Option<Found>> {
        let now = Timestamp::from_micros(self.now);
        let record = self.record()?;
        Ok(record.map(|record| Found::of(&record, owner, now)))
    }

    /// The answer to `request`.
    pub(super) fn claim(&self, request: &ClaimRequest) -> Result<Claim> {
        let now = Timestamp::from_micros(self.now);
        let record = || self.record()?.context("there is no record");
        Ok(match &self.word {
            Word::Busy { remaining, attempt } => Claim::Busy {
                remaining: *remaining,
                attempt: *attempt,
            },
            Word::Done => {
                let recorded = Recorded::of(&record()?, now);
                Claim::Done(recorded.context("the record has no result")?)
            }
            Word::Granted => Claim::Granted(Grant::of(&record()?, request)),
            Word::InDoubt => Claim::InDoubt(Doubt::of(&record()?)),
            Word::Mismatch => Claim::Mismatch,
            Word::Stale => Claim::Stale,
            word => anyhow::bail!("{word:?} to a claim"),
        })
    }

    /// The answer to a step of `owner`.
    pub(super) fn step(&self, owner: Owner) -> Result<StepReply> {
        Ok(match &self.word {
            Word::Known(value) => StepReply::Known(value.clone().into()),
            Word::Lost => StepReply::Lost(self.found(owner)?),
            Word::Recorded => StepReply::Recorded,
            word => anyhow::bail!("{word:?} to a step"),
        })
    }

    /// The answer to any other write of `owner`.
    pub(super) fn update(&self, owner: Owner) -> Result<Update> {
        Ok(match &self.word {
            Word::Applied => Update::Applied,
            Word::Healed => Update::Healed,
            Word::Lost => Update::Lost(self.found(owner)?),
            Word::Repeated => Update::Repeated,
            word => anyhow::bail!("{word:?} to a write"),
        })
    }
}

impl Granted {
    fn of(grant: &Grant) -> Self {
        let mut record = Record::new(grant.owner, grant.fence, grant.fingerprint);
        record.attempt = grant.attempt;
        record.failures = grant.failures;
        record.previous = grant.previous;
        record.at_most_once = grant.at_most_once;
        record.started_at = grant.started_at;
        record.keep = grant.keep;
        record.steps.clone_from(&grant.steps);
        Self {
            record: Kept::of(&record),
            ttl: grant.ttl,
        }
    }

    fn read(&self) -> Result<Grant> {
        let record = self.record.read()?;
        let (owner, fingerprint) = (record.owner, record.fingerprint);
        let request = ClaimRequest::new(owner, fingerprint, Duration::ZERO, self.ttl);
        Ok(Grant::of(&record, &request))
    }
}

impl Kept {
    fn of(record: &Record) -> Self {
        Self {
            state: record.state.letter(),
            owner: record.owner.to_string(),
            fence: record.fence.as_u64(),
            attempt: record.attempt,
            failures: record.failures,
            previous: record.previous.map(Ending::letter),
            ending: record.ending.map(Ending::letter),
            at_most_once: record.at_most_once,
            fingerprint: record.fingerprint.to_string(),
            started_at: record.started_at.as_micros(),
            keep: record.keep,
            expires_at: record.expires_at.as_micros(),
            late: record.late,
            waiter: record.waiter,
            steps: record.steps.iter().map(of_step).collect(),
            result: of_payload(&record.result),
            completed_at: record.completed_at.map(Timestamp::as_micros),
        }
    }

    fn read(&self) -> Result<Record> {
        let fingerprint = Fingerprint::from_hex(&self.fingerprint)?;
        let fence = Fence::from_u64(self.fence);
        let mut record = Record::new(self.owner.parse()?, fence, fingerprint);
        record.state = State::from_letter(self.state).context("a state is unknown")?;
        record.attempt = self.attempt;
        record.failures = self.failures;
        record.previous = self.previous.map(to_ending).transpose()?;
        record.ending = self.ending.map(to_ending).transpose()?;
        record.at_most_once = self.at_most_once;
        record.started_at = Timestamp::from_micros(self.started_at);
        record.keep = self.keep;
        record.expires_at = Timestamp::from_micros(self.expires_at);
        record.late = self.late;
        record.waiter = self.waiter;
        record.steps = self.steps.iter().map(to_step).collect();
        record.result = to_payload(&self.result)?;
        record.completed_at = self.completed_at.map(Timestamp::from_micros);
        Ok(record)
    }
}

fn to_ending(letter: char) -> Result<Ending> {
    Ending::from_letter(letter).context("an ending is unknown")
}

fn of_step(step: &Step) -> (String, Vec<u8>) {
    (step.name.clone(), step.value.to_vec())
}

fn to_step((name, value): &(String, Vec<u8>)) -> Step {
    Step {
        name: name.clone(),
        value: Bytes::from(value.clone()),
    }
}

fn of_payload(payload: &Payload) -> (u16, Vec<u8>) {
    (payload.codec.as_u16(), payload.bytes.to_vec())
}

fn to_payload((codec, bytes): &(u16, Vec<u8>)) -> Result<Payload> {
    Ok(Payload {
        codec: CodecId::new(*codec).context("a codec is unknown")?,
        bytes: bytes.clone().into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request() -> ClaimRequest {
        let owner = Owner::from_bytes([7; 16]);
        let fingerprint = Fingerprint::from_bytes([8; 32]);
        ClaimRequest::new(
            owner,
            fingerprint,
            Duration::from_secs(1),
            Duration::from_secs(2),
        )
    }

    fn record() -> Record {
        let request = request();
        let mut record = Record::new(request.owner, Fence::from_u64(9), request.fingerprint);
        record.state = State::Failed;
        record.attempt = 3;
        record.failures = 1;
        record.previous = Some(Ending::Expired);
        record.ending = Some(Ending::Cancelled);
        record.at_most_once = true;
        record.keep = Duration::from_secs(4);
        record.expires_at = Timestamp::from_micros(5);
        record.late = 6;
        record.waiter = true;
        record.steps = vec![to_step(&("charge".to_owned(), vec![1, 2]))];
        record.result = to_payload(&(1, vec![3])).unwrap();
        record.completed_at = Some(Timestamp::from_micros(10));
        record
    }

    fn over_the_wire<T: Serialize + DeserializeOwned>(message: &T) -> T {
        serde_json::from_slice(&serde_json::to_vec(message).unwrap()).unwrap()
    }

    #[test]
    fn a_record_survives_the_wire() {
        let kept = over_the_wire(&Kept::of(&record()));
        assert_eq!(kept.read().unwrap(), record());
    }

    #[test]
    fn every_operation_survives_the_wire() {
        let grant = Grant::of(&record(), &request());
        let key = String::new;
        let lease = Duration::from_secs(3);
        let step = to_step(&("mail".to_owned(), vec![4]));
        let completion = Completion::error(record().result, lease);
        let (holder, release) = (
            grant.holder(),
            Release::new(Ending::Error, ReleaseMode::Hold),
        );
        for (sent, meant) in [
            (
                Request::claim(key(), &request()),
                Operation::Claim(request()),
            ),
            (
                Request::complete(key(), &grant, &completion),
                Operation::Complete {
                    grant: grant.clone(),
                    completion,
                },
            ),
            (
                Request::record_step(key(), &grant, &step, lease),
                Operation::RecordStep {
                    grant: grant.clone(),
                    step,
                    lease,
                },
            ),
            (
                Request::release(key(), &holder, release).unwrap(),
                Operation::Release { holder, release },
            ),
            (
                Request::renew(key(), &grant, lease),
                Operation::Renew {
                    grant: grant.clone(),
                    lease,
                },
            ),
        ] {
            assert_eq!(over_the_wire(&sent).operation().unwrap(), meant);
        }
    }

    #[test]
    fn every_answer_survives_the_wire() {
        let (record, now) = (record(), Timestamp::from_micros(2));
        let owner = Owner::from_bytes([1; 16]);
        let answer =
            |reply: &Reply| over_the_wire(&Answer::new(reply, Some(&record), now).unwrap());
        for claim in [
            Claim::Busy {
                remaining: Duration::from_nanos(5),
                attempt: 2,
            },
            Claim::Done(Recorded::of(&record, now).unwrap()),
            Claim::Granted(Grant::of(&record, &request())),
            Claim::InDoubt(Doubt::of(&record)),
            Claim::Mismatch,
            Claim::Stale,
        ] {
            let sent = answer(&Reply::Claim(claim.clone()));
            assert_eq!(sent.claim(&request()).unwrap(), claim);
        }
        let found = Some(Found::of(&record, owner, now));
        for update in [
            Update::Applied,
            Update::Healed,
            Update::Lost(found.clone()),
            Update::Repeated,
        ] {
            let sent = answer(&Reply::Update(update.clone()));
            assert_eq!(sent.update(owner).unwrap(), update);
        }
        for step in [
            StepReply::Known(Bytes::from_static(b"1")),
            StepReply::Lost(found),
            StepReply::Recorded,
        ] {
            let sent = answer(&Reply::Step(step.clone()));
            assert_eq!(sent.step(owner).unwrap(), step);
        }
    }
}
