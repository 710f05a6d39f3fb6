//! The server: the protocol's one function around a map, behind a socket.

use std::collections::BTreeMap;
use std::io;
use std::net::Ipv4Addr;
use std::sync::Arc;

use anyhow::Result;
use idempotency::protocol::{Operation, Reply, Update, apply};
use idempotency::{Record, Timestamp};
use tokio::task::spawn_local;
use tokio::time::sleep;
use turmoil::net::{TcpListener, TcpStream};

use super::broken;
use super::clock;
use super::scene::Scene;
use super::wire::{Answer, Request, receive, send};
use crate::control::Control;

pub(super) const HOST: &str = "server";
pub(super) const PORT: u16 = 7_000;

/// What a server keeps. It is outside of the host, so that it can survive it.
#[derive(Debug, Default)]
pub(super) struct Records(BTreeMap<String, Option<Record>>);

impl Records {
    pub(super) fn get(&self, key: &str) -> Option<&Record> {
        self.0.get(key)?.as_ref()
    }

    pub(super) fn forget(&mut self) {
        self.0.clear();
    }

    pub(super) fn apply(
        &mut self,
        control: Option<Control>,
        key: &str,
        operation: &Operation,
        now: Timestamp,
    ) -> Reply {
        let slot = self.0.entry(key.to_owned()).or_default();
        match control {
            None => apply(slot, operation, now),
            Some(control) => broken::apply(control, slot, operation, now),
        }
    }
}

/// Serves until the host crashes.
pub(super) async fn serve(scene: Arc<Scene>) -> turmoil::Result {
    scene.server_starts();
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, PORT)).await?;
    loop {
        let (stream, _) = listener.accept().await?;
        let scene = Arc::clone(&scene);
        spawn_local(async move {
            // A client that goes away in the middle of a message has nothing to be told.
            _ = converse(&scene, stream).await;
        });
    }
}

/// Answers one request after the other.
async fn converse(scene: &Scene, mut stream: TcpStream) -> io::Result<()> {
    loop {
        let request: Request = receive(&mut stream).await?;
        let (before, after) = scene.stalls(clock::elapsed());
        sleep(before).await;
        let answer = answer(scene, &request).map_err(io::Error::other)?;
        sleep(after).await;
        send(&mut stream, &answer).await?;
    }
}

fn answer(scene: &Scene, request: &Request) -> Result<Answer> {
    let (operation, now) = (request.operation()?, clock::now());
    let (reply, record) = scene.apply(&request.key, &operation, now);
    Answer::new(&reply, record.as_ref(), now)
}

/// Whether `reply` refuses a completion.
pub(super) const fn refuses(operation: &Operation, reply: &Reply) -> bool {
    matches!(operation, Operation::Complete { .. })
        && matches!(reply, Reply::Update(Update::Lost(_)))
}
