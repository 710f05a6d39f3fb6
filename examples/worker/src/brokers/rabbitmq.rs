//! RabbitMQ.

use std::time::Duration;

use idempotency::BoxError;
use idempotency::consumer::Message;
use idempotency::consumer::brokers::rabbitmq::RabbitQueue;
use lapin::options::{QueueDeclareOptions, QueueDeleteOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Channel, Connection, ConnectionProperties, Queue as Declared};
use tokio::signal::ctrl_c;
use tokio::time::sleep;

use super::Queue;
use crate::ledger::Ledger;
use crate::{consumer, worker};

const QUEUE: &str = "worker";
const DEAD_LETTERS: &str = "worker.dead";
/// The server's own limit of deliveries is 20 from RabbitMQ 4.0 on. Whoever holds a message when it is killed
/// costs it one, and there are many kills; what is beyond the limit is lost.
const DELIVERY_LIMIT: i32 = 1_000_000;

pub(crate) struct RabbitMq {
    url: String,
    queue: RabbitQueue,
}

impl RabbitMq {
    /// Looks at a queue, over a connection of its own: one that was kept could be lost meanwhile.
    async fn look_at(&self, queue: &str) -> Result<Declared, BoxError> {
        let (_connection, channel) = self.open().await?;
        let passive = QueueDeclareOptions {
            passive: true,
            ..QueueDeclareOptions::default()
        };
        let looked = channel.queue_declare(queue.into(), passive, FieldTable::default());
        Ok(looked.await?)
    }

    async fn open(&self) -> Result<(Connection, Channel), BoxError> {
        let properties = ConnectionProperties::default();
        let connection = Connection::connect(&self.url, properties).await?;
        let channel = connection.create_channel().await?;
        Ok((connection, channel))
    }

    async fn ready(&self, queue: &str) -> Result<usize, BoxError> {
        Ok(usize::try_from(self.look_at(queue).await?.message_count())?)
    }
}

impl Queue for RabbitMq {
    async fn connect(url: &str) -> Result<Self, BoxError> {
        Ok(Self {
            url: url.to_owned(),
            queue: RabbitQueue::new(url, QUEUE).dead_letters_to("", DEAD_LETTERS),
        })
    }

    async fn prepare(&self) -> Result<(), BoxError> {
        let (_connection, channel) = self.open().await?;
        for queue in [QUEUE, DEAD_LETTERS] {
            let always = QueueDeleteOptions::default();
            channel.queue_delete(queue.into(), always).await?;
            let mut arguments = FieldTable::default();
            let kind = AMQPValue::LongString("quorum".into());
            arguments.insert("x-queue-type".into(), kind);
            let limit = AMQPValue::LongInt(DELIVERY_LIMIT);
            arguments.insert("x-delivery-limit".into(), limit);
            let durable = QueueDeclareOptions::durable();
            let declared = channel.queue_declare(queue.into(), durable, arguments);
            declared.await?;
        }
        Ok(())
    }

    async fn publish(&self, message: &Message) -> Result<(), BoxError> {
        Ok(self.queue.publish(message).await?)
    }

    /// What is ready: the protocol does not tell what consumers have and did not settle.
    async fn left(&self) -> Result<usize, BoxError> {
        self.ready(QUEUE).await
    }

    /// What consumers had is ready again, as soon as the server has noticed that they are gone.
    async fn left_behind(&self) -> Result<usize, BoxError> {
        while self.look_at(QUEUE).await?.consumer_count() > 0 {
            sleep(Duration::from_millis(100)).await;
        }
        self.left().await
    }

    async fn dead(&self) -> Result<usize, BoxError> {
        self.ready(DEAD_LETTERS).await
    }

    async fn consume(&self, ledger: &Ledger) -> Result<(), BoxError> {
        let shutdown = async { _ = ctrl_c().await };
        let source = self.queue.open().await?;
        let worker = worker(&consumer(ledger)?, ledger);
        Ok(worker.run(source, shutdown).await?)
    }
}
