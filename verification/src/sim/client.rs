//! A client: the engine over a store that knows nothing but a socket.

use std::sync::Arc;
use std::time::Duration;

use idempotency::{Engine, Event, OnConflict};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::clock;
use super::pause::Paused;
use super::plan::{Call, LEASE, PATIENCE, WAIT};
use super::remote::Remote;
use super::scene::{Notes, Scene};
use crate::body::{self, Stage};
use crate::records::Access;
use crate::setup::Effects;
use crate::worker::{Settings, set};

/// How often a client looks whether there is a call to make.
const LOOK: Duration = Duration::from_millis(5);

/// Makes the calls of one client until its host crashes.
pub(super) async fn run(scene: Arc<Scene>, client: usize) -> turmoil::Result {
    let life = scene.client_starts(client);
    let name = format!("c{client}.{life}");
    let pauses = Arc::clone(&scene.plan.clients[client].pauses);
    let store = Remote::connect(scene.plan.clients[client].timeout, &pauses);
    let settings = Settings {
        lease: LEASE,
        patience: PATIENCE,
        mode: scene.plan.variant.mode(),
        control: None,
        access: Access::default(),
        effects: Effects::Lines,
    };
    let events = Notes::new(&scene, name.clone());
    let engine = set(Engine::builder(store), settings)
        .on_conflict(OnConflict::Wait(WAIT))
        .jitter_seed(scene.jitter_seed(client, life))
        .observer(move |event: &Event<'_>| events.note(event))
        .build();
    let journal = Notes::new(&scene, name.clone());
    let stage = Arc::new(Stage::new(name, journal, |_| {}));

    let mut calls = JoinSet::new();
    let making = async {
        loop {
            while let Some(call) = scene.next_call(client, clock::elapsed()) {
                let made = make(Arc::clone(&scene), engine.clone(), Arc::clone(&stage), call);
                calls.spawn_local(Paused::new(&pauses, made));
            }
            while let Some(made) = calls.try_join_next() {
                made?;
            }
            sleep(LOOK).await;
        }
    };
    Paused::new(&pauses, making).await
}

async fn make(scene: Arc<Scene>, engine: Engine, stage: Arc<Stage>, call: Call) {
    let calling = body::call(&engine, stage, call.order.clone());
    let answer = match call.dropped_after {
        None => Some(calling.await),
        Some(patience) => timeout(patience, calling).await.ok(),
    };
    scene.call_ends(&call, answer, clock::elapsed());
}
