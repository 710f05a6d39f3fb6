//! Connecting: tables, names, rights, and what is refused.

use std::env;
use std::process::Command;

use idempotent_core::{Inspect, StoreError};
use idempotent_postgres::{Durability, PostgresStore};
use idempotent_testkit::server::PostgresServer;
use tokio::task::JoinSet;

use crate::common::{World, grant, key};

fn is_misconfigured(connected: Result<PostgresStore, StoreError>) -> bool {
    matches!(connected.unwrap_err(), StoreError::Misconfigured(_))
}

#[tokio::test(flavor = "multi_thread")]
async fn eight_tasks_may_create_the_tables_at_once() {
    let world = World::on_any();
    let mut connecting = JoinSet::new();
    for number in 0..8 {
        let (options, url) = (world.options(), world.server.url().to_owned());
        connecting.spawn(async move {
            let store = options.connect(&url).await.unwrap();
            grant(&store, &key(&number.to_string())).await;
        });
    }
    connecting.join_all().await;
    let store = world.connect().await;
    assert_eq!(store.statistics().await.unwrap().in_progress, 8);
}

#[tokio::test]
async fn eight_processes_may_create_the_tables_at_once() {
    let world = World::on_any();
    let start = || {
        let mut child = Command::new(env::current_exe().unwrap());
        child.args(["open::connects", "--exact", "--ignored"]);
        child
            .env("SERVER", world.server.url())
            .env("SCHEMA", &world.schema);
        child.spawn().unwrap()
    };
    let children: Vec<_> = (0..8).map(|_| start()).collect();
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }
}

#[tokio::test]
#[ignore = "is one of the processes of `eight_processes_may_create_the_tables_at_once`"]
async fn connects() {
    let options = PostgresStore::options().schema(env::var("SCHEMA").unwrap());
    options.connect(&env::var("SERVER").unwrap()).await.unwrap();
}

#[tokio::test]
async fn tables_of_other_names_are_kept_apart() {
    let world = World::on_any();
    let first = world.connect().await;
    let options = world.options().table("Order_idempotency");
    let second = options.connect(world.server.url()).await.unwrap();
    let other = World {
        schema: crate::common::fresh_schema(),
        server: world.server,
    };
    let third = other.connect().await;
    for store in [&first, &second, &third] {
        let grant = grant(store, &key("order")).await;
        assert_eq!(grant.attempt, 1);
    }
}

#[tokio::test]
async fn names_that_are_not_plain_are_refused() {
    let world = World::on_any();
    for name in [
        "",
        "1st",
        "a b",
        "a\"b",
        "a;b",
        "pg_x",
        "idempotency_schema",
        "é",
    ] {
        let options = PostgresStore::options().table(name);
        assert!(
            is_misconfigured(options.connect(world.server.url()).await),
            "{name}"
        );
        let options = PostgresStore::options().schema(name);
        assert!(options.schema_sql().is_err(), "{name}");
    }
    let long = "x".repeat(49);
    assert!(PostgresStore::options().table(long).schema_sql().is_err());
}

#[tokio::test]
async fn the_printed_schema_is_the_one_that_is_created() {
    let world = World::on_any();
    let options = || world.options().migrate(false);
    assert!(is_misconfigured(
        options().connect(world.server.url()).await
    ));
    let sql = options().schema_sql().unwrap();
    world.client().await.batch_execute(&sql).await.unwrap();
    let store = options().connect(world.server.url()).await.unwrap();
    grant(&store, &key("order")).await;
    // And who may migrate has nothing to do.
    world.connect().await;
}

/// The user of an application need not be able to create anything.
#[tokio::test]
async fn the_rights_to_read_and_write_rows_are_enough() {
    let world = World::on(PostgresServer::start().unwrap());
    world.connect().await;
    let schema = &world.schema;
    let grants = format!(
        "CREATE ROLE app LOGIN; GRANT USAGE ON SCHEMA {schema} TO app;
         GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {schema} TO app"
    );
    world.server.ask(&grants).unwrap();
    let url = world.server.url().replace("postgres@", "app@");
    let store = world.options().connect(&url).await.unwrap();
    grant(&store, &key("order")).await;
    assert!(is_misconfigured(
        world.options().table("another").connect(&url).await
    ));
}

#[tokio::test]
async fn newer_tables_are_left_alone() {
    let world = World::on_any();
    world.connect().await;
    let newer = "UPDATE idempotency_schema SET version = 99";
    world.sql(newer, &[]).await;
    let error = world.options().connect(world.server.url()).await;
    let error = error.unwrap_err();
    assert!(
        matches!(error, StoreError::Incompatible { ref format } if format == "table version 99"),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_table_that_is_somebody_elses_is_left_alone() {
    let world = World::on_any();
    let create = format!(
        "CREATE SCHEMA {schema}; CREATE TABLE {schema}.idempotency_record (name text)",
        schema = world.schema
    );
    world.client().await.batch_execute(&create).await.unwrap();
    assert!(is_misconfigured(
        world.options().connect(world.server.url()).await
    ));
    world.sql("SELECT name FROM idempotency_record", &[]).await;
}

#[tokio::test]
async fn what_cannot_be_entered_is_a_mistake_and_not_an_outage() {
    let world = World::on(PostgresServer::start().unwrap());
    let url = world.server.url();
    for url in [
        "not a url".to_owned(),
        url.replace("postgres@", "nobody@"),
        format!("{url}_that_is_not_there"),
    ] {
        assert!(
            is_misconfigured(PostgresStore::connect(&url).await),
            "{url}"
        );
    }
    let nobody_there = PostgresStore::connect("postgres://postgres@127.0.0.1:1/postgres").await;
    let error = nobody_there.unwrap_err();
    assert!(matches!(error, StoreError::Unavailable(_)), "{error:?}");
}

/// Rather than go without.
#[tokio::test]
async fn tls_that_cannot_be_had_is_refused() {
    let url = "postgres://postgres@127.0.0.1:1/postgres?sslmode=require";
    assert!(is_misconfigured(PostgresStore::connect(url).await));
}

#[tokio::test]
async fn the_server_says_what_it_keeps() {
    for (setting, durability) in [
        (("synchronous_commit", "on"), Durability::Disk),
        (("synchronous_commit", "off"), Durability::LastMoments),
        (("fsync", "off"), Durability::Everything),
    ] {
        let builder = PostgresServer::builder().durable();
        let server = builder.setting(setting.0, setting.1).start().unwrap();
        let store = PostgresStore::connect(server.url()).await.unwrap();
        assert_eq!(store.server().await.unwrap().durability, durability);
    }
}
