//! The program, whose consumers are killed.

#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "a test, outside of its functions too")]

use std::process::{Command, Output};

fn run(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_worker"))
        .args(arguments)
        .output()
        .unwrap();
    let Output { stdout, stderr, .. } = output;
    let (text, error) = (
        String::from_utf8_lossy(&stdout),
        String::from_utf8_lossy(&stderr),
    );
    assert!(
        text.contains("took effect once, and none was lost"),
        "{text}{error}"
    );
    text.into_owned()
}

/// M7, M8, M12: nothing is lost, and nothing happens twice.
#[test]
fn consumers_that_are_cut_off_lose_nothing() {
    let text = run(&["--messages", "300", "--kill-every", "50"]);
    assert!(!text.contains("| consumers killed    |   0"), "{text}");
}

/// The same with processes.
#[cfg(any(feature = "nats", feature = "rabbitmq", feature = "redis"))]
fn run_processes(url: &str) {
    run(&["--broker", url, "--messages", "200", "--kill-every", "400"]);
}

#[cfg(feature = "nats")]
#[test]
fn consumers_of_nats_that_are_killed_lose_nothing() {
    let server = idempotent_testkit::server::NatsServer::start().unwrap();
    run_processes(server.url());
}

#[cfg(feature = "rabbitmq")]
#[test]
fn consumers_of_rabbitmq_that_are_killed_lose_nothing() {
    let server = idempotent_testkit::server::RabbitServer::start().unwrap();
    run_processes(&server.url());
}

#[cfg(feature = "redis")]
#[test]
fn consumers_of_redis_that_are_killed_lose_nothing() {
    let server = idempotent_testkit::server::RedisServer::start().unwrap();
    run_processes(server.url());
}
