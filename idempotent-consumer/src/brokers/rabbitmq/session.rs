use std::future::Future;
use std::time::Duration;

use lapin::options::{
    BasicConsumeOptions, BasicPublishOptions, BasicQosOptions, ConfirmSelectOptions,
};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel, Confirmation, Connection, ConnectionProperties, Consumer};
use tokio::time::timeout;

use super::RabbitError;
use super::entry::short;

/// How long the server has to answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// A connection with two channels: an error of the one who publishes does not close the consumer's.
pub(super) struct Session {
    consuming: Channel,
    publishing: Channel,
    /// Closes when it is dropped.
    _connection: Connection,
}

impl Session {
    pub(super) async fn connect(url: &str, prefetch: u16) -> Result<Self, RabbitError> {
        in_time(async {
            let name =
                ConnectionProperties::default().with_connection_name("idempotent-consumer".into());
            let connection = Connection::connect(url, name).await?;
            let consuming = connection.create_channel().await?;
            let each = BasicQosOptions::default();
            consuming.basic_qos(prefetch, each).await?;
            let publishing = connection.create_channel().await?;
            let confirmed = ConfirmSelectOptions::default();
            publishing.confirm_select(confirmed).await?;
            Ok(Self {
                consuming,
                publishing,
                _connection: connection,
            })
        })
        .await
    }

    pub(super) async fn consume(&self, queue: &str) -> Result<Consumer, RabbitError> {
        let (queue, tag) = (short(queue)?, short("")?);
        in_time(async {
            let (options, arguments) = (BasicConsumeOptions::default(), FieldTable::default());
            let consuming = self.consuming.basic_consume(queue, tag, options, arguments);
            Ok(consuming.await?)
        })
        .await
    }

    /// Publishes, and waits until the server has stored the message in a queue at least.
    pub(super) async fn publish(
        &self,
        exchange: &str,
        routing_key: &str,
        body: &[u8],
        properties: BasicProperties,
    ) -> Result<(), RabbitError> {
        let (to, key) = (short(exchange)?, short(routing_key)?);
        let options = BasicPublishOptions {
            mandatory: true,
            ..BasicPublishOptions::default()
        };
        in_time(async {
            let published = self
                .publishing
                .basic_publish(to, key, options, body, properties);
            match published.await?.await? {
                Confirmation::Ack(None) => Ok(()),
                Confirmation::Ack(Some(_)) => Err(RabbitError::NoQueue {
                    exchange: exchange.to_owned(),
                    routing_key: routing_key.to_owned(),
                }),
                Confirmation::Nack(_) | Confirmation::NotRequested => Err(RabbitError::NotTaken),
            }
        })
        .await
    }
}

pub(super) async fn in_time<T>(
    answer: impl Future<Output = Result<T, RabbitError>>,
) -> Result<T, RabbitError> {
    let answer = timeout(PATIENCE, answer).await;
    answer.unwrap_or(Err(RabbitError::Timeout))
}
