//! A payment provider that deduplicates by key, and counts.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::sleep;

use crate::crash::{self, Point};

/// The provider's books.
#[derive(Clone, Debug, Default)]
pub(crate) struct Books(Arc<Mutex<HashMap<String, Charge>>>);

/// What was charged under one key.
#[derive(Clone, Copy, Debug)]
struct Charge {
    id: usize,
    ride: u32,
    calls: usize,
}

/// What was charged for one ride.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Charged {
    /// How often the card was charged.
    pub(crate) charges: usize,
    /// How often the provider was asked.
    pub(crate) calls: usize,
}

impl Books {
    /// Opens for business. A charge takes so much `time`.
    pub(crate) async fn open(&self, time: Duration) -> io::Result<SocketAddr> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let books = self.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let books = books.clone();
                tokio::spawn(async move { books.serve(client, time).await });
            }
        });
        Ok(address)
    }

    async fn serve(&self, client: TcpStream, time: Duration) -> io::Result<()> {
        let (input, mut output) = client.into_split();
        let mut lines = BufReader::new(input).lines();
        while let Some(line) = lines.next_line().await? {
            let Some((key, ride)) = line.split_once(' ') else {
                continue;
            };
            sleep(time).await;
            let id = self.charge(key, ride.parse().unwrap_or_default());
            output.write_all(format!("ch_{id}\n").as_bytes()).await?;
        }
        Ok(())
    }

    /// The same key is the same charge.
    fn charge(&self, key: &str, ride: u32) -> usize {
        let mut books = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let id = books.len() + 1;
        let new = Charge { id, ride, calls: 0 };
        let charge = books.entry(key.to_owned()).or_insert(new);
        charge.calls += 1;
        charge.id
    }

    pub(crate) fn of(&self, ride: u32) -> Charged {
        let books = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let charges = books.values().filter(|charge| charge.ride == ride);
        charges.fold(Charged::default(), |charged, charge| Charged {
            charges: charged.charges + 1,
            calls: charged.calls + charge.calls,
        })
    }
}

/// A client of the provider.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Payments(pub(crate) SocketAddr);

impl Payments {
    /// Charges the card for `ride`, once for each `key`.
    pub(crate) async fn charge(&self, ride: u32, key: &str) -> io::Result<String> {
        crash::at(Point::BeforeCharge);
        let mut provider = TcpStream::connect(self.0).await?;
        provider
            .write_all(format!("{key} {ride}\n").as_bytes())
            .await?;
        let mut lines = BufReader::new(provider).lines();
        let id = lines.next_line().await?;
        crash::at(Point::Charged);
        id.ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }
}
