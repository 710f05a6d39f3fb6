use futures_util::TryStreamExt;
use tokio::sync::{OnceCell, watch};
use tokio::task::AbortHandle;
use tokio_postgres::{Client, Row, Statement};

use crate::connector::BoxFuture;
use crate::sql::{Sql, Verb};
use crate::value::Value;

type Result<T> = std::result::Result<T, tokio_postgres::Error>;

/// One connection to a server. Statements are sent as they come, and answered in their order.
#[derive(Debug)]
pub(crate) struct Session {
    client: Client,
    driving: AbortHandle,
    /// Closed with the connection.
    ended: watch::Receiver<()>,
    /// None where another session may get a statement than the one that has prepared it.
    prepared: Option<[OnceCell<Statement>; Verb::COUNT]>,
}

impl Session {
    /// Begins to read and write, in a task that ends with the last handle.
    pub(crate) fn start(client: Client, driving: BoxFuture<'static, ()>, prepares: bool) -> Self {
        let (alive, ended) = watch::channel(());
        let driving = tokio::spawn(async move {
            driving.await;
            drop(alive);
        });
        Self {
            client,
            driving: driving.abort_handle(),
            ended,
            prepared: prepares.then_some([const { OnceCell::const_new() }; Verb::COUNT]),
        }
    }

    pub(crate) const fn client(&self) -> &Client {
        &self.client
    }

    pub(crate) const fn client_mut(&mut self) -> &mut Client {
        &mut self.client
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.client.is_closed()
    }

    /// Waits until the connection is closed.
    pub(crate) async fn closed(&self) {
        let mut ended = self.ended.clone();
        while ended.changed().await.is_ok() {}
    }

    /// Cuts the connection. Whoever waits for an answer is told.
    pub(crate) fn abort(&self) {
        self.driving.abort();
    }

    pub(crate) async fn ask(&self, ask: Ask<'_>, values: &[Value<'_>]) -> Result<Vec<Row>> {
        let types = values.iter().map(Value::sql_type);
        let rows = match (ask, &self.prepared) {
            (Ask::Verb(sql, verb), Some(prepared)) => {
                let prepare = || async {
                    let types: Vec<_> = types.collect();
                    self.client.prepare_typed(sql.text(verb), &types).await
                };
                let statement = prepared[verb as usize].get_or_try_init(prepare).await?;
                self.client.query_raw(statement, values).await?
            }
            (Ask::Verb(_, _) | Ask::Text(_), _) => {
                let values = values.iter().zip(types);
                self.client.query_typed_raw(ask.text(), values).await?
            }
        };
        rows.try_collect().await
    }
}

/// A statement.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Ask<'a> {
    /// One that is not worth preparing.
    Text(&'a str),
    /// One of those that are prepared.
    Verb(&'a Sql, Verb),
}

impl<'a> Ask<'a> {
    fn text(self) -> &'a str {
        match self {
            Self::Text(text) => text,
            Self::Verb(sql, verb) => sql.text(verb),
        }
    }
}
