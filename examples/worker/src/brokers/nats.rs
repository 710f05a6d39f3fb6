//! NATS JetStream.

use std::time::Duration;

use async_nats::jetstream::context::{Context, DeleteStreamErrorKind};
use async_nats::jetstream::stream::{Config, StorageType};
use async_nats::jetstream::{self, ErrorCode};
use idempotency::BoxError;
use idempotency::consumer::Message;
use idempotency::consumer::brokers::nats::JetStream;
use tokio::signal::ctrl_c;

use super::{Queue, VISIBILITY};
use crate::ledger::Ledger;
use crate::{consumer, worker};

const STREAM: &str = "worker";
const SUBJECT: &str = "worker.orders";
const CONSUMER: &str = "ledger";
const DEAD_STREAM: &str = "worker-dead";
const DEAD_LETTERS: &str = "worker.dead";

pub(crate) struct Nats {
    stream: JetStream,
    context: Context,
}

impl Queue for Nats {
    /// The server drops a second copy, by its `Nats-Msg-Id`, for as long as this, and two minutes if nothing
    /// was chosen. It would do the consumers' work.
    const WINDOW: Option<Duration> = Some(Duration::from_millis(100));

    async fn connect(url: &str) -> Result<Self, BoxError> {
        let client = async_nats::connect(url).await?;
        let stream = JetStream::new(client.clone(), STREAM, CONSUMER);
        Ok(Self {
            stream: stream.dead_letters(DEAD_LETTERS).visibility(VISIBILITY),
            context: jetstream::new(client),
        })
    }

    async fn prepare(&self) -> Result<(), BoxError> {
        for (name, subject) in [(STREAM, SUBJECT), (DEAD_STREAM, DEAD_LETTERS)] {
            match self.context.delete_stream(name).await {
                Err(error) if !is_not_found(&error.kind()) => return Err(error.into()),
                _ => {}
            }
            let config = Config {
                name: name.to_owned(),
                subjects: vec![subject.to_owned()],
                storage: StorageType::File,
                duplicate_window: Self::WINDOW.unwrap_or_default(),
                ..Config::default()
            };
            self.context.create_stream(config).await?;
        }
        drop(self.stream.open().await?);
        Ok(())
    }

    async fn publish(&self, message: &Message) -> Result<(), BoxError> {
        if self.stream.publish(message).await?.duplicate {
            return Err("the server has dropped a second copy itself".into());
        }
        Ok(())
    }

    /// What was not delivered yet, and what was not acknowledged.
    async fn left(&self) -> Result<usize, BoxError> {
        let stream = self.context.get_stream(STREAM).await?;
        let info = stream.consumer_info(CONSUMER).await?;
        Ok(info.num_ack_pending + usize::try_from(info.num_pending)?)
    }

    async fn dead(&self) -> Result<usize, BoxError> {
        let stream = self.context.get_stream(DEAD_STREAM).await?;
        Ok(usize::try_from(stream.cached_info().state.messages)?)
    }

    async fn consume(&self, ledger: &Ledger) -> Result<(), BoxError> {
        let shutdown = async { _ = ctrl_c().await };
        let source = self.stream.open().await?;
        let worker = worker(&consumer(ledger)?, ledger);
        Ok(worker.run(source, shutdown).await?)
    }
}

fn is_not_found(error: &DeleteStreamErrorKind) -> bool {
    matches!(error, DeleteStreamErrorKind::JetStream(error) if error.error_code() == ErrorCode::STREAM_NOT_FOUND)
}
