//! A connection that many callers share, and that is made anew when it is lost.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};
use tokio_postgres::{Config, Row, SimpleQueryMessage};

use crate::connector::{Connector, Hear};
use crate::error::Error;
use crate::session::{Ask, Session};
use crate::value::Value;

/// How long nobody tries again after a failure: at first, and at most. An engine gives a claim up after
/// three pauses that add up to 310 ms. If this were longer, a call could fail though the server was
/// back before it began.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(50), Duration::from_millis(250));

/// Whom to connect to, and how.
pub(crate) struct Place {
    pub(crate) config: Config,
    pub(crate) connector: Box<dyn Connector>,
    pub(crate) connection_timeout: Duration,
    pub(crate) response_timeout: Duration,
    /// Whether each statement may meet another session of the server.
    pub(crate) behind_pooler: bool,
}

/// What a connection is for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Purpose {
    /// One long question now and then.
    Inspection,
    /// Short statements, each by its key.
    Operations,
}

pub(crate) struct Link {
    place: Arc<Place>,
    purpose: Purpose,
    patience: Duration,
    current: RwLock<Option<Arc<Session>>>,
    connecting: Mutex<Connecting>,
    running: AtomicUsize,
}

/// For one caller at a time.
#[derive(Default)]
struct Connecting {
    /// Why the last try failed, and until when that is answer enough.
    failure: Option<(Error, Instant)>,
    backoff: Duration,
}

impl Place {
    /// Makes a connection to a server that can write.
    pub(crate) async fn connect(&self, settings: &str, hear: Hear) -> Result<Session, Error> {
        let connecting = async {
            let connected = self.connector.connect(&self.config, hear).await;
            let (client, driving) = connected.map_err(Error::connecting)?;
            let session = Session::start(client, driving, !self.behind_pooler);
            let settings = if self.behind_pooler { "" } else { settings };
            let ask = format!("{settings}SELECT pg_is_in_recovery()");
            let answer = session.client().simple_query(&ask).await;
            let answer = answer.map_err(Error::connecting)?;
            let mut rows = answer.iter().filter_map(|message| match message {
                SimpleQueryMessage::Row(row) => row.get(0),
                _ => None,
            });
            match rows.next() {
                Some("f") => Ok(session),
                Some(_) => Err(Error::Standby),
                None => Err(Error::Reply),
            }
        };
        timeout(self.connection_timeout, connecting)
            .await
            .map_err(|_| Error::Timeout)?
    }
}

impl Link {
    pub(crate) fn new(place: Arc<Place>, purpose: Purpose, patience: Duration) -> Self {
        Self {
            place,
            purpose,
            patience,
            current: RwLock::default(),
            connecting: Mutex::default(),
            running: AtomicUsize::new(0),
        }
    }

    /// How many statements are on their way.
    pub(crate) fn running(&self) -> usize {
        self.running.load(Ordering::Relaxed)
    }

    /// Asks again if the connection turns out to be gone: it may have been so for long, unnoticed.
    /// Each statement may be repeated. If its first run was carried out, it finds its own change.
    pub(crate) async fn ask(&self, ask: Ask<'_>, values: &[Value<'_>]) -> Result<Vec<Row>, Error> {
        let _running = Running::one_more(&self.running);
        match self.ask_once(ask, values).await {
            Err(error) if error.is_lost() => self.ask_once(ask, values).await,
            answer => answer,
        }
    }

    async fn ask_once(&self, ask: Ask<'_>, values: &[Value<'_>]) -> Result<Vec<Row>, Error> {
        let session = self.session().await?;
        let answer = match timeout(self.patience, session.ask(ask, values)).await {
            Ok(answer) => answer.map_err(Error::from),
            Err(_) => Err(Error::Timeout),
        };
        if let Err(error) = &answer
            && (error.is_lost() || error.spoils_connection())
        {
            self.give_up(&session);
        }
        answer
    }

    /// The connection in use, or a new one. Callers that need a new one at the same time share a try,
    /// and its failure.
    async fn session(&self) -> Result<Arc<Session>, Error> {
        if let Some(session) = self.known() {
            return Ok(session);
        }
        let mut connecting = self.connecting.lock().await;
        if let Some(session) = self.known() {
            return Ok(session);
        }
        if let Some((failure, until)) = &connecting.failure
            && Instant::now() < *until
        {
            return Err(failure.clone());
        }
        match self
            .place
            .connect(self.settings().as_str(), Box::new(|_| ()))
            .await
        {
            Ok(session) => {
                *connecting = Connecting::default();
                let session = Arc::new(session);
                let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
                Ok(Arc::clone(current.insert(session)))
            }
            Err(failure) => {
                connecting.fail(failure.clone());
                Err(failure)
            }
        }
    }

    /// What the session is told before its first statement.
    fn settings(&self) -> String {
        // Where a lock is held for long, one statement fails, and not all that share the connection.
        let lock_timeout = (self.patience / 2).as_millis().max(1);
        let plans = match self.purpose {
            Purpose::Inspection => "",
            // A plan is kept for as long as the connection, and may have been made while the table
            // had a single page.
            Purpose::Operations => "SET enable_seqscan = off; ",
        };
        format!(
            "SET default_transaction_isolation = 'read committed'; SET lock_timeout = {lock_timeout}; \
             SET jit = off; {plans}"
        )
    }

    fn known(&self) -> Option<Arc<Session>> {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        current.clone().filter(|session| !session.is_closed())
    }

    /// Ends `session`, and forgets it, unless there is a newer one.
    fn give_up(&self, session: &Arc<Session>) {
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        current.take_if(|current| Arc::ptr_eq(current, session));
        drop(current);
        session.abort();
    }
}

impl Connecting {
    fn fail(&mut self, failure: Error) {
        self.backoff = (self.backoff * 2).clamp(BACKOFF.0, BACKOFF.1);
        self.failure = Some((failure, Instant::now() + self.backoff));
    }
}

/// Counts a statement for as long as somebody waits for it.
struct Running<'a>(&'a AtomicUsize);

impl<'a> Running<'a> {
    fn one_more(running: &'a AtomicUsize) -> Self {
        running.fetch_add(1, Ordering::Relaxed);
        Self(running)
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
