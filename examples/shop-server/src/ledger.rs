//! The orders: JSON lines that are only ever appended. This is the effect that must not happen twice.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use idempotency::http::IdempotencyContext;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::task::spawn_blocking;

/// Something that was sold, or somebody who became a customer.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Entry {
    pub(crate) id: String,
    pub(crate) caller: String,
    pub(crate) what: Value,
}

/// A handle to the file.
#[derive(Clone, Debug)]
pub(crate) struct Ledger {
    path: PathBuf,
    file: Arc<Mutex<File>>,
}

impl Ledger {
    pub(crate) fn open(folder: &Path) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        let path = folder.join("orders.jsonl");
        let file = OpenOptions::new().create(true).append(true).open(&path)?;
        let file = Arc::new(Mutex::new(file));
        Ok(Self { path, file })
    }

    /// Adds an entry. It is on the disk when this returns.
    pub(crate) async fn add(&self, entry: &Entry) -> io::Result<()> {
        // Whoever was killed in the middle of a line left half of one: the next begins anew.
        let line = format!("\n{}\n", serde_json::to_string(entry)?);
        let file = Arc::clone(&self.file);
        spawn_blocking(move || {
            let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
            file.write_all(line.as_bytes())?;
            file.sync_data()
        })
        .await?
    }

    /// Everything of one caller, whichever process has added it.
    pub(crate) async fn of(&self, caller: &str) -> io::Result<Vec<Entry>> {
        let (path, caller) = (self.path.clone(), caller.to_owned());
        let text = spawn_blocking(|| fs::read(path)).await??;
        let entries = text.split(|byte| *byte == b'\n');
        Ok(entries
            .filter_map(|line| serde_json::from_slice(line).ok())
            .filter(|entry: &Entry| entry.caller == caller)
            .collect())
    }

    /// Adds an entry, unless an attempt before this one has, and died before it was recorded. Returns the
    /// one that is there.
    pub(crate) async fn add_once(
        &self,
        entry: Entry,
        context: Option<&IdempotencyContext>,
    ) -> io::Result<Entry> {
        if context.is_some_and(|context| !context.attempt().is_first()) {
            let entries = self.of(&entry.caller).await?;
            if let Some(made) = entries.into_iter().find(|made| made.id == entry.id) {
                return Ok(made);
            }
        }
        self.add(&entry).await?;
        Ok(entry)
    }
}
