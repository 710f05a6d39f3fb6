//! Looks for inputs that make a parser panic, or say the wrong thing.
//!
//! The targets are built with the compiler's own coverage pass, which is stable, so that nobody needs
//! a nightly toolchain. Whoever has one can use `cargo fuzz run TARGET` as well.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail, ensure};

use crate::{
    process::{capture, cargo, observe, program, root, run as run_command},
    tools,
};

/// What `cargo fuzz` asks of the compiler, less the sanitizers, which are not stable.
const FLAGS: &str = "-Cpasses=sancov-module \
                     -Cllvm-args=-sanitizer-coverage-level=4 \
                     -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
                     -Cllvm-args=-sanitizer-coverage-pc-table \
                     -Cllvm-args=-sanitizer-coverage-trace-compares \
                     -Ccodegen-units=1 --cfg fuzzing";

/// Runs the targets one after the other, for so many seconds each: all of them, even if one finds
/// something, unless some are named.
pub(super) fn run(targets: &[String], seconds: u32) -> Result<()> {
    let targets = select(&all_targets()?, targets)?;
    tools::ensure_cpp_compiler()?;
    let programs = build(&targets)?;
    let mut runs = Vec::new();
    for (target, program) in targets.iter().zip(&programs) {
        let run = Run::of(target, program, seconds)?;
        println!("{}", run.row());
        runs.push(run);
    }
    println!("\n{}", report(&runs));
    let crashed = runs.iter().filter(|run| run.crash.is_some()).count();
    ensure!(crashed == 0, "{crashed} of {} targets crashed", runs.len());
    Ok(())
}

fn all_targets() -> Result<Vec<String>> {
    let mut targets = Vec::new();
    for entry in fs::read_dir(folder().join("fuzz_targets"))? {
        let path = entry?.path();
        let name = path.file_stem().and_then(|name| name.to_str());
        targets.extend(name.map(str::to_owned));
    }
    targets.sort();
    Ok(targets)
}

fn select(all: &[String], wanted: &[String]) -> Result<Vec<String>> {
    if let Some(unknown) = wanted.iter().find(|name| !all.contains(name)) {
        bail!(
            "there is no fuzz target `{unknown}`; there are {}",
            all.join(", ")
        );
    }
    let is_wanted = |name: &&String| wanted.is_empty() || wanted.contains(name);
    Ok(all.iter().filter(is_wanted).cloned().collect())
}

/// Builds the targets, and returns where they are.
fn build(targets: &[String]) -> Result<Vec<PathBuf>> {
    let cargo_version = capture(&mut cargo(["--version", "--verbose"]))?;
    let mut lines = cargo_version.lines();
    let host = lines
        .find_map(|line| line.strip_prefix("host: "))
        .context("`cargo` does not tell what it runs on")?;
    let folder = root().join("target/fuzz");
    // Named, so that build scripts and procedural macros stay as they are.
    let mut command = cargo(["build", "--release", "--manifest-path", "fuzz/Cargo.toml"]);
    command.args(["--target", host]);
    for target in targets {
        command.args(["--bin", target]);
    }
    command
        .env("RUSTFLAGS", FLAGS)
        .env("CARGO_TARGET_DIR", &folder);
    run_command(&mut command)?;
    let release = folder.join(host).join("release");
    Ok(targets.iter().map(|target| release.join(target)).collect())
}

fn folder() -> PathBuf {
    root().join("fuzz")
}

/// What came of one target.
#[derive(Debug, Default, PartialEq)]
struct Run {
    target: String,
    executions: u64,
    edges: u64,
    features: u64,
    crash: Option<Crash>,
}

#[derive(Debug, PartialEq)]
struct Crash {
    /// The panic, or the first thing that tells what happened.
    what: String,
    /// The command that runs the input again.
    replay: String,
}

impl Run {
    fn of(target: &str, path: &Path, seconds: u32) -> Result<Self> {
        let (corpus, artifacts) = (format!("corpus/{target}"), format!("artifacts/{target}"));
        let seeds = format!("seeds/{target}");
        for folder in [&corpus, &artifacts, &seeds] {
            fs::create_dir_all(self::folder().join(folder))?;
        }
        let mut command = program(path);
        command.current_dir(folder());
        command.args([
            &format!("-max_total_time={seconds}"),
            &format!("-artifact_prefix={artifacts}/"),
            "-timeout=10",
            "-print_final_stats=1",
            // What is new goes to the first of these.
            &corpus,
            &seeds,
        ]);
        let dictionary = format!("dictionaries/{target}");
        if folder().join(&dictionary).exists() {
            command.arg(format!("-dict={dictionary}"));
        }
        let (status, output) = observe(&mut command)?;
        let mut run = Self::read(target, &output);
        if !status.success() {
            run.crash = Some(Crash::read(&output, path, status.to_string()));
        }
        Ok(run)
    }

    /// Reads what libFuzzer says: lines such as `#77012 DONE cov: 1912 ft: 4552 corp: ..`.
    fn read(target: &str, output: &str) -> Self {
        let mut run = Self {
            target: target.to_owned(),
            ..Self::default()
        };
        for line in output.lines() {
            let number = |name: &str| {
                let mut words = line.split_whitespace().skip_while(|word| *word != name);
                words.nth(1)?.parse::<u64>().ok()
            };
            run.edges = number("cov:").unwrap_or(run.edges);
            run.features = number("ft:").unwrap_or(run.features);
            run.executions = number("stat::number_of_executed_units:").unwrap_or(run.executions);
        }
        run
    }

    fn row(&self) -> String {
        let Self {
            target,
            executions,
            edges,
            features,
            ..
        } = self;
        let crash = if self.crash.is_some() {
            "crash"
        } else {
            "none"
        };
        format!("{target:<14} {executions:>11} {edges:>7} {features:>9}  {crash}")
    }
}

impl Crash {
    fn read(output: &str, program: &Path, status: String) -> Self {
        let after = |text: &str| {
            let at = output.find(text)? + text.len();
            output[at..].lines().next().map(str::to_owned)
        };
        let mut lines = output.lines();
        let panic = lines.find(|line| line.contains("panicked at"));
        let what = match (panic, lines.next()) {
            (Some(place), Some(message)) => format!("{place} {message}"),
            _ => after("ERROR: libFuzzer: ").unwrap_or(status),
        };
        let artifact = after("Test unit written to ").unwrap_or_default();
        let from_root = |path: &Path| {
            path.strip_prefix(root())
                .unwrap_or(path)
                .display()
                .to_string()
        };
        let input = from_root(&folder().join(artifact));
        Self {
            what,
            replay: format!("{} {input}", from_root(program)),
        }
    }
}

/// A table of the runs, and how to see each crash again.
fn report(runs: &[Run]) -> String {
    let header = format!(
        "{:<14} {:>11} {:>7} {:>9}  crashes",
        "target", "executions", "edges", "features"
    );
    let rows = runs.iter().map(Run::row);
    let crashes = runs.iter().filter_map(|run| {
        let Crash { what, replay } = run.crash.as_ref()?;
        let target = &run.target;
        Some(format!(
            "\n{target}: {what}\n  to run it again: {replay}\n  \
             once it is understood: a test of its own, and the input into fuzz/seeds/{target}"
        ))
    });
    [header]
        .into_iter()
        .chain(rows)
        .chain(crashes)
        .collect::<Vec<_>>()
        .join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    const OUTPUT: &str = "\
INFO: Seed: 1
#2\tINITED cov: 5 ft: 6 corp: 1/1b exec/s: 0 rss: 27Mb
#77\tDONE   cov: 1912 ft: 4552 corp: 852/8793b lim: 43 exec/s: 7001 rss: 32Mb
Done 77 runs in 11 second(s)
stat::number_of_executed_units: 77
";

    #[test]
    fn the_last_figures_of_a_run_are_read() {
        let run = Run::read("texts", OUTPUT);
        assert_eq!((run.executions, run.edges, run.features), (77, 1912, 4552));
        assert_eq!(run.crash, None);
    }

    #[test]
    fn a_crash_says_what_happened_and_how_to_see_it_again() {
        let output = "\
thread '<unnamed>' panicked at src/lib.rs:1:2:
attempt to add with overflow
artifact_prefix='artifacts/texts/'; Test unit written to artifacts/texts/crash-1
";
        let program = root().join("target/fuzz/texts");
        let crash = Crash::read(output, &program, "exit status: 77".to_owned());
        assert!(
            crash
                .what
                .ends_with("src/lib.rs:1:2: attempt to add with overflow")
        );
        assert_eq!(
            crash.replay,
            "target/fuzz/texts fuzz/artifacts/texts/crash-1"
        );
        let silent = Crash::read("", &program, "signal: 6".to_owned());
        assert_eq!(silent.what, "signal: 6");
    }

    #[test]
    fn a_target_that_does_not_exist_is_refused() {
        let all = ["key".to_owned(), "texts".to_owned()];
        assert_eq!(select(&all, &[]).unwrap(), all);
        assert_eq!(select(&all, &all[1..]).unwrap(), all[1..]);
        let error = select(&all, &["kye".to_owned()]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "there is no fuzz target `kye`; there are key, texts"
        );
    }
}
