use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use idempotent_core::StoreError;
use tokio_postgres::config::{SslMode, TargetSessionAttrs};
use tokio_postgres::tls::{MakeTlsConnect, TlsConnect};
use tokio_postgres::{Config, NoTls, Socket};

use crate::connector::Connector;
use crate::error::{Error, Refused};
use crate::link::{Link, Place, Purpose};
use crate::migrate::migrate;
use crate::notify::{Notifications, channel};
use crate::records::Records;
use crate::schema::{DEFAULT_TABLE, Tables};
use crate::server::{QUESTION, Server};
use crate::session::Ask;
use crate::sql::Sql;
use crate::store::PostgresStore;

/// How long a look at all records may take at least.
const INSPECTION: Duration = Duration::from_secs(60);
/// How long a connection is idle before the system asks whether the other side is there.
const KEEPALIVE: Duration = Duration::from_secs(30);
/// How long a peer may leave data unacknowledged before the connection counts as dead. Without it,
/// a connection through a broken network hangs for a quarter of an hour.
const DEAD_AFTER: Duration = Duration::from_secs(10);

/// How a [`PostgresStore`] connects.
///
/// # Examples
///
/// ```no_run
/// // It needs a server.
/// # async fn connect() -> Result<(), idempotent_core::StoreError> {
/// use idempotent_postgres::PostgresStore;
///
/// let store = PostgresStore::options()
///     .schema("payments")
///     .connections(8)
///     .connect("postgres://app@localhost/shop")
///     .await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
#[must_use = "options do nothing until `connect` is called"]
pub struct PostgresOptions {
    behind_pooler: bool,
    connection_timeout: Duration,
    connections: usize,
    migrate: bool,
    response_timeout: Duration,
    schema: Option<String>,
    table: String,
}

impl PostgresOptions {
    pub(crate) fn new() -> Self {
        Self {
            behind_pooler: false,
            connection_timeout: Duration::from_secs(5),
            connections: 4,
            migrate: true,
            response_timeout: Duration::from_secs(5),
            schema: None,
            table: DEFAULT_TABLE.to_owned(),
        }
    }

    /// Sets the schema of the tables. It is created if it is not there. By default the tables are
    /// wherever the user's `search_path` begins.
    ///
    /// Letters, digits and `_`, at most 63.
    pub fn schema(mut self, name: impl Into<String>) -> Self {
        self.schema = Some(name.into());
        self
    }

    /// Sets the name of the table, `idempotency_record` by default, and the beginning of the names of
    /// its index and of the table of steps.
    ///
    /// Letters, digits and `_`, at most 48.
    pub fn table(mut self, name: impl Into<String>) -> Self {
        self.table = name.into();
        self
    }

    /// Sets how many connections carry the operations, 4 by default. Two more are made when they are
    /// needed: one to be told of the ends of attempts, and one to inspect the records.
    ///
    /// A connection carries the statements of any number of callers, but the server works on one at a
    /// time, and waits for its disk after each that changes something. More connections let it flush
    /// for more of them together.
    pub fn connections(mut self, connections: usize) -> Self {
        self.connections = connections.max(1);
        self
    }

    /// Sets how long a connection may take to be made, 5 seconds by default.
    pub fn connection_timeout(mut self, timeout: Duration) -> Self {
        self.connection_timeout = timeout;
        self
    }

    /// Sets how long an answer may take, 5 seconds by default. A statement that was not answered may
    /// have been carried out; the engine then repeats the call. Waiting for a lock, as that of a
    /// transaction that claims the same key, takes half of it at most.
    pub fn response_timeout(mut self, timeout: Duration) -> Self {
        self.response_timeout = timeout;
        self
    }

    /// Sets whether the tables may be created and changed, as they are by default. Without, connecting
    /// fails unless they are of this version; see [`schema_sql`](Self::schema_sql).
    pub fn migrate(mut self, migrate: bool) -> Self {
        self.migrate = migrate;
        self
    }

    /// Says that each statement may meet another session of the server, as behind PgBouncer with
    /// `pool_mode = transaction`.
    ///
    /// Then nothing is prepared, which makes statements dearer, and nothing is set for the session. The
    /// store does not hear of the ends of attempts, so that who waits has to poll. Callers who are
    /// connected to the server itself still hear of all of them.
    pub fn behind_pooler(mut self, pooler: bool) -> Self {
        self.behind_pooler = pooler;
        self
    }

    /// The SQL that creates the tables in a database without them, for those who run their migrations
    /// themselves.
    ///
    /// # Errors
    ///
    /// [`StoreError::Misconfigured`] if a name cannot be used.
    ///
    /// # Examples
    ///
    /// ```
    /// use idempotent_postgres::PostgresStore;
    ///
    /// let sql = PostgresStore::options().schema("payments").schema_sql()?;
    /// assert!(sql.contains(r#"CREATE TABLE "payments"."idempotency_record""#));
    /// # Ok::<(), idempotent_core::StoreError>(())
    /// ```
    pub fn schema_sql(&self) -> Result<String, StoreError> {
        self.tables().map_err(Error::from)?.script()
    }

    /// Connects to the database that `url` names; see [`PostgresStore::connect`].
    ///
    /// With `sslmode=require`, the feature `tls-rustls` is needed. Then the certificate is checked
    /// against the platform's.
    ///
    /// # Errors
    ///
    /// See [`PostgresStore::connect`]. An unusable name is [`StoreError::Misconfigured`] too.
    pub async fn connect(self, url: &str) -> Result<PostgresStore, StoreError> {
        let config = Config::from_str(url).map_err(|error| Refused::Url(Arc::new(error)));
        let config = config.map_err(Error::from)?;
        if config.get_ssl_mode() == SslMode::Require {
            return self.connect_with_tls(config).await;
        }
        self.connect_with(config, NoTls).await
    }

    #[cfg(feature = "tls-rustls")]
    async fn connect_with_tls(self, config: Config) -> Result<PostgresStore, StoreError> {
        self.connect_with(config, crate::tls::connector().map_err(Error::from)?)
            .await
    }

    #[cfg(not(feature = "tls-rustls"))]
    #[expect(clippy::unused_async, reason = "as with the feature")]
    async fn connect_with_tls(self, _: Config) -> Result<PostgresStore, StoreError> {
        Err(Error::from(Refused::NoTls).into())
    }

    /// Connects with the driver's own options, and a connector for TLS, or
    /// [`NoTls`].
    ///
    /// Where `config` names several hosts, the one that can write is looked for.
    ///
    /// # Errors
    ///
    /// As for [`connect`](Self::connect).
    pub async fn connect_with<T>(self, config: Config, tls: T) -> Result<PostgresStore, StoreError>
    where
        T: MakeTlsConnect<Socket> + Clone + Send + Sync + 'static,
        T::Stream: Send + 'static,
        T::TlsConnect: Send,
        <T::TlsConnect as TlsConnect<Socket>>::Future: Send,
    {
        let connected = self.try_connect(config, Box::new(tls)).await;
        connected.map_err(|error| match error {
            // At the start of a program this is a mistake, and later a failover.
            Error::Standby => StoreError::Misconfigured(error.into()),
            error => error.into(),
        })
    }

    async fn try_connect(
        self,
        config: Config,
        connector: Box<dyn Connector>,
    ) -> Result<PostgresStore, Error> {
        let tables = self.tables()?;
        let place = Arc::new(Place {
            config: with_defaults(config),
            connector,
            connection_timeout: self.connection_timeout,
            response_timeout: self.response_timeout,
            behind_pooler: self.behind_pooler,
        });
        set_up(&place, &tables, self.migrate).await?;

        let channel = channel(tables.table());
        let link = |purpose, patience| Link::new(Arc::clone(&place), purpose, patience);
        let links = (0..self.connections).map(|_| link(Purpose::Operations, self.response_timeout));
        let records = Records::new(
            Sql::new(&tables, &channel),
            links.collect(),
            link(Purpose::Inspection, self.response_timeout.max(INSPECTION)),
        );
        let notifications = Notifications::new(place, channel);
        Ok(PostgresStore {
            records: Arc::new(records),
            notifications: (!self.behind_pooler).then(|| Arc::new(notifications)),
        })
    }

    fn tables(&self) -> Result<Tables, Refused> {
        Tables::new(self.schema.as_deref(), &self.table)
    }
}

/// Checks the server and the tables, over a connection that is not shared with anybody.
async fn set_up(place: &Place, tables: &Tables, may_change: bool) -> Result<(), Error> {
    let mut session = place.connect("", Box::new(|_| ())).await?;
    let rows = session.ask(Ask::Text(QUESTION), &[]).await?;
    Server::read(rows.first().ok_or(Error::Reply)?)?.report();
    migrate(session.client_mut(), tables, may_change).await
}

/// Fills in what `config` leaves open.
fn with_defaults(mut config: Config) -> Config {
    if config.get_application_name().is_none() {
        config.application_name(env!("CARGO_PKG_NAME"));
    }
    if config.get_tcp_user_timeout().is_none() {
        config.tcp_user_timeout(DEAD_AFTER);
    }
    if config.get_keepalives_idle() == Config::new().get_keepalives_idle() {
        config.keepalives_idle(KEEPALIVE);
    }
    if config.get_hosts().len() > 1 && config.get_target_session_attrs() == TargetSessionAttrs::Any
    {
        config.target_session_attrs(TargetSessionAttrs::ReadWrite);
    }
    config
}
