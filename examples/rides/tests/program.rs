//! The program, whose bookings die at every point, and whose processes are killed.

#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "a test, outside of its functions too")]

use std::process::{Command, Output};

use tempfile::TempDir;

const PROGRAM: &str = env!("CARGO_BIN_EXE_rides");

fn run(arguments: &[&str]) -> String {
    let folder = TempDir::new().unwrap();
    let output = Command::new(PROGRAM)
        .args(arguments)
        .current_dir(folder.path())
        .output();
    let Output {
        status,
        stdout,
        stderr,
    } = output.unwrap();
    let (text, error) = (
        String::from_utf8_lossy(&stdout),
        String::from_utf8_lossy(&stderr),
    );
    assert!(status.success(), "{text}{error}");
    text.into_owned()
}

fn recovers_from_every_crash(store: &[&str]) {
    let text = run(store);
    assert!(
        text.contains("27 of 27 bookings that died were finished once"),
        "{text}"
    );
}

fn survives_random_kills(store: &[&str]) {
    let soak = ["soak", "--rides=60", "--kills=12"];
    let text = run(&[store, &soak].concat());
    assert!(
        text.contains("60 of 60 rides were booked, charged and mailed once"),
        "{text}"
    );
}

/// S-3, S-6, S-7, S-8, S-16.
#[test]
fn every_crash_is_recovered_from_on_sqlite() {
    recovers_from_every_crash(&[]);
}

/// S-18.
#[test]
fn random_kills_do_no_harm_on_sqlite() {
    survives_random_kills(&[]);
}

#[cfg(feature = "postgres")]
#[test]
fn every_crash_and_random_kills_on_postgres() {
    let server = idempotent_testkit::server::PostgresServer::start().unwrap();
    let store = ["--store", server.url()];
    recovers_from_every_crash(&store);
    server
        .ask("TRUNCATE rides, audits, idempotency_record, idempotency_record_step")
        .unwrap();
    survives_random_kills(&store);
}

#[cfg(feature = "redis")]
#[test]
fn every_crash_and_random_kills_on_redis() {
    for test in [recovers_from_every_crash, survives_random_kills] {
        let server = idempotent_testkit::server::RedisServer::start().unwrap();
        test(&["--store", server.url()]);
    }
}

#[test]
fn a_store_that_is_not_known_is_an_error_that_says_which_are() {
    let output = Command::new(PROGRAM)
        .args(["--store", "mysql://"])
        .output()
        .unwrap();
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("sqlite:PATH"));
}
