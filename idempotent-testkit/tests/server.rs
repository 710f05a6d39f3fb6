//! The spawned servers and the proxy do what tests rely on them for.

#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use idempotent_testkit::server::{
    Cut, PostgresServer, Proxy, RedisCluster, RedisServer, ServerError,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

#[test]
fn a_killed_server_starts_again_with_its_files() {
    let builder = RedisServer::builder()
        .arg("--appendonly", "yes")
        .arg("--appendfsync", "always");
    let mut server = builder.start().unwrap();
    server.ask(&["SET", "key", "value"]).unwrap();

    server.kill().unwrap();
    assert!(matches!(server.ask(&["PING"]), Err(ServerError::Io(_))));

    server.restart().unwrap();
    assert_eq!(server.ask(&["GET", "key"]).unwrap(), "value");
}

#[test]
fn a_paused_server_answers_once_it_is_resumed() {
    let server = RedisServer::builder().tcp().start().unwrap();
    server.pause().unwrap();
    let asked = std::thread::scope(|scope| {
        let asked = scope.spawn(|| server.ask(&["PING"]).unwrap());
        std::thread::sleep(Duration::from_millis(100));
        assert!(!asked.is_finished());
        server.resume().unwrap();
        asked.join().unwrap()
    });
    assert_eq!(asked, "PONG");
}

#[test]
fn a_server_that_does_not_start_shows_its_log() {
    let error = RedisServer::builder()
        .arg("--maxmemory-policy", "nonsense")
        .start()
        .unwrap_err();
    assert!(matches!(error, ServerError::NotReady { .. }), "{error}");
}

#[test]
fn commands_are_counted_with_their_cost() {
    let server = RedisServer::start().unwrap();
    server.reset_command_stats().unwrap();
    server.ask(&["SET", "key", "value"]).unwrap();
    server.ask(&["SET", "key", "value"]).unwrap();
    assert_eq!(server.command_stats().unwrap()["set"].calls, 2);
}

#[test]
fn a_cluster_serves_every_slot() {
    let cluster = RedisCluster::start(3).unwrap();
    let answers = |key: &str| {
        let asked = cluster
            .nodes()
            .iter()
            .map(|node| node.ask(&["SET", key, "value"]));
        asked.flatten().count()
    };
    assert_eq!(["a", "b", "c", "d"].map(answers), [1; 4]);
}

#[tokio::test]
async fn a_proxy_cuts_after_the_request_and_within_the_reply() {
    let server = RedisServer::start().unwrap();
    let proxy = Proxy::start(server.endpoint().unwrap()).await.unwrap();

    assert_eq!(send(&proxy, b"SET a 1\r\n").await, b"+OK\r\n");

    proxy.cut(Cut::Reply { after: 0 });
    assert_eq!(send(&proxy, b"SET a 2\r\n").await, b"");
    assert!(proxy.has_cut());
    assert_eq!(server.ask(&["GET", "a"]).unwrap(), "2");

    proxy.cut(Cut::Reply { after: 2 });
    assert_eq!(send(&proxy, b"SET a 3\r\n").await, b"+O");

    proxy.cut(Cut::Request { after: 0 });
    assert_eq!(send(&proxy, b"SET a 4\r\n").await, b"");
    assert_eq!(server.ask(&["GET", "a"]).unwrap(), "3");
}

#[tokio::test]
async fn a_proxy_refuses_and_delays() {
    let server = RedisServer::start().unwrap();
    let proxy = Proxy::start(server.endpoint().unwrap()).await.unwrap();

    proxy.refuse();
    assert_eq!(send(&proxy, b"PING\r\n").await, b"");
    proxy.accept();
    assert_eq!(send(&proxy, b"PING\r\n").await, b"+PONG\r\n");

    proxy.delay_replies(Duration::from_millis(200));
    let asked = timeout(Duration::from_millis(100), send(&proxy, b"SET a 1\r\n"));
    assert!(asked.await.is_err());
    assert_eq!(server.ask(&["GET", "a"]).unwrap(), "1");
}

/// Sends a request over a new connection, and returns what comes of its one-line reply.
async fn send(proxy: &Proxy, request: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
    let mut reply = Vec::new();
    if stream.write_all(request).await.is_ok() {
        while let Ok(byte) = stream.read_u8().await {
            reply.push(byte);
            if byte == b'\n' {
                break;
            }
        }
    }
    reply
}

#[test]
fn a_killed_database_starts_again_with_its_files() {
    let mut server = PostgresServer::builder().durable().start().unwrap();
    server
        .ask("CREATE TABLE kept (value text); INSERT INTO kept VALUES ('value')")
        .unwrap();
    for _ in 0..3 {
        server.kill().unwrap();
        assert!(server.ask("SELECT 1").is_err());
        server.restart().unwrap();
        assert_eq!(server.ask("SELECT * FROM kept").unwrap(), "value");
    }
}

#[test]
fn a_paused_database_answers_once_it_is_resumed() {
    let server = PostgresServer::builder().tcp().start().unwrap();
    server.pause().unwrap();
    let asked = std::thread::scope(|scope| {
        let asked = scope.spawn(|| server.ask("SELECT 1").unwrap());
        std::thread::sleep(Duration::from_millis(200));
        assert!(!asked.is_finished());
        server.resume().unwrap();
        asked.join().unwrap()
    });
    assert_eq!(asked, "1");
}

#[test]
fn a_database_that_does_not_start_shows_its_log() {
    let error = PostgresServer::builder()
        .setting("wal_level", "nonsense")
        .start()
        .unwrap_err();
    assert!(
        matches!(&error, ServerError::NotReady { log } if log.contains("nonsense")),
        "{error}"
    );
}
