//! A record as one string, which is what Redis keeps.
//!
//! ```text
//! idr1C9f..e21732420000123456--xr5d..071,0,0,86400000,0,1,153211,86400000|{"id":1}
//! ```
//!
//! | offset | bytes | what |
//! | --- | --- | --- |
//! | 0 | 4 | `idr` and the version of the format, `1` |
//! | 4 | 1 | state: its [letter](State::letter) |
//! | 5 | 32 | owner, in hexadecimal digits |
//! | 37 | 16 | fence, in decimal digits |
//! | 53 | 1 | `w` if somebody waits to be told of the end, else `-` |
//! | 54 | 1 | how the current attempt is ending: its [letter](Ending::letter), else `-` |
//! | 55 | 1 | how the attempt before it ended: its letter, else `-` |
//! | 56 | 1 | `m` for at most once, `r` for a rerun |
//! | 57 | 64 | fingerprint, in hexadecimal digits |
//! | 121 | .. | numbers in decimal digits, with commas between them |
//! | .. | 1 | `\|` |
//! | .. | .. | steps while there is no result, then the result |
//!
//! The numbers are attempt, failures, late completions, keep in ms, and the time from the first
//! grant to the current one in us. A finished record goes on with the codec, the time from the
//! grant to the completion in us, and the ttl in ms. A step is `name length,value length:`, the
//! name, and the value.
//!
//! The first 53 bytes, the prefix, are what a write of the owner is compared with. The end of the
//! lease is not in the text: the key expires `keep` later.

#[cfg(test)]
mod tests;

use std::time::Duration;

use bytes::Bytes;
use idempotent_core::protocol::{Completion, Grant, Holder};
use idempotent_core::{
    CodecId, Ending, Fence, Fingerprint, Owner, Payload, Record, State, Step, Timestamp,
};

const MAGIC: &[u8; 4] = b"idr1";
const PREFIX: usize = 53;
const FENCE: usize = 16;
const NUMBERS: usize = 121;
/// Enough for every header, and for most results without growing.
const CAPACITY: usize = 256;

/// Why a text is not a record.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unreadable {
    #[error("the record is damaged")]
    Damaged,
    #[error("the value is not a record")]
    Foreign,
    #[error("the record has the format `{0}`")]
    Newer(String),
}

/// The record that `grant` stands for, as it was when it was granted. Without its steps.
pub(crate) fn granted(grant: &Grant) -> Record {
    let mut record = Record::new(grant.owner, grant.fence, grant.fingerprint);
    record.attempt = grant.attempt;
    record.failures = grant.failures;
    record.previous = grant.previous;
    record.at_most_once = grant.at_most_once;
    record.started_at = grant.started_at;
    record.keep = grant.keep;
    record
}

/// `record`, finished at `now`.
pub(crate) fn finished(mut record: Record, completion: &Completion, now: Timestamp) -> Record {
    record.state = completion.state();
    record.result = completion.payload.clone();
    record.completed_at = Some(now);
    record.expires_at = now.plus(completion.ttl);
    record
}

/// The prefix of the record in progress under `grant`.
pub(crate) fn prefix(grant: &Grant) -> Vec<u8> {
    let mut text = Vec::with_capacity(PREFIX);
    text.extend_from_slice(MAGIC);
    push_letter(&mut text, State::InProgress.letter());
    text.extend(holder(&grant.holder()));
    text
}

/// The owner, and the fence behind it if it is known, as they stand in the prefix.
pub(crate) fn holder(holder: &Holder) -> Vec<u8> {
    let mut text = Vec::with_capacity(PREFIX);
    push_hex(&mut text, holder.owner.as_bytes());
    if let Some(fence) = holder.fence {
        push_fence(&mut text, fence);
    }
    text
}

/// Writes `record`.
pub(crate) fn write(record: &Record) -> Vec<u8> {
    let mut text = Vec::with_capacity(CAPACITY + record.result.bytes.len());
    text.extend_from_slice(MAGIC);
    push_letter(&mut text, record.state.letter());
    push_hex(&mut text, record.owner.as_bytes());
    push_fence(&mut text, record.fence);
    push_letter(&mut text, if record.waiter { 'w' } else { '-' });
    push_letter(&mut text, record.ending.map_or('-', Ending::letter));
    push_letter(&mut text, record.previous.map_or('-', Ending::letter));
    push_letter(&mut text, if record.at_most_once { 'm' } else { 'r' });
    push_hex(&mut text, record.fingerprint.as_bytes());

    let granted_at = record.fence.granted_at();
    let started = granted_at.since(record.started_at);
    push_number(&mut text, u64::from(record.attempt), b',');
    push_number(&mut text, u64::from(record.failures), b',');
    push_number(&mut text, u64::from(record.late), b',');
    push_number(&mut text, whole_millis(record.keep), b',');
    let Some(completed_at) = record.completed_at.filter(|_| record.state.is_finished()) else {
        push_number(&mut text, micros(started), b'|');
        for Step { name, value } in &record.steps {
            push_number(&mut text, name.len() as u64, b',');
            push_number(&mut text, value.len() as u64, b':');
            text.extend_from_slice(name.as_bytes());
            text.extend_from_slice(value);
        }
        return text;
    };
    push_number(&mut text, micros(started), b',');
    push_number(&mut text, u64::from(record.result.codec.as_u16()), b',');
    push_number(&mut text, micros(completed_at.since(granted_at)), b',');
    push_number(
        &mut text,
        whole_millis(record.expires_at.since(completed_at)),
        b'|',
    );
    text.extend_from_slice(&record.result.bytes);
    text
}

/// Reads a record back. Its end is known from the text only once it is finished.
pub(crate) fn read(text: &Bytes) -> Result<Record, Unreadable> {
    match text.get(..MAGIC.len()) {
        Some(magic) if magic == MAGIC => parse(text).ok_or(Unreadable::Damaged),
        Some(magic @ [b'i', b'd', b'r', version]) if version.is_ascii_alphanumeric() => Err(
            Unreadable::Newer(String::from_utf8_lossy(magic).into_owned()),
        ),
        _ => Err(Unreadable::Foreign),
    }
}

fn parse(text: &Bytes) -> Option<Record> {
    let header = text.get(..NUMBERS)?;
    let bar = NUMBERS + text[NUMBERS..].iter().position(|byte| *byte == b'|')?;
    let body = text.slice(bar + 1..);
    let mut numbers = text[NUMBERS..bar].split(|byte| *byte == b',').map(number);
    let mut next = || numbers.next().flatten();

    let owner = Owner::from_bytes(bytes_of(&header[5..37])?);
    // One that no grant can have would not leave room for the next.
    let fence = number(&header[37..53]).filter(|fence| *fence < Fence::LIMIT)?;
    let fence = Fence::from_u64(fence);
    let fingerprint = Fingerprint::from_bytes(bytes_of(&header[57..121])?);
    let mut record = Record::new(owner, fence, fingerprint);
    record.state = State::from_letter(char::from(header[4]))?;
    record.waiter = one_of(header[53], b'w', b'-')?;
    read_ending(header[54], &mut record.ending)?;
    read_ending(header[55], &mut record.previous)?;
    record.at_most_once = one_of(header[56], b'm', b'r')?;
    record.attempt = next()?.try_into().ok()?;
    record.failures = next()?.try_into().ok()?;
    record.late = next()?.try_into().ok()?;
    record.keep = Duration::from_millis(next()?);
    record.started_at = fence.granted_at().minus(Duration::from_micros(next()?));
    record.expires_at = Timestamp::default();
    if record.state.is_finished() {
        let codec = CodecId::new(next()?.try_into().ok()?)?;
        let completed_at = fence.granted_at().plus(Duration::from_micros(next()?));
        record.result = Payload { codec, bytes: body };
        record.completed_at = Some(completed_at);
        record.expires_at = completed_at.plus(Duration::from_millis(next()?));
    } else {
        record.steps = steps(body)?;
    }
    numbers.next().is_none().then_some(record)
}

fn steps(mut body: Bytes) -> Option<Vec<Step>> {
    let mut steps = Vec::new();
    while !body.is_empty() {
        let name = usize::try_from(number(&until(&mut body, b',')?)?).ok()?;
        let value = usize::try_from(number(&until(&mut body, b':')?)?).ok()?;
        if body.len() < name.checked_add(value)? {
            return None;
        }
        let name = String::from_utf8(body.split_to(name).into()).ok()?;
        steps.push(Step {
            name,
            value: body.split_to(value),
        });
    }
    Some(steps)
}

/// Takes what stands before the first `end`, and `end` itself, off the beginning of `body`.
fn until(body: &mut Bytes, end: u8) -> Option<Bytes> {
    let at = body.iter().position(|byte| *byte == end)?;
    let taken = body.split_to(at);
    _ = body.split_to(1);
    Some(taken)
}

/// Reads an ending into `slot`, which stays empty for `-`.
fn read_ending(letter: u8, slot: &mut Option<Ending>) -> Option<()> {
    *slot = Ending::from_letter(char::from(letter));
    (letter == b'-' || slot.is_some()).then_some(())
}

fn one_of(letter: u8, yes: u8, no: u8) -> Option<bool> {
    (letter == yes || letter == no).then_some(letter == yes)
}

/// The number that `digits` write, if that is all they are.
pub(crate) fn number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0_u64, |number, digit| {
        let digit = char::from(*digit).to_digit(10)?;
        number.checked_mul(10)?.checked_add(u64::from(digit))
    })
}

fn bytes_of<const N: usize>(digits: &[u8]) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = nibble(pair[0])? << 4 | nibble(pair[1])?;
    }
    Some(bytes)
}

/// Lower case only: an owner is compared as text.
fn nibble(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

fn push_hex(text: &mut Vec<u8>, bytes: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for byte in bytes {
        text.push(DIGITS[usize::from(byte >> 4)]);
        text.push(DIGITS[usize::from(byte & 15)]);
    }
}

fn push_letter(text: &mut Vec<u8>, letter: char) {
    // Every letter of the protocol is ASCII.
    text.push(u8::try_from(letter).unwrap_or(b'?'));
}

fn push_fence(text: &mut Vec<u8>, fence: Fence) {
    push_digits(text, fence.as_u64(), FENCE);
}

fn push_number(text: &mut Vec<u8>, number: u64, end: u8) {
    push_digits(text, number, 1);
    text.push(end);
}

/// Writes `number` with `width` digits at least.
fn push_digits(text: &mut Vec<u8>, mut number: u64, width: usize) {
    const DIGITS: &[u8; 10] = b"0123456789";
    let mut digits = [b'0'; 20];
    let mut first = digits.len();
    while number > 0 {
        first -= 1;
        digits[first] = DIGITS[usize::try_from(number % 10).unwrap_or_default()];
        number /= 10;
    }
    text.extend_from_slice(&digits[first.min(digits.len() - width)..]);
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// Rounds up, so that nothing ends before its time.
pub(crate) fn whole_millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX)
}
