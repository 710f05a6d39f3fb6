//! Many at once: tasks, and processes.

use std::env;
use std::process::Command;

use idempotent_core::Store;
use idempotent_core::protocol::Claim;
use idempotent_redis::RedisStore;
use tokio::task::JoinSet;

use crate::support::{World, key, request};

const KEYS: usize = 200;

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_claims_have_one_winner() {
    let world = World::start().await;
    for round in 0..50 {
        let mut claims = JoinSet::new();
        for _ in 0..64 {
            let (store, key) = (world.store.clone(), key(&round.to_string()));
            claims.spawn(async move { store.claim(&key, &request()).await.unwrap() });
        }
        let claims = claims.join_all().await;
        let granted = claims
            .iter()
            .filter(|claim| matches!(claim, Claim::Granted(_)))
            .count();
        let busy = claims
            .iter()
            .filter(|claim| matches!(claim, Claim::Busy { .. }))
            .count();
        assert_eq!((granted, busy), (1, 63));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_takeovers_have_one_winner() {
    let world = World::start().await;
    for round in 0..50 {
        let key = key(&round.to_string());
        world.grant(&key, &request()).await;
        world.lapse(&key).await;
        let mut claims = JoinSet::new();
        for _ in 0..64 {
            let (store, key) = (world.store.clone(), key.clone());
            claims.spawn(async move { store.claim(&key, &request()).await.unwrap() });
        }
        let claims = claims.join_all().await;
        let granted = claims
            .iter()
            .filter(|claim| matches!(claim, Claim::Granted(_)))
            .count();
        assert_eq!(granted, 1);
    }
}

#[tokio::test]
async fn two_processes_share_the_keys_without_overlap() {
    let world = World::start().await;
    let start = || {
        let mut child = Command::new(env::current_exe().unwrap());
        child.args([
            "races::claims_all_keys",
            "--exact",
            "--ignored",
            "--nocapture",
        ]);
        child
            .env("SERVER", world.server.url())
            .stdout(std::process::Stdio::piped());
        child.spawn().unwrap()
    };
    let children = [start(), start()];
    let mut won = Vec::new();
    for child in children {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success());
        let text = String::from_utf8(output.stdout).unwrap();
        won.extend(
            text.lines()
                .filter_map(|line| line.strip_prefix("won ").map(str::to_owned)),
        );
    }
    assert_eq!(won.len(), KEYS, "each key was won once");
    won.sort_unstable();
    won.dedup();
    assert_eq!(won.len(), KEYS, "no key was won twice");
}

#[tokio::test]
#[ignore = "is one of the processes of `two_processes_share_the_keys_without_overlap`"]
async fn claims_all_keys() {
    let store = RedisStore::connect(env::var("SERVER").unwrap())
        .await
        .unwrap();
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
