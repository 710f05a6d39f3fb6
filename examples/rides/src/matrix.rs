//! Every crash, every recovery.

use std::collections::HashMap;
use std::fmt;
use std::net::SocketAddr;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use clap::ValueEnum;
use comfy_table::Table;
use comfy_table::presets::ASCII_MARKDOWN;
use idempotency::BoxError;
use tokio::process::Command;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::args::{Args, StoreChoice};
use crate::crash::Point;
use crate::payments::{Books, Charged};
use crate::ride::{LEASE, Rows, Shop};

/// How long a charge takes.
const CHARGE_TIME: Duration = Duration::from_millis(5);

/// How a booking that has died is recovered.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Recovery {
    /// The client calls again at once.
    Retry,
    /// The client calls again when the lease is over.
    Late,
    /// No client calls.
    Completer,
}

/// One crash and its recovery.
#[derive(Clone, Debug)]
struct Cell {
    ride: u32,
    point: Point,
    recovery: Recovery,
}

/// What came of it.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Outcome {
    rows: Rows,
    charged: Charged,
    receipts: usize,
    answers: Vec<String>,
}

/// What it takes to start this program again.
#[derive(Clone, Debug)]
pub(crate) struct Program {
    store: String,
    rows: String,
    payments: SocketAddr,
}

impl Program {
    pub(crate) fn new(args: &Args, store: &StoreChoice, payments: SocketAddr) -> Self {
        Self {
            store: store.argument(),
            rows: args.rows.display().to_string(),
            payments,
        }
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Result<Command, BoxError> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["--store", &self.store, "--rows", &self.rows]);
        command.args(["--payments", &self.payments.to_string()]);
        command
            .args(arguments)
            .stdin(Stdio::null())
            .kill_on_drop(true);
        Ok(command)
    }

    /// Books a ride, and returns the answer.
    async fn book(&self, ride: u32) -> Result<String, BoxError> {
        let output = self.command(&["book", &ride.to_string()])?.output().await?;
        if output.status.success() {
            return Ok(String::from_utf8(output.stdout)?.trim().to_owned());
        }
        Err(String::from_utf8_lossy(&output.stderr).into_owned().into())
    }

    async fn die(&self, ride: u32, point: Point) -> Result<(), BoxError> {
        let name = name(point);
        let (ride, at) = (ride.to_string(), format!("--crash-at={name}"));
        let status = self
            .command(&["book", &ride, &at])?
            .stdout(Stdio::null())
            .status()
            .await?;
        if was_killed(status) {
            return Ok(());
        }
        Err(format!("the booking should have died at {name}, and ended with {status}").into())
    }
}

fn was_killed(status: ExitStatus) -> bool {
    !status.success() && status.code().is_none()
}

fn name(point: Point) -> String {
    point
        .to_possible_value()
        .map(|value| value.get_name().to_owned())
        .unwrap_or_default()
}

impl Cell {
    /// Dies, and recovers. Returns the client's answers, the last of them to a repetition.
    async fn play(&self, program: &Program) -> Result<Vec<String>, BoxError> {
        program.die(self.ride, self.point).await?;
        if self.recovery != Recovery::Retry {
            sleep(LEASE + LEASE / 4).await;
        }
        if self.recovery == Recovery::Completer {
            let status = program
                .command(&["complete", "--once"])?
                .stdout(Stdio::null())
                .status();
            if !status.await?.success() {
                return Err("the completer failed".into());
            }
        }
        Ok(vec![
            program.book(self.ride).await?,
            program.book(self.ride).await?,
        ])
    }
}

impl Outcome {
    /// One ride, one entry of its audit, one charge, one receipt, and one answer.
    fn is_good(&self, cell: &Cell, ends_at_once: bool) -> bool {
        let answers: Vec<_> = self
            .answers
            .iter()
            .map(|answer| answer.split(' ').next())
            .collect();
        // A completer cannot know of a booking that died before its claim.
        let executes = cell.recovery != Recovery::Completer || cell.point == Point::Start;
        let executes = executes && !(cell.point == Point::BeforeReply && ends_at_once);
        self.rows
            == Rows {
                rides: 1,
                audits: 1,
            }
            && self.charged.charges == 1
            && self.receipts == 1
            && answers.windows(2).all(|pair| pair[0] == pair[1])
            && self.answers[0].ends_with("executed") == executes
            && self.answers[1].ends_with("replayed")
    }
}

/// Plays all cells, and shows what came of them. Returns whether all is as it should be.
pub(crate) async fn show<S: Shop>(
    args: &Args,
    store: &StoreChoice,
    shop: S,
) -> Result<bool, BoxError> {
    let books = Books::default();
    let program = Program::new(args, store, books.open(CHARGE_TIME).await?);
    let recoveries = [Recovery::Retry, Recovery::Late, Recovery::Completer];
    let points = Point::value_variants();
    let mut played = Vec::new();
    // One after the other: a completer would not leave the others' bookings alone.
    for (recovery, first) in recoveries.into_iter().zip(0..) {
        let mut playing = JoinSet::new();
        for (point, ride) in points
            .iter()
            .copied()
            .zip((first..).step_by(recoveries.len()))
        {
            let program = program.clone();
            let cell = Cell {
                ride,
                point,
                recovery,
            };
            playing.spawn(async move { (cell.play(&program).await, cell) });
        }
        played.extend(playing.join_all().await);
    }
    played.sort_unstable_by_key(|(_, cell)| cell.ride);
    let receipts = count(&shop.send().await?);

    let mut table = Table::new();
    table.load_style(ASCII_MARKDOWN);
    table.set_header([
        "dies", "then", "rides", "audits", "charges", "asked", "receipts", "answer", "again",
    ]);
    let mut bad = 0;
    for (answers, cell) in played {
        let outcome = Outcome {
            rows: shop.rows(cell.ride).await?,
            charged: books.of(cell.ride),
            receipts: receipts.get(&cell.ride).copied().unwrap_or_default(),
            answers: answers?,
        };
        bad += usize::from(!outcome.is_good(&cell, S::ENDS_AT_ONCE));
        table.add_row(row(&cell, &outcome));
    }
    println!("{table}\n");
    let cells = points.len() * recoveries.len();
    println!(
        "{} of {cells} bookings that died were finished once, on {store}.",
        cells - bad
    );
    Ok(bad == 0)
}

fn row(cell: &Cell, outcome: &Outcome) -> Vec<String> {
    let Outcome {
        rows,
        charged,
        receipts,
        answers,
    } = outcome;
    let counts = [rows.rides, rows.audits].map(|count| count.to_string());
    let more = [charged.charges, charged.calls, *receipts].map(|count| count.to_string());
    let mut row = vec![name(cell.point), cell.recovery.to_string()];
    row.extend(counts);
    row.extend(more);
    row.extend(answers.iter().cloned());
    row
}

/// How often each is there.
pub(crate) fn count(rides: &[u32]) -> HashMap<u32, usize> {
    let mut counts = HashMap::new();
    for ride in rides {
        *counts.entry(*ride).or_default() += 1;
    }
    counts
}

impl fmt::Display for Recovery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Retry => "retry at once",
            Self::Late => "retry after the lease",
            Self::Completer => "completer",
        })
    }
}
