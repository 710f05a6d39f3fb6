//! A store on a server.
//!
//! Its connections belong to tasks of the host itself, as a driver's do: when the host crashes, its
//! local tasks end in the order of their beginning. The runtime's other tasks end in an order that
//! depends on what else this process has done before, and so have no connection that could tell.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Result;
use idempotency::protocol::{
    Claim, ClaimRequest, Completion, Grant, Holder, Release, StepReply, Update,
};
use idempotency::{Key, Step, Store, StoreError, Watch};
use tokio::sync::{mpsc, oneshot};
use tokio::task::spawn_local;
use tokio::time::timeout;
use turmoil::net::TcpStream;

use super::pause::{Paused, Pauses};
use super::server::{HOST, PORT};
use super::wire::{Answer, Request, receive, send};

/// A store on the server.
#[derive(Clone, Debug)]
pub(super) struct Remote(mpsc::UnboundedSender<Question>);

/// A request, and where its answer goes.
type Question = (Request, oneshot::Sender<io::Result<Answer>>);

/// The connections of one process that nobody uses.
#[derive(Clone, Default)]
struct Idle(Arc<Mutex<Vec<TcpStream>>>);

impl Remote {
    /// A store whose process stands still at `pauses`, and that waits `patience` for an answer.
    pub(super) fn connect(patience: Duration, pauses: &Pauses) -> Self {
        let (asks, mut questions) = mpsc::unbounded_channel::<Question>();
        let still = Pauses::clone(pauses);
        spawn_local(Paused::new(pauses, async move {
            let idle = Idle::default();
            while let Some((request, answer)) = questions.recv().await {
                let idle = idle.clone();
                spawn_local(Paused::new(&still, async move {
                    // Whoever has asked may have gone away.
                    _ = answer.send(idle.ask(&request, patience).await);
                }));
            }
        }));
        Self(asks)
    }

    async fn ask(&self, request: Request) -> Result<Answer, StoreError> {
        let (answer, answered) = oneshot::channel();
        _ = self.0.send((request, answer));
        let answer = match answered.await {
            Ok(answer) => answer,
            Err(error) => Err(io::Error::other(error)),
        };
        answer.map_err(|error| StoreError::Unavailable(error.into()))
    }
}

impl Idle {
    async fn ask(&self, request: &Request, patience: Duration) -> io::Result<Answer> {
        let answer = match timeout(patience, self.exchange(request)).await {
            Ok(answer) => answer,
            Err(_) => Err(io::ErrorKind::TimedOut.into()),
        };
        if answer.is_err() {
            // Whatever has happened to one connection has happened to the others.
            self.lock().clear();
        }
        answer
    }

    async fn exchange(&self, request: &Request) -> io::Result<Answer> {
        let idle = self.lock().pop();
        let mut stream = match idle {
            Some(stream) => stream,
            None => TcpStream::connect((HOST, PORT)).await?,
        };
        send(&mut stream, request).await?;
        let answer = receive(&mut stream).await?;
        self.lock().push(stream);
        Ok(answer)
    }

    fn lock(&self) -> MutexGuard<'_, Vec<TcpStream>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a server says that makes no sense is a fault of the simulation itself.
fn understood<T>(answer: Result<T>) -> Result<T, StoreError> {
    answer.map_err(|error| StoreError::Backend(error.into()))
}

impl Store for Remote {
    fn name(&self) -> &'static str {
        "simulated"
    }

    async fn claim(&self, key: &Key, request: &ClaimRequest) -> Result<Claim, StoreError> {
        let asked = Request::claim(key.as_str().to_owned(), request);
        understood(self.ask(asked).await?.claim(request))
    }

    async fn complete(
        &self,
        key: &Key,
        grant: &Grant,
        completion: &Completion,
    ) -> Result<Update, StoreError> {
        let asked = Request::complete(key.as_str().to_owned(), grant, completion);
        understood(self.ask(asked).await?.update(grant.owner))
    }

    async fn record_step(
        &self,
        key: &Key,
        grant: &Grant,
        step: &Step,
        lease: Duration,
    ) -> Result<StepReply, StoreError> {
        let asked = Request::record_step(key.as_str().to_owned(), grant, step, lease);
        understood(self.ask(asked).await?.step(grant.owner))
    }

    async fn release(
        &self,
        key: &Key,
        holder: &Holder,
        release: Release,
    ) -> Result<Update, StoreError> {
        let asked = understood(Request::release(key.as_str().to_owned(), holder, release))?;
        understood(self.ask(asked).await?.update(holder.owner))
    }

    async fn renew(&self, key: &Key, grant: &Grant, lease: Duration) -> Result<Update, StoreError> {
        let asked = Request::renew(key.as_str().to_owned(), grant, lease);
        understood(self.ask(asked).await?.update(grant.owner))
    }

    async fn watch(&self, _: &Key) -> Result<Watch, StoreError> {
        // All that waiters learn, they learn by polling.
        Ok(Watch::never())
    }
}
