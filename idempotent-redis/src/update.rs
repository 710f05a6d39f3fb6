use std::time::Duration;

use idempotent_core::protocol::{
    Completion, Failures, Found, Grant, Holder, Release, ReleaseMode, StepReply, Update,
};
use idempotent_core::{Ending, Key, Owner, Record, Step};
use redis::aio::ConnectionLike;

use crate::error::Error;
use crate::script::{Answer, COMPLETE, HEAL, RELEASE, RENEW, STEP, Script};
use crate::store::RedisStore;
use crate::text;
use crate::time::millis;

/// How often a lost record may come back before its owner could write it anew.
const HEALING_TRIES: usize = 4;
/// What is taken off the healing window, and which part of it at most: a server that takes over may
/// be behind in time.
const HEALING_MARGIN: (Duration, u32) = (Duration::from_secs(1), 50);

impl<C> RedisStore<C>
where
    C: ConnectionLike + Clone + Send + Sync + 'static,
{
    pub(crate) async fn try_renew(
        &self,
        key: &Key,
        grant: &Grant,
        lease: Duration,
    ) -> Result<Update, Error> {
        let expiry = expiry(grant, lease)?;
        let arguments: [&[u8]; 2] = [&text::prefix(grant), expiry.as_bytes()];
        self.or_heal(
            &self.redis_key(key),
            grant,
            (&RENEW, &arguments),
            &expiry,
            |mut record| {
                record.steps.clone_from(&grant.steps);
                record
            },
        )
        .await
    }

    pub(crate) async fn try_complete(
        &self,
        key: &Key,
        grant: &Grant,
        completion: &Completion,
    ) -> Result<Update, Error> {
        let ttl = millis("ttl", completion.ttl)?.to_string();
        let now = self.now().await?.server;
        let granted = text::granted(grant);
        let (before, after) = (
            text::write(&granted),
            text::write(&text::finished(granted, completion, now)),
        );
        let arguments: [&[u8]; 3] = [&before, &after, ttl.as_bytes()];
        self.or_heal(
            &self.redis_key(key),
            grant,
            (&COMPLETE, &arguments),
            &ttl,
            |record| text::finished(record, completion, now),
        )
        .await
    }

    /// Runs a script, and writes the record anew if it finds none and its time has not passed.
    async fn or_heal(
        &self,
        key: &str,
        grant: &Grant,
        (script, arguments): (&Script, &[&[u8]]),
        expiry: &str,
        healed: impl Fn(Record) -> Record + Send,
    ) -> Result<Update, Error> {
        let window = grant.healing_window();
        let margin = HEALING_MARGIN.0.min(window / HEALING_MARGIN.1);
        let window = window.saturating_sub(margin).as_micros().to_string();
        for _ in 0..HEALING_TRIES {
            let answer = script.ask(&self.connection, key, arguments).await?;
            if answer.letter != b'A' {
                return self.update(grant.owner, &answer).await;
            }
            let mut record = text::granted(grant);
            record.previous = Some(Ending::Healed);
            let record = text::write(&healed(record));
            let arguments: [&[u8]; 3] = [&record, expiry.as_bytes(), window.as_bytes()];
            match HEAL.ask(&self.connection, key, &arguments).await?.letter {
                b'A' => return Ok(Update::Lost(None)),
                b'H' => return Ok(Update::Healed),
                // Somebody was quicker: the script has something to judge.
                _ => {}
            }
        }
        Err(Error::ComesAndGoes)
    }

    pub(crate) async fn try_record_step(
        &self,
        key: &Key,
        grant: &Grant,
        step: &Step,
        lease: Duration,
    ) -> Result<StepReply, Error> {
        let (prefix, expiry) = (text::prefix(grant), expiry(grant, lease)?);
        let arguments: [&[u8]; 4] = [
            &prefix,
            step.name.as_bytes(),
            &step.value,
            expiry.as_bytes(),
        ];
        let answer = STEP
            .ask(&self.connection, &self.redis_key(key), &arguments)
            .await?;
        Ok(match answer.letter {
            b'A' => StepReply::Lost(None),
            b'E' => StepReply::Known(answer.rest),
            b'K' => StepReply::Recorded,
            _ => StepReply::Lost(Some(self.found(grant.owner, &answer).await?)),
        })
    }

    pub(crate) async fn try_release(
        &self,
        key: &Key,
        holder: &Holder,
        release: Release,
    ) -> Result<Update, Error> {
        let mode = match release.mode {
            ReleaseMode::Free => b"R",
            ReleaseMode::Hold => b"I",
            ReleaseMode::Note => b"N",
            _ => return Err(Error::Unsupported),
        };
        let ending = release.ending.letter().to_string();
        let failures = match release.failures {
            Failures::Count => b"1",
            Failures::Keep => b"0",
            Failures::Reset => b"-",
            _ => return Err(Error::Unsupported),
        };
        let arguments: [&[u8]; 4] = [&text::holder(holder), mode, ending.as_bytes(), failures];
        let answer = RELEASE
            .ask(&self.connection, &self.redis_key(key), &arguments)
            .await?;
        self.update(holder.owner, &answer).await
    }

    async fn update(&self, owner: Owner, answer: &Answer) -> Result<Update, Error> {
        Ok(match answer.letter {
            b'A' => Update::Lost(None),
            b'K' => Update::Applied,
            b'R' => Update::Repeated,
            _ => Update::Lost(Some(self.found(owner, answer).await?)),
        })
    }

    async fn found(&self, owner: Owner, answer: &Answer) -> Result<Found, Error> {
        let record = text::read(&answer.rest)?;
        Ok(Found::of(&record, owner, self.now().await?.server))
    }
}

/// Until when a record in progress is kept, in milliseconds from now.
fn expiry(grant: &Grant, lease: Duration) -> Result<String, Error> {
    Ok((millis("lease", lease)? + millis("time to keep", grant.keep)?).to_string())
}
