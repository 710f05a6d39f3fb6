//! Workers, as the harness sees them: told, listened to, stopped and killed.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use crate::log::{Entry, LogReader};
use crate::message::{Answer, Command, Order, Said};
use crate::worker::WorkerArgs;

/// How long a new worker may take to get ready, on a machine that has a lot to do.
const READY: Duration = Duration::from_secs(30);

/// A running worker. It is killed when this is dropped.
#[derive(Debug)]
pub(crate) struct Worker {
    child: Child,
    pid: Pid,
    input: ChildStdin,
    said: mpsc::UnboundedReceiver<(Instant, Said)>,
    log: LogReader,
}

/// What a call has come to.
#[derive(Clone, Debug)]
pub(crate) enum Heard {
    /// Its body waits at its hook.
    At,
    /// It was answered, at this moment.
    Answer(Instant, Answer),
    /// The worker has ended.
    End,
    /// The worker has said nothing of it in time.
    Nothing,
}

impl Worker {
    /// Starts a worker, and waits until it can be told something.
    pub(crate) async fn start(program: &Path, args: &WorkerArgs) -> Result<Self> {
        let mut child = tokio::process::Command::new(program)
            .arg("worker")
            .args(args.to_arguments())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("`{}` does not start", program.display()))?;
        let input = child.stdin.take().context("the input is piped")?;
        let output = child.stdout.take().context("the output is piped")?;
        let pid = child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
        let (sender, said) = mpsc::unbounded_channel();
        tokio::spawn(listen(output, sender));
        let mut worker = Self {
            pid: pid.context("a running process has an id")?,
            child,
            input,
            said,
            log: LogReader::new(args.log().to_owned()),
        };
        match timeout(READY, worker.said.recv()).await {
            Ok(Some((_, Said::Ready))) => Ok(worker),
            Ok(_) => bail!("a worker has ended at its start"),
            Err(_) => bail!("a worker is not ready after {READY:?}"),
        }
    }

    /// Tells the worker to make a call.
    pub(crate) async fn call(&mut self, order: &Order) -> Result<()> {
        self.tell(&Command::Call(order.clone())).await
    }

    /// Lets the body of `call` go on that waits at its hook.
    pub(crate) async fn go(&mut self, call: u64) -> Result<()> {
        self.tell(&Command::Go(call)).await
    }

    async fn tell(&mut self, command: &Command) -> Result<()> {
        let mut line = serde_json::to_vec(command)?;
        line.push(b'\n');
        let written = self.input.write_all(&line).await;
        written.context("a worker has ended before its time")
    }

    /// Waits for news of `call` until `deadline`.
    pub(crate) async fn hear(&mut self, call: u64, deadline: Instant) -> Heard {
        loop {
            match timeout_at(deadline, self.said.recv()).await {
                Err(_) => return Heard::Nothing,
                Ok(None) => return Heard::End,
                Ok(Some((_, Said::At(of)))) if of == call => return Heard::At,
                Ok(Some((at, Said::Answered(of, answer)))) if of == call => {
                    return Heard::Answer(at, answer);
                }
                // Of a call that nobody waits for any more.
                Ok(Some(_)) => {}
            }
        }
    }

    /// Waits for whatever the worker says next.
    pub(crate) async fn next(&mut self, deadline: Instant) -> Option<(Instant, Said)> {
        timeout_at(deadline, self.said.recv()).await.ok().flatten()
    }

    /// Stops the process where it stands, and returns once it does.
    pub(crate) async fn stop(&self) -> Result<()> {
        kill_process(self.pid, Signal::STOP)?;
        let path = format!("/proc/{}/stat", self.pid.as_raw_nonzero());
        for _ in 0..1000 {
            // `pid (name) state ..`
            let Ok(stat) = std::fs::read_to_string(&path) else {
                // Not on Linux. It stops very soon.
                sleep(Duration::from_millis(5)).await;
                return Ok(());
            };
            let state = stat.rsplit(") ").next().unwrap_or_default();
            if state.starts_with('T') {
                return Ok(());
            }
            sleep(Duration::from_millis(1)).await;
        }
        bail!("a process does not stop")
    }

    /// Lets a stopped process go on.
    pub(crate) fn resume(&self) -> Result<()> {
        Ok(kill_process(self.pid, Signal::CONT)?)
    }

    /// Ends the process by SIGKILL. What it has said until then can still be heard.
    pub(crate) async fn kill(&mut self) -> Result<()> {
        self.child.start_kill()?;
        let status = self.child.wait().await?;
        ensure!(
            !status.success(),
            "a worker has ended by itself before it could be killed"
        );
        Ok(())
    }

    /// What the bodies have written down since the last time.
    pub(crate) fn entries(&mut self) -> Result<Vec<Entry>> {
        self.log.new_entries()
    }
}

/// Passes on what a worker says, with the moment when it was heard. A line without its end is not
/// passed on: the worker was killed while it said it.
async fn listen(output: ChildStdout, sender: mpsc::UnboundedSender<(Instant, Said)>) {
    let mut output = BufReader::new(output);
    let mut line = Vec::new();
    while let Ok(1..) = output.read_until(b'\n', &mut line).await {
        if line.last() == Some(&b'\n')
            && let Ok(said) = serde_json::from_slice(&line)
            && sender.send((Instant::now(), said)).is_err()
        {
            return;
        }
        line.clear();
    }
}
