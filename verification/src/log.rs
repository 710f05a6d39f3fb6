//! What the bodies of operations write down: the only trace of an effect.
//!
//! Each process has a file of its own, to which it appends each line by one write. A process that is
//! killed can leave a last line without its end, which did not happen.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use idempotency::Clock;
use serde::{Deserialize, Serialize};

/// One line.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub(crate) struct Entry {
    pub(crate) what: What,
    pub(crate) key: String,
    /// The call whose body it is.
    pub(crate) call: u64,
    /// The run of the body, by a name that no other has. It is the body's result, too.
    pub(crate) execution: String,
    pub(crate) attempt: u32,
    pub(crate) fence: u64,
    /// How the attempt before ended, as its letter.
    pub(crate) previous: Option<char>,
    /// When, by the machine's clock, in microseconds.
    pub(crate) at: u64,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub(crate) enum What {
    /// The body began.
    Start,
    /// The effect: what must not happen twice without notice.
    Effect,
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            execution,
            attempt,
            fence,
            ..
        } = self;
        write!(f, "{execution} (attempt {attempt}, fence {fence})")
    }
}

/// Where bodies write down what they do.
pub(crate) trait Journal: fmt::Debug + Send + Sync {
    /// Writes down that `what` happened now.
    fn write(&self, entry: Entry, what: What) -> io::Result<()>;
}

/// The file of one process.
#[derive(Debug)]
pub(crate) struct Log(File);

impl Log {
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let file = OpenOptions::new().create(true).append(true).open(path);
        Ok(Self(file.with_context(|| {
            format!("no log at {}", path.display())
        })?))
    }
}

impl Journal for Log {
    fn write(&self, mut entry: Entry, what: What) -> io::Result<()> {
        entry.what = what;
        entry.at = Clock::system().now().as_micros();
        let mut line = serde_json::to_vec(&entry)?;
        line.push(b'\n');
        (&self.0).write_all(&line)
    }
}

/// Reads what one process has written down.
#[derive(Debug)]
pub(crate) struct LogReader {
    path: PathBuf,
    /// How many bytes have been read, of lines that had their end.
    read: u64,
}

impl LogReader {
    pub(crate) const fn new(path: PathBuf) -> Self {
        Self { path, read: 0 }
    }

    /// The entries since the last time.
    pub(crate) fn new_entries(&mut self) -> Result<Vec<Entry>> {
        let mut text = Vec::new();
        let mut file =
            File::open(&self.path).with_context(|| format!("no log at {}", self.path.display()))?;
        file.seek(SeekFrom::Start(self.read))?;
        file.read_to_end(&mut text)?;
        let end = text.iter().rposition(|byte| *byte == b'\n');
        text.truncate(end.map_or(0, |end| end + 1));
        self.read += text.len() as u64;
        parse(&text)
    }
}

fn parse(text: &[u8]) -> Result<Vec<Entry>> {
    text.split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
        .map(|line| {
            serde_json::from_slice(line).with_context(|| String::from_utf8_lossy(line).into_owned())
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_without_its_end_did_not_happen() {
        let entry = Entry {
            what: What::Effect,
            key: "key".to_owned(),
            call: 1,
            execution: "1-1".to_owned(),
            attempt: 1,
            fence: 7,
            previous: None,
            at: 0,
        };
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        let log = Log::open(&path).unwrap();
        log.write(entry.clone(), What::Effect).unwrap();
        (&log.0).write_all(b"{\"what\":").unwrap();

        let mut reader = LogReader::new(path);
        let entries = reader.new_entries().unwrap();
        let at = entries[0].at;
        assert_eq!(entries, [Entry { at, ..entry }]);
        assert!(reader.new_entries().unwrap().is_empty());
        (&log.0).write_all(b"}\n").unwrap();
        reader.new_entries().unwrap_err();
    }
}
