//! Many at once: tasks, and processes.

use std::env;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use idempotent_core::protocol::Claim;
use idempotent_core::{Engine, Error, Store};
use tokio::task::JoinSet;

use crate::common::{World, grant, key, request};

const KEYS: usize = 200;

async fn claim_by_64(world: &World, value: &str) -> (usize, usize) {
    let stores = [world.connect().await, world.connect().await];
    let mut claims = JoinSet::new();
    for number in 0..64 {
        let (store, key) = (stores[number % 2].clone(), key(value));
        claims.spawn(async move { store.claim(&key, &request()).await.unwrap() });
    }
    let claims = claims.join_all().await;
    let count = |is: fn(&Claim) -> bool| claims.iter().filter(|claim| is(claim)).count();
    (
        count(|claim| matches!(claim, Claim::Granted(_))),
        count(|claim| matches!(claim, Claim::Busy { .. })),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_claims_have_one_winner() {
    let world = World::on_any();
    for round in 0..20 {
        let outcome = claim_by_64(&world, &round.to_string()).await;
        assert_eq!(outcome, (1, 63));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_takeovers_have_one_winner() {
    let world = World::on_any();
    let store = world.connect().await;
    for round in 0..20 {
        let value = round.to_string();
        grant(&store, &key(&value)).await;
        world.lapse(&key(&value)).await;
        let outcome = claim_by_64(&world, &value).await;
        assert_eq!(outcome, (1, 63));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_64_callers_one_runs_and_all_get_its_answer() {
    let world = World::on_any();
    let stores = [world.connect().await, world.connect().await];
    let engines = stores.map(Engine::new);
    let runs = Arc::new(AtomicUsize::new(0));
    let mut calls = JoinSet::new();
    for number in 0..64 {
        let (engine, runs) = (engines[number % 2].clone(), Arc::clone(&runs));
        calls.spawn(async move {
            let charge = engine.operation("payments.charge").key("order-17");
            let body = async {
                tokio::time::sleep(Duration::from_millis(100)).await;
                Ok::<_, Error>(runs.fetch_add(1, Ordering::SeqCst))
            };
            charge.run(body).await.unwrap()
        });
    }
    assert_eq!(calls.join_all().await, [0; 64]);
    assert_eq!(runs.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn two_processes_share_the_keys_without_overlap() {
    let world = World::on_any();
    let start = || {
        let mut child = Command::new(env::current_exe().unwrap());
        child.args(["races::claims_all_keys", "--exact"]);
        child.args(["--ignored", "--nocapture"]);
        child
            .env("SERVER", world.server.url())
            .env("SCHEMA", &world.schema)
            .stdout(Stdio::piped());
        child.spawn().unwrap()
    };
    let children = [start(), start()];
    let mut won = Vec::new();
    for child in children {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success());
        let text = String::from_utf8(output.stdout).unwrap();
        let lines = text.lines().filter_map(|line| line.strip_prefix("won "));
        won.extend(lines.map(str::to_owned));
    }
    assert_eq!(won.len(), KEYS, "each key was won once");
    won.sort_unstable();
    won.dedup();
    assert_eq!(won.len(), KEYS, "no key was won twice");
}

#[tokio::test]
#[ignore = "is one of the processes of `two_processes_share_the_keys_without_overlap`"]
async fn claims_all_keys() {
    let options = idempotent_postgres::PostgresStore::options();
    let options = options.schema(env::var("SCHEMA").unwrap());
    let store = options.connect(&env::var("SERVER").unwrap()).await.unwrap();
    for index in 0..KEYS {
        if let Claim::Granted(_) = store
            .claim(&key(&index.to_string()), &request())
            .await
            .unwrap()
        {
            println!("\nwon {index}");
        }
    }
}
