//! Messages in the database, beside the records and the application's rows.

use std::time::Duration;

use futures_util::future::try_join_all;
use idempotent_core::{Message, Taken};

use crate::columns::number;
use crate::error::Error;
use crate::session::Ask;
use crate::store::{PostgresStore, micros};
use crate::transaction::Session;
use crate::value::{Cells, Value};

impl PostgresStore {
    pub(crate) async fn stage_within<S: Session>(
        &self,
        session: &mut S,
        message: &Message,
    ) -> Result<(), Error> {
        let values = [
            message.id.as_str().into(),
            message.topic.as_str().into(),
            (&*message.payload).into(),
        ];
        let stage = &self.records.sql.outbox.stage;
        session.ask(stage, &values, self.prepares()).await.map(drop)
    }

    pub(crate) async fn take(&self, limit: usize, lease: Duration) -> Result<Vec<Taken>, Error> {
        let values = [number(limit)?.into(), micros(lease)?.into()];
        let rows = self
            .ask_outbox(&self.records.sql.outbox.take, &values)
            .await?;
        rows.iter()
            .map(|row| taken(row).ok_or(Error::Reply))
            .collect()
    }

    /// The deletions are sent without a pause between them.
    pub(crate) async fn remove(&self, numbers: &[i64]) -> Result<(), Error> {
        let remove = &self.records.sql.outbox.remove;
        let removals = numbers
            .iter()
            .map(|number| async move { self.ask_outbox(remove, &[(*number).into()]).await });
        try_join_all(removals).await.map(drop)
    }

    pub(crate) async fn put_back(&self, number: i64, pause: Duration) -> Result<(), Error> {
        let values = [number.into(), micros(pause)?.into()];
        let put_back = &self.records.sql.outbox.put_back;
        self.ask_outbox(put_back, &values).await.map(drop)
    }

    async fn ask_outbox(
        &self,
        sql: &str,
        values: &[Value<'_>],
    ) -> Result<Vec<tokio_postgres::Row>, Error> {
        self.records.inspection.ask(Ask::Text(sql), values).await
    }
}

fn taken(row: &impl Cells) -> Option<Taken> {
    let text = |column| row.text(column).ok().flatten();
    let payload = row.bytes(4).ok().flatten()?.to_vec();
    let message = Message::new(text(2)?, text(3)?, payload);
    let attempt = row.number(1).ok().flatten()?;
    let number = row.number(0).ok().flatten()?;
    Some(Taken::new(number, u32::try_from(attempt).ok()?, message))
}

/// The transactions of either driver have the store's outbox.
macro_rules! outbox {
    ($transactions:ty, |$transaction:ident| $session:expr) => {
        impl idempotent_core::Outbox for $transactions {
            async fn stage(
                &self,
                $transaction: &mut Self::Transaction,
                message: &idempotent_core::Message,
            ) -> Result<(), idempotent_core::StoreError> {
                Ok(self.store.stage_within($session, message).await?)
            }

            async fn take(
                &self,
                limit: usize,
                lease: std::time::Duration,
            ) -> Result<Vec<idempotent_core::Taken>, idempotent_core::StoreError> {
                Ok(self.store.take(limit, lease).await?)
            }

            async fn remove(&self, numbers: &[i64]) -> Result<(), idempotent_core::StoreError> {
                Ok(self.store.remove(numbers).await?)
            }

            async fn put_back(
                &self,
                number: i64,
                pause: std::time::Duration,
            ) -> Result<(), idempotent_core::StoreError> {
                Ok(self.store.put_back(number, pause).await?)
            }
        }
    };
}

pub(crate) use outbox;
