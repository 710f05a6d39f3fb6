//! The program does what it says: each order once, whatever happens to the process.

#![expect(clippy::unwrap_used, reason = "helpers of tests unwrap like tests")]

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::thread::sleep;
use std::time::Duration;

use tempfile::TempDir;

/// How many orders the sample asks for, in 24 deliveries.
const ORDERS: usize = 12;
/// Short, so that a test need not wait long; not so short that a busy machine could lose it.
const LEASE: [&str; 2] = ["--lease", "1s"];

/// A folder to run the program in, again and again.
struct Place(TempDir);

impl Place {
    fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_orders"));
        command.args(LEASE).args(args).current_dir(&self.0);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    fn spawn(&self, args: &[&str]) -> Child {
        self.command(args).spawn().unwrap()
    }

    fn run(&self, args: &[&str]) -> Report {
        Report::of(self.command(args).output().unwrap())
    }

    /// Runs with `input` on standard input.
    fn run_on(&self, input: &[u8], args: &[&str]) -> Report {
        let mut child = self.command(args).stdin(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(input).unwrap();
        Report::of(child.wait_with_output().unwrap())
    }

    /// The ids in an orders file, one for each row.
    fn rows(&self, file: &str) -> Vec<String> {
        let text = fs::read_to_string(self.path().join(file)).unwrap();
        let rows = text
            .lines()
            .filter_map(|row| serde_json::from_str(row).ok());
        rows.map(|row: serde_json::Value| row["id"].as_str().unwrap().to_owned())
            .collect()
    }

    /// Checks that no order is there twice, and none is lost.
    fn assert_each_order_once(&self, file: &str) {
        let rows = self.rows(file);
        assert_eq!(rows.len(), ORDERS, "{rows:?}");
        assert_eq!(
            rows.iter().collect::<BTreeSet<_>>().len(),
            ORDERS,
            "{rows:?}"
        );
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

/// What a run said.
#[derive(Debug)]
struct Report {
    code: Option<i32>,
    text: String,
    errors: String,
}

impl Report {
    fn of(output: Output) -> Self {
        Self {
            code: output.status.code(),
            text: String::from_utf8(output.stdout).unwrap(),
            errors: String::from_utf8(output.stderr).unwrap(),
        }
    }

    fn succeeded(self) -> Self {
        assert_eq!(self.code, Some(0), "{}{}", self.text, self.errors);
        self
    }

    /// A count of the table, or 0 if it has none of that name.
    fn count(&self, name: &str) -> usize {
        let row = self
            .text
            .lines()
            .find(|line| line.starts_with(&format!("│ {name} ")));
        let count = row.and_then(|row| row.split(['┆', '│']).nth(2));
        count.map_or(0, |count| count.trim().parse().unwrap())
    }
}

fn order(request_id: &str, card: &str) -> String {
    format!(
        r#"{{"customer":"ada","request_id":"{request_id}","item":"tea","quantity":1,"price_cents":450,"card":"{card}"}}"#
    )
}

#[test]
fn the_sample_makes_each_order_once() {
    let place = Place::new();
    let report = place.run(&[]).succeeded();
    assert_eq!(report.count("deliveries"), 24);
    assert_eq!(report.count("executed"), ORDERS);
    assert_eq!(report.count("replayed") + report.count("waited"), 11);
    assert_eq!(report.count("mismatches"), 1);
    assert!(report.count("failures retried") >= 2);
    assert_eq!(report.count("real effects (rows)"), ORDERS);
    place.assert_each_order_once("orders-data/orders.jsonl");
}

#[test]
fn a_second_run_replays() {
    let place = Place::new();
    place.run(&[]).succeeded();
    let report = place.run(&[]).succeeded();
    assert_eq!(report.count("executed"), 0);
    assert_eq!(report.count("failures retried"), 0);
    place.assert_each_order_once("orders-data/orders.jsonl");
}

#[test]
fn fresh_starts_over() {
    let place = Place::new();
    place.run(&["--crash-after", "3"]);
    let report = place.run(&["--fresh"]).succeeded();
    assert_eq!(report.count("executed"), ORDERS);
    place.assert_each_order_once("orders-data/orders.jsonl");
}

#[test]
fn after_a_crash_the_next_run_makes_up_for_it() {
    for point in ["before-effect", "after-effect"] {
        for orders in ["1", "4", "12"] {
            let place = Place::new();
            let crashed = place.run(&["--crash-after", orders, "--crash-at", point]);
            assert_ne!(crashed.code, Some(0), "{crashed:?}");
            place.run(&[]).succeeded();
            place.assert_each_order_once("orders-data/orders.jsonl");
        }
    }
}

#[test]
fn an_order_that_was_created_and_not_recorded_is_found_after_a_crash() {
    let place = Place::new();
    let crashed = place.run(&["--workers", "1", "--crash-after", "3"]);
    assert!(
        crashed.errors.contains("killed after order 3 was written"),
        "{crashed:?}"
    );
    let report = place.run(&["--workers", "1"]).succeeded();
    assert!(report.text.contains("recovered"), "{report:?}");
}

#[test]
fn a_program_that_crashes_at_every_order_gets_through() {
    let place = Place::new();
    let input = ["r1", "r2", "r3", "r4"]
        .map(|id| order(id, "good"))
        .join("\n");
    let crashes = (0..8)
        .map(|_| place.run_on(input.as_bytes(), &["--crash-after", "1", "-"]))
        .take_while(|run| run.code != Some(0));
    assert!((1..=4).contains(&crashes.count()));
    assert_eq!(place.rows("orders-data/orders.jsonl").len(), 4);
}

#[test]
fn a_kill_at_any_time_does_no_harm() {
    for milliseconds in [20, 120, 180, 240, 300, 400] {
        let place = Place::new();
        let mut child = place.spawn(&[]);
        sleep(Duration::from_millis(milliseconds));
        child.kill().unwrap();
        child.wait().unwrap();
        place.run(&[]).succeeded();
        place.assert_each_order_once("orders-data/orders.jsonl");
    }
}

#[test]
fn half_a_row_is_not_an_order() {
    let place = Place::new();
    fs::create_dir(place.path().join("orders-data")).unwrap();
    fs::write(
        place.path().join("orders-data/orders.jsonl"),
        r#"{"id":"7nkp"#,
    )
    .unwrap();
    place.run(&[]).succeeded();
    place.assert_each_order_once("orders-data/orders.jsonl");
}

#[test]
fn two_processes_share_the_work() {
    let place = Place::new();
    let runs = [place.spawn(&[]), place.spawn(&[])];
    let reports = runs.map(|run| Report::of(run.wait_with_output().unwrap()).succeeded());
    let executed: usize = reports.iter().map(|report| report.count("executed")).sum();
    assert_eq!(executed, ORDERS, "{reports:?}");
    place.assert_each_order_once("orders-data/orders.jsonl");
}

#[test]
fn memory_starts_from_nothing() {
    let place = Place::new();
    for _ in 0..2 {
        let report = place.run(&["--store", "memory"]).succeeded();
        assert_eq!(report.count("executed"), ORDERS);
        place.assert_each_order_once("orders-data/memory.jsonl");
    }
}

#[test]
fn another_database_has_orders_of_its_own() {
    let place = Place::new();
    place.run(&[]).succeeded();
    let report = place
        .run(&["--store", "sqlite:other/shop.sqlite"])
        .succeeded();
    assert_eq!(report.count("executed"), ORDERS);
    place.assert_each_order_once("other/shop.jsonl");
}

#[test]
fn malformed_lines_are_reported_and_skipped() {
    let place = Place::new();
    let input = [
        order("r1", "good").as_bytes(),
        b"{\"customer\":\"ada\"}",
        b"",
        b"\xff\xfe",
        order("r2", "good").as_bytes(),
        b"null",
        // The last line need not end.
        order("r1", "good").as_bytes(),
    ]
    .join(&b'\n');
    let report = place
        .run_on(&input, &["--store", "memory", "-"])
        .succeeded();
    let malformed = |line: &str| line.contains("malformed ") && line.contains("; skipped");
    let lines = report.text.lines().filter(|line| malformed(line));
    let mut numbers: Vec<_> = lines
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    numbers.sort_unstable();
    assert_eq!(numbers, ["2", "4", "6"]);
    assert_eq!(report.count("malformed lines"), 3);
    assert_eq!(report.count("deliveries"), 6);
    assert_eq!(place.rows("orders-data/memory.jsonl").len(), 2);
}

#[test]
fn an_order_that_cannot_be_created_fails_the_run() {
    let place = Place::new();
    let input = [order("r1", "declined"), order("r2", "good")].join("\n");
    let report = place.run_on(input.as_bytes(), &["-"]);
    assert_eq!(report.code, Some(1), "{report:?}");
    assert!(report.text.contains("the card was declined"), "{report:?}");
    assert_eq!(report.count("refused"), 1);
    assert_eq!(place.rows("orders-data/orders.jsonl").len(), 1);
}

#[test]
fn a_file_can_be_named() {
    let place = Place::new();
    fs::write(place.path().join("mine.jsonl"), order("r1", "flaky")).unwrap();
    let report = place.run(&["mine.jsonl"]).succeeded();
    assert_eq!(report.count("executed"), 1);
    assert_eq!(report.count("failures retried"), 1);

    let report = place.run(&["missing.jsonl"]);
    assert_eq!(report.code, Some(1), "{report:?}");
}

#[test]
fn an_orders_file_of_another_store_is_noticed() {
    let place = Place::new();
    place.run(&[]).succeeded();
    fs::remove_file(place.path().join("orders-data/orders.jsonl")).unwrap();
    let report = place.run(&[]);
    assert_eq!(report.code, Some(1), "{report:?}");
    assert!(
        report.text.contains("0 of 12 orders have exactly one row"),
        "{report:?}"
    );
    place.run(&["--fresh"]).succeeded();
}

#[cfg(unix)]
#[test]
fn ctrl_c_finishes_what_has_begun() {
    let place = Place::new();
    let child = place.spawn(&["--workers", "1"]);
    sleep(Duration::from_millis(400));
    let pid = child.id().to_string();
    assert!(
        Command::new("kill")
            .args(["-INT", &pid])
            .status()
            .unwrap()
            .success()
    );
    let report = Report::of(child.wait_with_output().unwrap());
    assert_eq!(report.code, Some(130), "{report:?}");
    assert!(
        report.text.contains("The rest is for the next run."),
        "{report:?}"
    );
    place.run(&[]).succeeded();
    place.assert_each_order_once("orders-data/orders.jsonl");
}

#[test]
fn nobody_needs_to_listen_to_the_end() {
    let place = Place::new();
    let mut child = place.spawn(&[]);
    drop(child.stdout.take());
    assert!(child.wait().unwrap().success());
    place.assert_each_order_once("orders-data/orders.jsonl");
}

#[cfg(feature = "redis")]
#[test]
fn redis_remembers_across_a_crash() {
    let server = idempotent_testkit::server::RedisServer::start().unwrap();
    remembers_across_a_crash(server.url(), "orders-data/redis.jsonl");
}

#[cfg(feature = "postgres")]
#[test]
fn postgres_remembers_across_a_crash() {
    let server = idempotent_testkit::server::PostgresServer::start().unwrap();
    remembers_across_a_crash(server.url(), "orders-data/postgres.jsonl");
}

#[cfg(any(feature = "postgres", feature = "redis"))]
fn remembers_across_a_crash(url: &str, orders: &str) {
    let store = ["--store", url];
    let place = Place::new();
    let crashed = place.run(&[&store[..], &["--crash-after", "4"]].concat());
    assert_ne!(crashed.code, Some(0), "{crashed:?}");
    place.run(&store).succeeded();
    place.assert_each_order_once(orders);

    let report = place.run(&[&store[..], &["--fresh"]].concat()).succeeded();
    assert_eq!(report.count("executed"), ORDERS);
    let report = place.run(&store).succeeded();
    assert_eq!(report.count("executed"), 0);
    place.assert_each_order_once(orders);
}

#[cfg(not(feature = "redis"))]
#[test]
fn without_redis_it_says_how_to_get_it() {
    let report = Place::new().run(&["--store", "redis://localhost/"]);
    assert_eq!(report.code, Some(1), "{report:?}");
    assert!(
        report
            .errors
            .contains("cargo run -p orders --features redis"),
        "{report:?}"
    );
}

#[cfg(not(feature = "postgres"))]
#[test]
fn without_postgres_it_says_how_to_get_it() {
    let report = Place::new().run(&["--store", "postgres://localhost/"]);
    assert_eq!(report.code, Some(1), "{report:?}");
    assert!(
        report
            .errors
            .contains("cargo run -p orders --features postgres"),
        "{report:?}"
    );
}
