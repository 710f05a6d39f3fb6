//! The orders file: JSON lines that are only ever appended.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::task::spawn_blocking;

use crate::order::Order;

/// Where the real effects are: an order exists if it has a row here.
#[derive(Debug)]
pub(crate) struct OrdersFile {
    path: PathBuf,
    file: Arc<Mutex<File>>,
}

impl OrdersFile {
    /// Opens the file, or creates it.
    pub(crate) fn open(path: PathBuf) -> io::Result<Self> {
        let file = OpenOptions::new()
            .create(true)
            .append(true)
            .read(true)
            .open(&path)?;
        let file = Arc::new(Mutex::new(file));
        Ok(Self { path, file })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Adds a row. It is on the disk when this returns.
    pub(crate) async fn append(&self, order: &Order) -> io::Result<()> {
        let row = serde_json::to_string(order)?;
        let file = Arc::clone(&self.file);
        spawn_blocking(move || {
            let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
            let start = if ends_in_half_a_row(&mut file)? {
                "\n"
            } else {
                ""
            };
            // One write, so that the rows of several processes do not mix.
            file.write_all(format!("{start}{row}\n").as_bytes())?;
            file.sync_data()
        })
        .await?
    }

    /// Finds an order.
    pub(crate) async fn find(&self, id: &str) -> io::Result<Option<Order>> {
        let rows = self.rows().await?;
        Ok(rows.into_iter().find(|order| order.id == id))
    }

    /// All orders.
    pub(crate) async fn rows(&self) -> io::Result<Vec<Order>> {
        let path = self.path.clone();
        let text = spawn_blocking(|| fs::read(path)).await??;
        // Half a row is no order: whoever wrote it was killed before it knew that it had.
        let rows = text.split(|byte| *byte == b'\n');
        Ok(rows
            .filter_map(|row| serde_json::from_slice(row).ok())
            .collect())
    }
}

/// Whether somebody was killed in the middle of a write, or the disk was full.
fn ends_in_half_a_row(file: &mut File) -> io::Result<bool> {
    if file.seek(SeekFrom::End(0))? == 0 {
        return Ok(false);
    }
    file.seek(SeekFrom::End(-1))?;
    let mut last = [0];
    file.read_exact(&mut last)?;
    Ok(last != *b"\n")
}
