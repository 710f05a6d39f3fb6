//! Several processes on one file, some of which are killed.
//!
//! The children are this test binary itself, told by the environment what to do.

use std::collections::HashMap;
use std::env;
use std::io::{BufRead, BufReader, Lines};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

use idempotent_core::protocol::Claim;
use idempotent_core::{Inspect, State, Store};
use idempotent_sqlite::SqliteStore;

use crate::common::{File, key, request, value};

const PATH: &str = "IDEMPOTENT_SQLITE_TEST_PATH";
const ROLE: &str = "IDEMPOTENT_SQLITE_TEST_ROLE";

/// Marks a child's lines among those of the test harness.
const MARK: &str = "told: ";

/// A process that claims, and is asked what it was granted.
struct Process {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Process {
    fn start(path: &Path, role: &str) -> Self {
        let mut child = Command::new(env::current_exe().unwrap())
            .args([
                "processes::a_child_does_what_its_parent_counts_on",
                "--exact",
                "--nocapture",
            ])
            .env(PATH, path)
            .env(ROLE, role)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    /// What it says next; `None` at its end.
    fn told(&mut self) -> Option<String> {
        self.lines.by_ref().map(Result::unwrap).find_map(|line| {
            // The harness writes the name of the test on the line that the first word comes to.
            line.split_once(MARK).map(|(_, told)| told.to_owned())
        })
    }

    fn end(mut self) -> Vec<String> {
        let told = std::iter::from_fn(|| self.told()).collect();
        assert!(self.child.wait().unwrap().success());
        told
    }

    /// SIGKILL, and what it had said until then.
    fn kill(mut self) -> Vec<String> {
        self.child.kill().unwrap();
        let told = std::iter::from_fn(|| self.told()).collect();
        assert!(
            !self.child.wait().unwrap().success(),
            "it was killed in the middle of its work"
        );
        told
    }
}

/// Run by itself, it claims one key and completes it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_child_does_what_its_parent_counts_on() {
    match env::var(ROLE).ok().as_deref() {
        Some("race") => race(&open_named()).await,
        Some("work") => work(&open_named(), usize::MAX).await,
        Some(role) => panic!("{role}"),
        None => {
            let file = File::new();
            work(&file.store(), 1).await;
            let record = file.store().get(&key("0-0")).await.unwrap().unwrap();
            assert_eq!(record.state, State::Completed);
        }
    }
}

fn open_named() -> SqliteStore {
    SqliteStore::open(env::var_os(PATH).unwrap()).unwrap()
}

/// Claims the same keys as every other process.
async fn race(store: &SqliteStore) {
    let claims = (0..200).map(|number| {
        let store = store.clone();
        tokio::spawn(async move {
            let claim = store
                .claim(&key(&number.to_string()), &request())
                .await
                .unwrap();
            match claim {
                Claim::Granted(_) => println!("{MARK}{number}"),
                Claim::Busy { .. } => {}
                claim => panic!("{claim:?}"),
            }
        })
    });
    for claim in claims.collect::<Vec<_>>() {
        claim.await.unwrap();
    }
}

/// Claims and completes keys of its own, and says so each time that it is answered.
async fn work(store: &SqliteStore, calls: usize) {
    let id = env::var(ROLE).map_or(0, |_| std::process::id());
    let workers = (0..8_usize.min(calls)).map(|worker| {
        let store = store.clone();
        tokio::spawn(async move {
            for number in (worker..calls).step_by(8) {
                let name = format!("{id}-{number}");
                let Claim::Granted(grant) = store.claim(&key(&name), &request()).await.unwrap()
                else {
                    panic!("{name} is this process's own");
                };
                println!("{MARK}{name} {} {}", grant.owner, grant.fence);
                store
                    .complete(&key(&name), &grant, &value(&name))
                    .await
                    .unwrap();
                println!("{MARK}{name} done");
            }
        })
    });
    for worker in workers.collect::<Vec<_>>() {
        worker.await.unwrap();
    }
}

#[tokio::test]
async fn of_two_processes_one_is_granted_each_key() {
    let file = File::new();
    let processes = [(); 2].map(|()| Process::start(&file.path(), "race"));
    let mut granted: Vec<usize> = processes
        .into_iter()
        .flat_map(Process::end)
        .map(|key| key.parse().unwrap())
        .collect();
    granted.sort_unstable();
    assert_eq!(granted, (0..200).collect::<Vec<_>>());
}

/// As at the first start of a service: each finds no file, and all create it.
#[test]
fn processes_that_open_a_new_file_at_once_all_succeed() {
    for _ in 0..5 {
        let file = File::new();
        let processes = [(); 4].map(|()| Process::start(&file.path(), "race"));
        let granted: usize = processes
            .into_iter()
            .map(|process| process.end().len())
            .sum();
        assert_eq!(granted, 200);
    }
}

/// P8, and the promise that an answer is worth something: kill -9 in the middle of the work.
#[tokio::test]
async fn what_was_acknowledged_survives_a_kill() {
    let file = File::new();
    let (mut claims, mut completions) = (HashMap::new(), Vec::new());
    for round in 1..=20 {
        // Two at once: each also goes on after the other's death.
        let mut processes = [(); 2].map(|()| Process::start(&file.path(), "work"));
        let mut told = Vec::new();
        for process in &mut processes {
            told.extend((0..10 * round).map(|_| process.told().unwrap()));
        }
        told.extend(processes.into_iter().flat_map(Process::kill));
        for line in told {
            match line.split(' ').collect::<Vec<_>>()[..] {
                [name, "done"] => completions.push(name.to_owned()),
                [name, owner, fence] => {
                    _ = claims.insert(name.to_owned(), (owner.to_owned(), fence.to_owned()));
                }
                _ => panic!("{line}"),
            }
        }
    }

    let integrity = "PRAGMA integrity_check";
    let integrity: String = file
        .sql()
        .query_row(integrity, [], |row| row.get(0))
        .unwrap();
    assert_eq!(integrity, "ok");
    let store = file.store();
    for (name, (owner, fence)) in &claims {
        let record = store.get(&key(name)).await.unwrap().unwrap();
        assert_eq!(
            (record.owner.to_string(), record.fence.to_string()),
            (owner.clone(), fence.clone())
        );
    }
    for name in &completions {
        let record = store.get(&key(name)).await.unwrap().unwrap();
        assert_eq!(record.state, State::Completed);
        assert_eq!(record.result.bytes, name.as_bytes());
    }
    assert!(
        claims.len() > completions.len(),
        "some were killed between the two"
    );
}
