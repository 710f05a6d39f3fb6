//! Behind PgBouncer, where each transaction may meet another session of the server.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use idempotent_core::protocol::{Claim, Update};
use idempotent_core::{Engine, Error, Inspect, Query, Store, StoreError};
use idempotent_testkit::server::{PgBouncer, PostgresServer};
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::common::{LEASE, World, client_of, grant, key, request, step, value};

/// T22.
#[tokio::test(flavor = "multi_thread")]
async fn every_operation_works_behind_a_pooler() {
    let world = World::on(PostgresServer::start().unwrap());
    let pooler = PgBouncer::start(&world.server).unwrap();
    let options = world.options().behind_pooler(true);
    let store = options.connect(&pooler.url()).await.unwrap();
    for number in 0..20 {
        let key = key(&number.to_string());
        let grant = grant(&store, &key).await;
        assert_eq!(
            store.renew(&key, &grant, LEASE).await.unwrap(),
            Update::Applied
        );
        store
            .record_step(&key, &grant, &step("charge"), LEASE)
            .await
            .unwrap();
        store.complete(&key, &grant, &value("paid")).await.unwrap();
        let claim = store.claim(&key, &request()).await.unwrap();
        assert!(matches!(claim, Claim::Done(_)), "{claim:?}");
    }
    assert_eq!(store.list(&Query::all()).await.unwrap().entries.len(), 20);
    assert_eq!(store.statistics().await.unwrap().completed, 20);
    assert_eq!(store.purge(10).await.unwrap().records, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn callers_behind_a_pooler_poll() {
    let world = World::on(PostgresServer::start().unwrap());
    let pooler = PgBouncer::start(&world.server).unwrap();
    let options = world.options().behind_pooler(true);
    let engine = Engine::new(options.connect(&pooler.url()).await.unwrap());
    let runs = Arc::new(AtomicUsize::new(0));
    let mut calls = JoinSet::new();
    for _ in 0..32 {
        let (engine, runs) = (engine.clone(), Arc::clone(&runs));
        calls.spawn(async move {
            let charge = engine.operation("payments.charge").key("order-17");
            let body = async {
                sleep(Duration::from_millis(50)).await;
                Ok::<_, Error>(runs.fetch_add(1, Ordering::SeqCst))
            };
            charge.run(body).await.unwrap()
        });
    }
    assert_eq!(calls.join_all().await, [0; 32]);
    assert_eq!(runs.load(Ordering::SeqCst), 1);
}

/// What is prepared in one session is unknown in the next.
#[tokio::test(flavor = "multi_thread")]
async fn a_pooler_that_nobody_told_of_is_a_mistake() {
    let world = World::on(PostgresServer::start().unwrap());
    let pooler = PgBouncer::start(&world.server).unwrap();
    let options = world.options().connections(1);
    let store = options.connect(&pooler.url()).await.unwrap();
    // The pooler has two sessions. Whoever is in a transaction keeps one, and the store gets the other.
    let (first, second) = (
        client_of(&pooler.url()).await,
        client_of(&pooler.url()).await,
    );
    first.batch_execute("BEGIN").await.unwrap();
    let claim = store.claim(&key("prepares"), &request()).await;
    claim.unwrap();
    second.batch_execute("BEGIN").await.unwrap();
    first.batch_execute("ROLLBACK").await.unwrap();
    let failure = store.claim(&key("executes"), &request()).await;
    let failure = failure.unwrap_err();
    assert!(
        matches!(&failure, StoreError::Misconfigured(source) if source.to_string().contains("behind_pooler")),
        "{failure:?}"
    );
}
