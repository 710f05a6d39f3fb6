use std::time::Duration;

use bytes::Bytes;
use idempotent_core::protocol::{Claim, ClaimRequest, Doubt, Grant, Recorded};
use idempotent_core::{Fence, Key, Record, Timestamp};
use redis::aio::ConnectionLike;
use redis::{Cmd, Value};

use crate::error::{Error, refuses_writes};
use crate::script::{Answer, CONTEND};
use crate::store::RedisStore;
use crate::text::{self, number};
use crate::time::millis;

impl<C> RedisStore<C>
where
    C: ConnectionLike + Clone + Send + Sync + 'static,
{
    pub(crate) async fn try_claim(
        &self,
        key: &Key,
        request: &ClaimRequest,
    ) -> Result<Claim, Error> {
        let lease = millis("lease", request.lease)?;
        let keep = millis("time to keep", request.keep)?;
        millis("ttl", request.ttl)?;
        let key = self.redis_key(key);
        let sent = self.now().await?;
        let record = first(request, sent.server);
        let fresh = text::write(&record);

        let mut claim = Cmd::with_capacity(7, fresh.len() + key.len() + 32);
        claim
            .arg("SET")
            .arg(&key)
            .arg(&fresh)
            .arg("NX")
            .arg("GET")
            .arg("PX")
            .arg(lease + keep);
        let mut late = false;
        match claim.query_async(&mut self.connection.clone()).await {
            Ok(Value::Nil) => {
                late = sent.elapsed() >= oldest_fence(request);
                if !late {
                    return Ok(Claim::Granted(Grant::of(&record, request)));
                }
            }
            Ok(Value::BulkString(found)) => {
                let found = text::read(&found.into())?;
                if let Some(recorded) = Recorded::of(&found, sent.server) {
                    return Ok(if found.fingerprint == request.fingerprint {
                        Claim::Done(recorded)
                    } else {
                        Claim::Mismatch
                    });
                }
            }
            Ok(_) => return Err(Error::Reply),
            // Only a grant needs room. What there is can still be told.
            Err(error) if refuses_writes(&error) => {}
            Err(error) => return Err(error.into()),
        }
        let (lease, keep) = (lease.to_string(), keep.to_string());
        let flag = |set: bool, letter| if set { letter } else { "-" };
        let arguments = [
            &fresh[..],
            lease.as_bytes(),
            keep.as_bytes(),
            flag(request.wait, "w").as_bytes(),
            flag(late, "l").as_bytes(),
        ];
        let answer = CONTEND.ask(&self.connection, &key, &arguments).await?;
        self.read_claim(&answer, request).await
    }

    async fn read_claim(&self, answer: &Answer, request: &ClaimRequest) -> Result<Claim, Error> {
        let text = &answer.rest;
        Ok(match answer.letter {
            b'B' => busy(text).ok_or(Error::Reply)?,
            b'D' => {
                let now = self.now().await?.server;
                Claim::Done(Recorded::of(&text::read(text)?, now).ok_or(Error::Reply)?)
            }
            b'G' => Claim::Granted(Grant::of(&text::read(text)?, request)),
            b'I' => Claim::InDoubt(Doubt::of(&text::read(text)?)),
            b'M' => Claim::Mismatch,
            b'S' => Claim::Stale,
            // Not a record. Reading it says what is wrong with it.
            _ => return Err(text::read(text).map_or_else(Error::from, |_| Error::Reply)),
        })
    }
}

/// The record of a first grant at `now`.
fn first(request: &ClaimRequest, now: Timestamp) -> Record {
    let mut record = Record::new(request.owner, Fence::next(None, now), request.fingerprint);
    record.at_most_once = request.at_most_once;
    record.keep = request.keep;
    record
}

/// How old a fence may be when it is granted. While an older one was under way, another life of the
/// key, with a higher fence, may have come and gone.
fn oldest_fence(request: &ClaimRequest) -> Duration {
    request.lease.min(request.ttl).min(request.keep) / 2
}

/// Reads `remaining lease in ms,attempt`.
fn busy(text: &Bytes) -> Option<Claim> {
    let comma = text.iter().position(|byte| *byte == b',')?;
    let remaining = Duration::from_millis(number(&text[..comma])?);
    let attempt = number(&text[comma + 1..])?.try_into().ok()?;
    Some(Claim::Busy { remaining, attempt })
}
