//! The program, killed, and its database too. `TRANSFER_ROUNDS` asks for more kills than a few.

#![expect(clippy::unwrap_used, reason = "a test, outside of its functions too")]

use std::env;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::thread::sleep;
use std::time::Duration;

const PROGRAM: &str = env!("CARGO_BIN_EXE_transfer");
const GOOD: &str = "Each transfer happened once, and no money came or went.";
/// How many transfers a run makes that is killed. Each begins with those of the one before.
const BATCH: u64 = 20;

fn rounds(usual: u64) -> u64 {
    env::var("TRANSFER_ROUNDS").map_or(usual, |rounds| rounds.parse().unwrap())
}

fn transfer(store: &str, first: u64, transfers: u64) -> Command {
    let mut command = Command::new(PROGRAM);
    command.args(["--store", store, "--clients=16"]);
    command.args([
        format!("--first={first}"),
        format!("--transfers={transfers}"),
    ]);
    command.stdin(Stdio::null());
    command
}

fn finish(store: &str, transfers: u64) -> String {
    let Output { stdout, stderr, .. } = transfer(store, 0, transfers).output().unwrap();
    let text = String::from_utf8(stdout).unwrap();
    assert!(
        text.contains(GOOD),
        "{text}{}",
        String::from_utf8_lossy(&stderr)
    );
    text
}

/// The number in the row of `name`.
fn number(text: &str, name: &str) -> u64 {
    let row = text.lines().find(|line| line.contains(name)).unwrap();
    let cell = row.split('|').nth(2).unwrap();
    cell.trim().parse().unwrap()
}

/// Kills the program at any moment up to `longest`, and lets the next run go on.
fn kill_again_and_again(store: &str, longest: u64) {
    let rounds = rounds(12);
    let mut random = 2_026_u64;
    for round in 0..rounds {
        let first = (round * BATCH).saturating_sub(BATCH);
        let mut command = transfer(store, first, 2 * BATCH);
        let mut child = command
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        sleep(Duration::from_millis((random >> 40) % longest));
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let all = (rounds + 1) * BATCH;
    let text = finish(store, all);
    assert_eq!(number(&text, "rows of the ledger"), all);
    println!("{rounds} kills: {text}");
}

#[test]
fn a_second_run_replays_everything() {
    let folder = tempfile::tempdir().unwrap();
    let store = format!("sqlite:{}", folder.path().join("bank.sqlite").display());
    let first = finish(&store, 50);
    assert_eq!(
        (number(&first, "executed"), number(&first, "replayed")),
        (50, 50)
    );
    let second = finish(&store, 50);
    assert_eq!(
        (number(&second, "executed"), number(&second, "replayed")),
        (0, 100)
    );
}

#[test]
fn a_kill_at_any_moment_loses_nothing_and_doubles_nothing_in_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bank.sqlite");
    kill_again_and_again(&format!("sqlite:{}", path.display()), 100);
    assert!(Path::new(&path).exists());
}

#[cfg(feature = "postgres")]
mod postgres {
    use idempotent_testkit::server::PostgresServer;

    use super::*;

    #[test]
    fn a_kill_at_any_moment_loses_nothing_and_doubles_nothing_on_a_server() {
        let server = PostgresServer::start().unwrap();
        kill_again_and_again(server.url(), 400);
    }

    /// Clients go on while backends are killed, and the server itself.
    #[test]
    fn a_server_that_is_killed_loses_nothing_and_doubles_nothing() {
        let transfers = rounds(400);
        let mut server = PostgresServer::start().unwrap();
        let url = server.url().to_owned();
        let mut command = transfer(&url, 0, transfers);
        let mut child = command.stdout(Stdio::null()).spawn().unwrap();
        let kill = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
                     WHERE pid <> pg_backend_pid() AND backend_type = 'client backend' AND random() < 0.2";
        let (mut backends, mut servers) = (0, 0);
        for look in 1.. {
            if child.try_wait().unwrap().is_some() {
                break;
            }
            sleep(Duration::from_millis(100));
            if look % 20 == 0 && servers < 5 {
                server.kill().unwrap();
                sleep(Duration::from_millis(100));
                server.restart().unwrap();
                servers += 1;
            } else if let Ok(killed) = server.ask(kill) {
                backends += killed.trim().parse::<u64>().unwrap_or_default();
            }
        }
        let text = finish(&url, transfers);
        assert_eq!(number(&text, "rows of the ledger"), transfers);
        assert!(backends > 0, "too tame");
        println!("{backends} backends and {servers} servers killed: {text}");
    }
}
