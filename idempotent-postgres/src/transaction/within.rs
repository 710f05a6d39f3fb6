//! Records in a transaction that the application has opened.

use std::time::Duration;

use idempotent_core::protocol::{Claim, ClaimRequest, Completion, Grant, Update};
use idempotent_core::{Key, RecordsIn, StoreError};

use super::session::{Asking, Completing, Session, ended};
use crate::error::Error;
use crate::store::PostgresStore;

impl PostgresStore {
    /// Behind a pooler, another session may get a statement than the one that has prepared it.
    pub(crate) const fn prepares(&self) -> bool {
        self.notifications.is_some()
    }

    pub(super) async fn claim_within<S: Session>(
        &self,
        session: &mut S,
        key: &Key,
        request: &ClaimRequest,
        patience: Duration,
    ) -> Result<Claim, Error> {
        let asking = Asking::new(self, key, request, patience);
        let values = asking.values()?;
        let claim = &self.records.sql.claim_within;
        let rows = session.ask(claim, &values, self.prepares()).await;
        asking.judge(session, rows).await
    }

    pub(super) async fn complete_within<S: Session>(
        &self,
        session: &mut S,
        key: &Key,
        grant: &Grant,
        completion: &Completion,
    ) -> Result<(), Error> {
        let completing = Completing::new(key, grant, completion)?;
        let (sql, parameters) = completing.statement(&self.records.sql);
        let values = &completing.values()[..parameters];
        let rows = session.ask(sql, values, self.prepares()).await;
        rows.map(drop).map_err(ended)
    }
}

/// Keeps records in a transaction on this connection, of `tokio_postgres::Client` after `BEGIN`, of
/// `tokio_postgres::Transaction`, or of `sqlx::PgConnection` after `begin`.
///
/// A caller of the same key in another transaction is waited for, up to the patience of
/// [`OnConflict`](idempotent_core::OnConflict), by the server. At an isolation of `REPEATABLE READ` and
/// more, the server gives up the one who has waited instead.
impl<S: Session> RecordsIn<S> for PostgresStore {
    fn name(&self) -> &'static str {
        "postgres"
    }

    async fn claim(
        &self,
        connection: &mut S,
        key: &Key,
        request: &ClaimRequest,
        patience: Duration,
    ) -> Result<Claim, StoreError> {
        let claim = self.claim_within(connection, key, request, patience);
        Ok(claim.await?)
    }

    async fn complete(
        &self,
        connection: &mut S,
        key: &Key,
        grant: &Grant,
        completion: &Completion,
    ) -> Result<Update, StoreError> {
        let completed = self.complete_within(connection, key, grant, completion);
        completed.await?;
        Ok(Update::Applied)
    }

    async fn savepoint(&self, connection: &mut S) -> Result<(), StoreError> {
        Ok(connection.execute("SAVEPOINT idempotency").await?)
    }

    async fn release(&self, connection: &mut S) -> Result<(), StoreError> {
        Ok(connection.execute("RELEASE idempotency").await?)
    }

    async fn undo(&self, connection: &mut S) -> Result<(), StoreError> {
        let undo = "ROLLBACK TO idempotency; RELEASE idempotency";
        Ok(connection.execute(undo).await?)
    }
}
