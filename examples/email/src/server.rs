//! A mail server with an outbox: a mail that it has taken cannot be taken back.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::PathBuf;
use std::process;
use std::time::Duration;

use tokio::time::sleep;

/// The end of a sender, in the middle of its work.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Death {
    AfterSending,
    BeforeSending,
}

/// The server, at the other end of a connection that takes a while.
#[derive(Debug)]
pub(crate) struct MailServer {
    pub(crate) outbox: PathBuf,
    /// When the process that calls is killed.
    pub(crate) death: Option<Death>,
}

impl MailServer {
    /// Sends a mail, and returns its number in the outbox.
    pub(crate) async fn send(&self, to: &str, text: &str) -> io::Result<usize> {
        sleep(Duration::from_millis(50)).await;
        self.die_at(Death::BeforeSending);
        let number = self.outbox()?.len() + 1;
        let mut outbox = OpenOptions::new()
            .append(true)
            .create(true)
            .open(&self.outbox)?;
        outbox.write_all(format!("{to}: {text}\n").as_bytes())?;
        self.die_at(Death::AfterSending);
        Ok(number)
    }

    /// The mails that have gone out.
    pub(crate) fn outbox(&self) -> io::Result<Vec<String>> {
        match fs::read_to_string(&self.outbox) {
            Ok(text) => Ok(text.lines().map(str::to_owned).collect()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    fn die_at(&self, death: Death) {
        if self.death == Some(death) {
            process::abort();
        }
    }
}
