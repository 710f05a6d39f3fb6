use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use std::{io, mem};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::Endpoint;

/// Stands between a client and a server, and breaks the connection at a chosen place.
///
/// It knows nothing of the protocol: a request or reply is whatever arrives at once. So let one
/// command at a time pass when a cut is ordered.
///
/// # Examples
///
/// ```no_run
/// // It needs an installed `redis-server`.
/// use idempotent_testkit::server::{Cut, Proxy, RedisServer};
///
/// # #[tokio::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let server = RedisServer::start()?;
/// let proxy = Proxy::start(server.endpoint()?).await?;
/// println!("connect to redis://{}/", proxy.address());
///
/// // The next command is carried out, and its reply is lost.
/// proxy.cut(Cut::Reply { after: 0 });
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    listener: JoinHandle<()>,
}

/// Where a connection is cut, once.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Cut {
    /// After so many bytes of the next reply. With 0, the request was carried out and no reply came.
    Reply {
        /// How many bytes of it get through.
        after: usize,
    },
    /// After so many bytes of the next request. With 0, the server never sees it.
    Request {
        /// How many bytes of it get through.
        after: usize,
    },
}

#[derive(Debug)]
struct Shared {
    server: Mutex<Endpoint>,
    faults: Mutex<Faults>,
    /// Changes when all connections are to be closed.
    disconnect: watch::Sender<()>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Faults {
    cut: Option<Cut>,
    refuse: bool,
    request_delay: Duration,
    reply_delay: Duration,
}

#[derive(Clone, Copy)]
enum Direction {
    Reply,
    Request,
}

impl Proxy {
    /// Listens on a free port of the loopback interface, and passes everything on to `server`.
    ///
    /// # Errors
    ///
    /// If there is no port to listen on.
    pub async fn start(server: Endpoint) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let faults = Mutex::default();
        let shared = Arc::new(Shared {
            server: Mutex::new(server),
            faults,
            disconnect: watch::Sender::new(()),
        });
        let task = tokio::spawn(Arc::clone(&shared).listen(listener));
        Ok(Self {
            address,
            shared,
            listener: task,
        })
    }

    /// Where to connect.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Cuts the connection on which the next request or reply passes, once.
    pub fn cut(&self, cut: Cut) {
        self.shared.faults().cut = Some(cut);
    }

    /// Whether the ordered cut has been made.
    #[must_use]
    pub fn has_cut(&self) -> bool {
        self.shared.faults().cut.is_none()
    }

    /// Holds every request back for so long.
    pub fn delay_requests(&self, delay: Duration) {
        self.shared.faults().request_delay = delay;
    }

    /// Holds every reply back for so long.
    pub fn delay_replies(&self, delay: Duration) {
        self.shared.faults().reply_delay = delay;
    }

    /// Closes every connection, and each new one at once, until [`accept`](Self::accept).
    pub fn refuse(&self) {
        self.shared.faults().refuse = true;
        self.disconnect();
    }

    /// Lets connections through again.
    pub fn accept(&self) {
        self.shared.faults().refuse = false;
    }

    /// Closes every connection, and passes new ones on to `server`, as the address of a service does
    /// that has moved.
    pub fn redirect(&self, server: Endpoint) {
        *self.shared.server() = server;
        self.disconnect();
    }

    /// Closes every connection. New ones are let through.
    pub fn disconnect(&self) {
        self.shared.disconnect.send_replace(());
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.listener.abort();
        self.disconnect();
    }
}

impl Shared {
    fn faults(&self) -> MutexGuard<'_, Faults> {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn server(&self) -> MutexGuard<'_, Endpoint> {
        self.server.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn listen(self: Arc<Self>, listener: TcpListener) {
        while let Ok((client, _)) = listener.accept().await {
            if !self.faults().refuse {
                tokio::spawn(Arc::clone(&self).serve(client));
            }
        }
    }

    /// Passes bytes in both directions until either side closes, or a fault closes both.
    async fn serve(self: Arc<Self>, client: TcpStream) {
        let mut disconnect = self.disconnect.subscribe();
        _ = client.set_nodelay(true);
        let server = self.server().clone();
        let passed = async {
            match &server {
                Endpoint::Tcp(address) => {
                    let server = TcpStream::connect(address).await?;
                    server.set_nodelay(true)?;
                    self.join(client.into_split(), server.into_split()).await
                }
                Endpoint::Unix(path) => {
                    let server = UnixStream::connect(path).await?;
                    self.join(client.into_split(), server.into_split()).await
                }
            }
        };
        tokio::select! {
            // A broken connection is what a proxy like this is for.
            _ = passed => {}
            _ = disconnect.changed() => {}
        }
    }

    async fn join<R, W, S, T>(&self, client: (R, W), server: (S, T)) -> io::Result<()>
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
        S: AsyncRead + Unpin,
        T: AsyncWrite + Unpin,
    {
        tokio::select! {
            ended = self.pass(client.0, server.1, Direction::Request) => ended,
            ended = self.pass(server.0, client.1, Direction::Reply) => ended,
        }
    }

    async fn pass(
        &self,
        mut from: impl AsyncRead + Unpin,
        mut to: impl AsyncWrite + Unpin,
        direction: Direction,
    ) -> io::Result<()> {
        let mut buffer = vec![0; 64 * 1024];
        loop {
            let length = from.read(&mut buffer).await?;
            if length == 0 {
                return Ok(());
            }
            let delay = match direction {
                Direction::Reply => self.faults().reply_delay,
                Direction::Request => self.faults().request_delay,
            };
            if !delay.is_zero() {
                sleep(delay).await;
            }
            match self.take_cut(direction) {
                None => to.write_all(&buffer[..length]).await?,
                Some(after) => return to.write_all(&buffer[..after.min(length)]).await,
            }
        }
    }

    fn take_cut(&self, direction: Direction) -> Option<usize> {
        let mut faults = self.faults();
        let after = match (faults.cut?, direction) {
            (Cut::Reply { after }, Direction::Reply)
            | (Cut::Request { after }, Direction::Request) => after,
            (Cut::Reply { .. }, Direction::Request) | (Cut::Request { .. }, Direction::Reply) => {
                return None;
            }
        };
        _ = mem::take(&mut faults.cut);
        Some(after)
    }
}
