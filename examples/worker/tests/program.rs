//! The program, whose consumers are killed.

#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "a test, outside of its functions too")]

use std::io::{self, BufRead, BufReader};
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::Duration;

/// Runs the program; and `disturb` as soon as everything is published and consumers are at it.
fn run(arguments: &[&str], disturb: Option<&mut dyn FnMut()>) -> String {
    let mut program = Command::new(env!("CARGO_BIN_EXE_worker"))
        .args(arguments)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut errors = BufReader::new(program.stderr.take().unwrap());
    if let Some(disturb) = disturb {
        let mut line = String::new();
        errors.read_line(&mut line).unwrap();
        assert!(line.contains("are published"), "{line}");
        thread::sleep(Duration::from_secs(1));
        disturb();
    }
    let errors = thread::spawn(move || io::read_to_string(errors).unwrap());
    let Output { stdout, .. } = program.wait_with_output().unwrap();
    let text = String::from_utf8(stdout).unwrap();
    let errors = errors.join().unwrap();
    assert!(
        text.contains("took effect once, and none was lost"),
        "{text}{errors}"
    );
    text
}

/// M7, M8, M12: nothing is lost, and nothing happens twice.
#[test]
fn consumers_that_are_cut_off_lose_nothing() {
    let text = run(&["--messages", "300", "--kill-every", "50"], None);
    assert!(!text.contains("| consumers killed    |   0"), "{text}");
}

/// The same with processes, and with a broker that is killed once, too.
#[cfg(any(feature = "nats", feature = "rabbitmq", feature = "redis"))]
fn run_processes(url: &str, mut restart: impl FnMut()) {
    let arguments = ["--broker", url, "--messages", "500", "--kill-every", "500"];
    run(&arguments, Some(&mut restart));
}

#[cfg(feature = "nats")]
#[test]
fn consumers_of_nats_that_are_killed_lose_nothing() {
    let mut server = idempotent_testkit::server::NatsServer::start().unwrap();
    let url = server.url().to_owned();
    run_processes(&url, || server.restart().unwrap());
}

#[cfg(feature = "rabbitmq")]
#[test]
fn consumers_of_rabbitmq_that_are_killed_lose_nothing() {
    let mut server = idempotent_testkit::server::RabbitServer::start().unwrap();
    let url = server.url();
    run_processes(&url, || server.restart().unwrap());
}

#[cfg(feature = "redis")]
#[test]
fn consumers_of_redis_that_are_killed_lose_nothing() {
    let durable = idempotent_testkit::server::RedisServer::builder()
        .arg("--appendonly", "yes")
        .arg("--appendfsync", "always");
    let mut server = durable.start().unwrap();
    let url = server.url().to_owned();
    run_processes(&url, || server.restart().unwrap());
}
