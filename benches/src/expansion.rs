//! What the attribute costs the compiler, beside `tracing::instrument` on the same functions.

use std::env;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

use crate::args::Args;
use crate::clock::Stopwatch;
use crate::progress::Progress;
use crate::rounds::Pair;
use crate::table::{Bar, Row, Table, Unit};

const FUNCTIONS: usize = 500;
const FUNCTIONS_PER_MODULE: usize = 50;
const FLOOR: &str = "#[tracing::instrument(skip(engine))]";
const OURS: &str = r#"#[idempotency::idempotent(key = "{order.customer}:{order.request}", ttl = "24h", engine = engine)]"#;
const PRELUDE: &str = "
use idempotency::{Engine, Error};

pub type Taken<'a> = std::pin::Pin<Box<dyn Future<Output = Result<Receipt, Error>> + Send + 'a>>;

#[derive(Debug, Default, serde::Serialize)]
pub struct Order {
    pub customer: String,
    pub request: String,
    pub quantity: u32,
}

#[derive(Debug, serde::Deserialize, serde::Serialize)]
pub struct Receipt {
    pub text: String,
}
";
const FUNCTION: &str = r#"
    pub async fn take_NUMBER(engine: &Engine, order: Order) -> Result<Receipt, Error> {
        _ = engine;
        let text = format!("{} of NUMBER for {}", order.quantity, order.customer);
        Ok(Receipt { text })
    }
"#;

pub(crate) fn measure(args: &Args, progress: &Progress, table: &mut Table) -> Result<()> {
    let (floor, ours) = (Package::new("floor", FLOOR)?, Package::new("ours", OURS)?);
    for (command, operation) in [
        (
            "check",
            "500 functions: cargo check; floor: tracing::instrument",
        ),
        (
            "build",
            "500 functions: cargo build; floor: tracing::instrument",
        ),
    ] {
        let mut figures = Pair::default();
        // The first time, it compiles what they depend on, too.
        floor.compile(command)?;
        ours.compile(command)?;
        for _ in progress.rounds("expansion, 500 functions", args.rounds(3)) {
            figures.floor.add_time(floor.time(command)?, 1);
            figures.ours.add_time(ours.time(command)?, 1);
        }
        table.add(Row {
            operation,
            callers: 1,
            unit: Unit::Time,
            figures,
            bar: Bar::RatioAtMost(2.0),
        });
    }
    Ok(())
}

/// A package of annotated functions.
struct Package {
    directory: TempDir,
    source: String,
}

impl Package {
    fn new(name: &str, attribute: &str) -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let root = root()?;
        let manifest = format!(
            r#"
[package]
name = "{name}"
edition = "2024"

[dependencies]
idempotency = {{ path = '{facade}' }}
serde = {{ version = "1", features = ["derive"] }}
tracing = {{ version = "0.1", default-features = false, features = ["attributes", "std"] }}

[workspace]
"#,
            facade = root.join("idempotency").display(),
        );
        fs::write(directory.path().join("Cargo.toml"), manifest)?;
        // The same versions as here, which are on this machine already.
        fs::copy(root.join("Cargo.lock"), directory.path().join("Cargo.lock"))?;
        fs::create_dir(directory.path().join("src"))?;
        let source = source(attribute)?;
        Ok(Self { directory, source })
    }

    /// Compiles the package anew by a `command` of cargo. Returns how long that took.
    fn time(&self, command: &str) -> Result<Duration> {
        let watch = Stopwatch::start();
        self.compile(command)?;
        Ok(watch.elapsed())
    }

    fn compile(&self, command: &str) -> Result<()> {
        let directory = self.directory.path();
        fs::write(directory.join("src/lib.rs"), &self.source)?;
        let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let output = Command::new(cargo)
            .args([command, "--quiet"])
            .current_dir(directory)
            .env("CARGO_TARGET_DIR", directory.join("target"))
            // Nothing has changed since the last time, which must not help.
            .env("CARGO_INCREMENTAL", "0")
            .output()
            .context("cargo could not be run")?;
        ensure!(
            output.status.success(),
            "the functions do not compile:\n{}",
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(())
    }
}

/// The root of the workspace.
fn root() -> Result<PathBuf> {
    let benches = Path::new(env!("CARGO_MANIFEST_DIR"));
    let root = benches.parent().context("the package is in a workspace")?;
    Ok(root.to_owned())
}

/// The annotated functions, in modules as people have them, and what makes the compiler generate the
/// code of each: nobody does for an `async fn` that is not used.
fn source(attribute: &str) -> Result<String> {
    let mut source = PRELUDE.to_owned();
    for first in (0..FUNCTIONS).step_by(FUNCTIONS_PER_MODULE) {
        let numbers = first..first + FUNCTIONS_PER_MODULE;
        writeln!(source, "pub mod module_{first} {{\n    use crate::*;\n")?;
        for number in numbers.clone() {
            let function = FUNCTION.replace("NUMBER", &number.to_string());
            writeln!(source, "    {attribute}{function}")?;
        }
        writeln!(
            source,
            "    pub fn all(engine: &Engine) -> Vec<Taken<'_>> {{\n        vec!["
        )?;
        for number in numbers {
            writeln!(
                source,
                "            Box::pin(take_{number}(engine, Order::default())),"
            )?;
        }
        writeln!(source, "        ]\n    }}\n}}")?;
    }
    Ok(source)
}
