//! Records that a store can hold without rounding.

use std::time::Duration;

use idempotent_core::{CodecId, Ending, Fence, Fingerprint, Owner, Payload, Record, State, Step};
use libfuzzer_sys::arbitrary::{Result, Unstructured};

/// The longest duration that a Redis record takes, and more than any that it needs.
const MAX_MILLIS: u64 = 1_000_000_000_000;

/// The longest time between two moments of a record, so that each of them is one for SQL too.
const MAX_MICROS: u64 = 1_000_000_000_000_000_000;

/// Makes a record of `u`. Its end is known once it is finished; before that, it is the store's.
pub fn record(u: &mut Unstructured<'_>) -> Result<Record> {
    let fence = Fence::from_u64(u.int_in_range(0..=Fence::LIMIT - 1)?);
    let owner = Owner::from_bytes(u.arbitrary()?);
    let mut record = Record::new(owner, fence, Fingerprint::from_bytes(u.arbitrary()?));
    record.state = *u.choose(&State::ALL)?;
    record.attempt = u.arbitrary()?;
    record.failures = u.arbitrary()?;
    record.late = u.arbitrary()?;
    record.previous = ending(u)?;
    record.ending = ending(u)?;
    record.at_most_once = u.arbitrary()?;
    record.waiter = u.arbitrary()?;
    record.keep = millis(u)?;
    let granted_at = fence.granted_at();
    record.started_at = granted_at.minus(micros(u)?);
    record.expires_at = Default::default();
    if record.state.is_finished() {
        let completed_at = granted_at.plus(micros(u)?);
        record.completed_at = Some(completed_at);
        record.expires_at = completed_at.plus(millis(u)?);
        record.result = payload(u)?;
    } else {
        record.steps = steps(u)?;
    }
    Ok(record)
}

/// Makes a result, and the codec that it says to be of.
pub fn payload(u: &mut Unstructured<'_>) -> Result<Payload> {
    let codec = CodecId::new(u.int_in_range(0..=999)?).unwrap_or_default();
    let bytes: Vec<u8> = u.arbitrary()?;
    Ok(Payload {
        codec,
        bytes: bytes.into(),
    })
}

fn ending(u: &mut Unstructured<'_>) -> Result<Option<Ending>> {
    Ok(if u.arbitrary()? {
        Some(*u.choose(&Ending::ALL)?)
    } else {
        None
    })
}

fn millis(u: &mut Unstructured<'_>) -> Result<Duration> {
    Ok(Duration::from_millis(u.int_in_range(0..=MAX_MILLIS)?))
}

fn micros(u: &mut Unstructured<'_>) -> Result<Duration> {
    Ok(Duration::from_micros(u.int_in_range(0..=MAX_MICROS)?))
}

fn steps(u: &mut Unstructured<'_>) -> Result<Vec<Step>> {
    let mut steps = Vec::new();
    while u.arbitrary()? {
        let (name, value): (_, Vec<u8>) = u.arbitrary()?;
        steps.push(Step {
            name,
            value: value.into(),
        });
    }
    Ok(steps)
}
