use std::sync::Arc;

use async_nats::jetstream::consumer::{self, AckPolicy, pull};
use async_nats::jetstream::context::GetStreamByNameErrorKind;

use super::{JetStream, NatsError, NatsSource};
use crate::config::ConfigError;
use crate::settle::Capabilities;
use crate::source::SourceError;

/// Gets or creates the consumer, if nothing is lost by it.
pub(super) async fn open(broker: &JetStream) -> Result<NatsSource, SourceError> {
    let stream = broker.context.get_stream(&*broker.stream).await;
    let stream = stream.map_err(SourceError::new)?;
    let keeper = keeper_of_dead_letters(broker).await?;
    let filter = broker.subject.as_deref().unwrap_or_default();
    if stream.consumer_info(&broker.consumer).await.is_err() {
        // Before it is created: one that is refused would stay.
        check_circle(broker, &keeper, filter)?;
    }
    let wanted = pull::Config {
        durable_name: Some(broker.consumer.to_string()),
        ack_policy: AckPolicy::Explicit,
        ack_wait: broker.visibility,
        max_deliver: -1,
        filter_subject: filter.to_owned(),
        ..pull::Config::default()
    };
    let consumer = stream
        .get_or_create_consumer(&broker.consumer, wanted)
        .await
        .map_err(SourceError::new)?;
    let found = &consumer.cached_info().config;
    check(broker, found)?;
    check_circle(broker, &keeper, &found.filter_subject)?;
    let max_age = stream.cached_info().config.max_age;
    let capabilities = Capabilities {
        max_age: Some(max_age).filter(|age| !age.is_zero()),
        ..capabilities(broker, found)
    };
    let broker = Arc::new(broker.clone());
    Ok(NatsSource::start(broker, consumer, capabilities))
}

/// The stream that keeps dead letters.
async fn keeper_of_dead_letters(broker: &JetStream) -> Result<String, SourceError> {
    let subject = broker.dead_letters.to_string();
    let found = broker.context.stream_by_subject(subject.clone()).await;
    found.map_err(|error| match error.kind() {
        GetStreamByNameErrorKind::NotFound => SourceError::new(NatsError::DeadLetters { subject }),
        _ => SourceError::new(error),
    })
}

fn check(broker: &JetStream, found: &consumer::Config) -> Result<(), SourceError> {
    let what = match found.ack_policy {
        AckPolicy::None => Some("the consumer's ack policy `none`"),
        AckPolicy::All => Some("the consumer's ack policy `all`"),
        AckPolicy::Explicit => None,
    };
    if let Some(what) = what {
        return Err(SourceError::new(ConfigError::AutoAck { what }));
    }
    match &broker.subject {
        Some(wanted) if **wanted != *found.filter_subject => {
            Err(SourceError::new(NatsError::Filter {
                found: found.filter_subject.clone(),
                wanted: wanted.to_string(),
            }))
        }
        _ => Ok(()),
    }
}

/// Refuses a consumer with this filter if it would get the dead letters, which `keeper` keeps.
fn check_circle(broker: &JetStream, keeper: &str, filter: &str) -> Result<(), SourceError> {
    let is_own = *broker.stream == *keeper;
    if is_own && (filter.is_empty() || covers(filter, &broker.dead_letters)) {
        return Err(SourceError::new(NatsError::Circle {
            subject: broker.dead_letters.to_string(),
        }));
    }
    Ok(())
}

/// What the consumer allows, which need not be what was asked for if it was there before.
fn capabilities(broker: &JetStream, found: &consumer::Config) -> Capabilities {
    let limits = [found.max_ack_pending, found.max_batch].into_iter();
    let limits = limits.filter_map(|limit| usize::try_from(limit).ok().filter(|limit| *limit > 0));
    let max_deliver = u32::try_from(found.max_deliver).ok();
    Capabilities {
        delays_retries: true,
        max_deliver: max_deliver.filter(|deliveries| *deliveries > 0),
        prefetch: limits.chain([broker.prefetch]).min(),
        visibility: found.backoff.iter().copied().chain([found.ack_wait]).min(),
        ..Capabilities::default()
    }
}

/// Whether messages of `subject` are among those that `filter` lets through.
fn covers(filter: &str, subject: &str) -> bool {
    let mut subject = subject.split('.');
    for token in filter.split('.') {
        match (token, subject.next()) {
            (_, None) => return false,
            (">", Some(_)) => return true,
            (one, Some(other)) if one != "*" && one != other => return false,
            _ => {}
        }
    }
    subject.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::covers;

    #[test]
    fn a_filter_covers_the_subjects_that_the_server_says() {
        let covered = [
            ("orders.dead", "orders.dead"),
            ("orders.*", "orders.dead"),
            (">", "orders.dead"),
            ("orders.>", "orders.eu.dead"),
        ];
        let others = [
            ("orders", "orders.dead"),
            ("orders.>", "orders"),
            ("orders.*", "orders.eu.dead"),
            ("orders.new", "orders.dead"),
        ];
        assert!(
            covered
                .iter()
                .all(|(filter, subject)| covers(filter, subject))
        );
        assert!(
            !others
                .iter()
                .any(|(filter, subject)| covers(filter, subject))
        );
    }
}
