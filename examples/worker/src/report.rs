//! What came of it.

use std::fmt;

use comfy_table::{Cell, CellAlignment, Table, presets};

use crate::POISONS;
use crate::ledger::Rows;

#[derive(Clone, Debug)]
pub(crate) struct Report {
    pub(crate) published: usize,
    pub(crate) messages: u32,
    /// Nobody has seen it all where consumers are processes: they take their counts along.
    pub(crate) seen: Option<Seen>,
    pub(crate) kills: usize,
    pub(crate) rows: Rows,
    pub(crate) dead_letters: usize,
    /// What the broker still has.
    pub(crate) left: usize,
}

/// What the broker and the consumers have counted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen {
    pub(crate) deliveries: u64,
    /// Of messages that had taken effect before.
    pub(crate) duplicates: u64,
    /// After failures.
    pub(crate) retries: u64,
}

impl Report {
    pub(crate) fn is_good(&self) -> bool {
        let once = Rows {
            rows: self.messages,
            messages: self.messages,
        };
        self.rows == once && self.dead_letters >= POISONS && self.left == 0
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = Table::new();
        table.load_style(presets::ASCII_MARKDOWN);
        let seen = |count: fn(Seen) -> u64| {
            let count = self.seen.map(count);
            count.map_or_else(|| "-".to_owned(), |count| count.to_string())
        };
        let rows = [
            ("published", self.published.to_string()),
            ("deliveries", seen(|seen| seen.deliveries)),
            ("duplicates", seen(|seen| seen.duplicates)),
            ("retries", seen(|seen| seen.retries)),
            ("consumers killed", self.kills.to_string()),
            ("rows", self.rows.rows.to_string()),
            ("messages with a row", self.rows.messages.to_string()),
            ("dead letters", self.dead_letters.to_string()),
            ("left in the broker", self.left.to_string()),
        ];
        for (name, count) in rows {
            let count = Cell::new(count).set_alignment(CellAlignment::Right);
            table.add_row([Cell::new(name), count]);
        }
        writeln!(f, "{table}\n")?;
        if self.is_good() {
            let messages = self.messages;
            write!(
                f,
                "Each of {messages} messages took effect once, and none was lost."
            )
        } else {
            write!(f, "Something is wrong.")
        }
    }
}
