//! Runs programs where everyone can see them.

use std::{
    env,
    ffi::OsStr,
    io::{self, BufRead, BufReader, IsTerminal, Read, Write},
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::Duration,
};

use anyhow::{Context, Result, anyhow, bail, ensure};

use crate::clock::{Stopwatch, in_words};

/// How often a program with a time limit is looked at.
const POLL: Duration = Duration::from_millis(20);

/// The output of a program that [`run_watched`] reads.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Stream {
    Stderr,
    Stdout,
}

/// The root of the workspace, where every command runs unless it says otherwise.
pub(crate) fn root() -> &'static Path {
    let xtask = Path::new(env!("CARGO_MANIFEST_DIR"));
    xtask.parent().unwrap_or(xtask)
}

/// Prepares a program, without input, to run at the root of the workspace.
pub(crate) fn program(name: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(name);
    command.current_dir(root()).stdin(Stdio::null());
    command
}

/// Prepares the cargo that runs this program, so that a `+toolchain` holds for every step.
pub(crate) fn cargo<A: AsRef<OsStr>>(args: impl IntoIterator<Item = A>) -> Command {
    let mut command = program(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(args);
    command
}

/// Prints the command and runs it with this program's own outputs.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let mut child = start(command)?;
    expect_success(command, child.wait()?)
}

/// Like [`run`], whatever the program's end.
pub(crate) fn complete(command: &mut Command) -> Result<ExitStatus> {
    Ok(start(command)?.wait()?)
}

/// Prints the command, runs it unseen, and returns how it ended and its error output.
pub(crate) fn observe(command: &mut Command) -> Result<(ExitStatus, String)> {
    command.stdout(Stdio::null()).stderr(Stdio::piped());
    let output = start(command)?.wait_with_output()?;
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    Ok((output.status, text))
}

/// Like [`run`], for at most `limit`, and returns what came out of `stream`, without colours.
pub(crate) fn run_watched(
    command: &mut Command,
    stream: Stream,
    limit: Duration,
) -> Result<String> {
    if io::stderr().is_terminal() && env::var_os("NO_COLOR").is_none() {
        // Behind a pipe a program would think that nobody looks.
        command.env("CARGO_TERM_COLOR", "always");
    }
    let mut child;
    let reader = match stream {
        Stream::Stderr => {
            child = start(command.stderr(Stdio::piped()))?;
            let pipe = child.stderr.take().context("the error output is piped")?;
            thread::spawn(move || forward(pipe, io::stderr()))
        }
        Stream::Stdout => {
            child = start(command.stdout(Stdio::piped()))?;
            let pipe = child.stdout.take().context("the output is piped")?;
            thread::spawn(move || forward(pipe, io::stdout()))
        }
    };
    let status = wait(&mut child, command, limit)?;
    let output = reader
        .join()
        .map_err(|_| anyhow!("the reader of the output panicked"))??;
    expect_success(command, status)?;
    Ok(output)
}

/// Runs the command unseen and returns its output.
pub(crate) fn capture(command: &mut Command) -> Result<String> {
    let output = command
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("`{}` does not start", shown(command)))?;
    expect_success(command, output.status)?;
    String::from_utf8(output.stdout)
        .with_context(|| format!("the output of `{}` is not UTF-8", shown(command)))
}

/// Tells whether the command, run unseen, exists and succeeds.
pub(crate) fn succeeds(command: &mut Command) -> bool {
    let status = command.stdout(Stdio::null()).stderr(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}

fn start(command: &mut Command) -> Result<Child> {
    println!("$ {}", shown(command));
    command
        .spawn()
        .with_context(|| format!("`{}` does not start", shown(command)))
}

fn wait(child: &mut Child, command: &Command, limit: Duration) -> Result<ExitStatus> {
    let watch = Stopwatch::start();
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        if watch.elapsed() > limit {
            child.kill()?;
            child.wait()?;
            bail!("`{}` was stopped after {}", shown(command), in_words(limit));
        }
        thread::sleep(POLL);
    }
}

fn expect_success(command: &Command, status: ExitStatus) -> Result<()> {
    ensure!(status.success(), "`{}` ended with {status}", shown(command));
    Ok(())
}

/// Writes each line on as soon as it is there, and returns all of them without colours.
fn forward(input: impl Read, mut output: impl Write) -> io::Result<String> {
    let mut input = BufReader::new(input);
    let mut text = String::new();
    let mut line = Vec::new();
    while input.read_until(b'\n', &mut line)? > 0 {
        output.write_all(&line)?;
        output.flush()?;
        push_without_colours(&mut text, &String::from_utf8_lossy(&line));
        line.clear();
    }
    Ok(text)
}

/// Appends `line` less its colour sequences: an escape character, `[`, and all up to an `m`.
fn push_without_colours(text: &mut String, line: &str) {
    let mut pieces = line.split("\u{1b}[");
    text.push_str(pieces.next().unwrap_or_default());
    for piece in pieces {
        text.push_str(piece.split_once('m').map_or("", |(_, rest)| rest));
    }
}

/// Writes a command as one would type it, with the variables that it sets.
fn shown(command: &Command) -> String {
    let path = command.get_program();
    let program = Path::new(path).file_name().unwrap_or(path);
    let variables = command
        .get_envs()
        .filter_map(|(name, value)| Some(format!("{}={}", name.to_string_lossy(), quoted(value?))));
    variables
        .chain([quoted(program)])
        .chain(command.get_args().map(quoted))
        .collect::<Vec<_>>()
        .join(" ")
}

fn quoted(word: &OsStr) -> String {
    let word = word.to_string_lossy();
    if word.is_empty() || word.contains([' ', '*', '$', '"']) {
        format!("'{word}'")
    } else {
        word.into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_shown_as_one_would_type_it() {
        let mut command = program("/usr/bin/cargo");
        command
            .args(["test", "--doc", "--", "a name"])
            .env("RUSTDOCFLAGS", "-Dwarnings");
        assert_eq!(
            shown(&command),
            "RUSTDOCFLAGS=-Dwarnings cargo test --doc -- 'a name'"
        );
    }

    #[test]
    fn colours_are_left_out() {
        let mut text = String::from("a ");
        push_without_colours(&mut text, "\u{1b}[32;1mgreen\u{1b}[0m line\n");
        assert_eq!(text, "a green line\n");
    }

    #[test]
    fn output_is_returned() {
        let limit = Duration::from_secs(60);
        let output = run_watched(program("echo").arg("seen"), Stream::Stdout, limit);
        assert_eq!(output.unwrap(), "seen\n");
    }

    #[test]
    fn a_program_that_does_not_end_is_stopped() {
        let limit = Duration::from_millis(50);
        let error = run_watched(program("sleep").arg("600"), Stream::Stdout, limit).unwrap_err();
        assert_eq!(error.to_string(), "`sleep 600` was stopped after 0 s");
    }

    #[test]
    fn failure_is_an_error_that_shows_the_command() {
        let error = run(&mut program("false")).unwrap_err();
        assert_eq!(error.to_string(), "`false` ended with exit status: 1");
        assert!(!succeeds(&mut program("no-such-program")));
    }
}
