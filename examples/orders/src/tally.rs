//! The counts at the end, and whether they add up.

use std::collections::BTreeMap;

use comfy_table::{CellAlignment, Table, presets::UTF8_FULL_CONDENSED};

use crate::deliver::Delivered;
use crate::order::Order;
use crate::screen::Label;

/// What came of all deliveries.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    answers: BTreeMap<Label, usize>,
    /// The orders that callers were given, and how many rows each has in the orders file.
    orders: BTreeMap<String, usize>,
    retries: u32,
}

impl Tally {
    pub(crate) fn add(&mut self, delivered: Delivered) {
        *self.answers.entry(delivered.answer).or_default() += 1;
        self.orders
            .extend(delivered.order.map(|order| (order.id, 0)));
        self.retries += delivered.retries;
    }

    /// Compares what callers were told with the orders file.
    pub(crate) fn look_up(&mut self, file: &[Order]) {
        for row in file {
            if let Some(rows) = self.orders.get_mut(&row.id) {
                *rows += 1;
            }
        }
    }

    pub(crate) fn count(&self, answer: Label) -> usize {
        self.answers.get(&answer).copied().unwrap_or_default()
    }

    /// How many different orders callers were given.
    pub(crate) fn orders(&self) -> usize {
        self.orders.len()
    }

    /// How many of them have exactly one row.
    pub(crate) fn created_once(&self) -> usize {
        self.orders.values().filter(|rows| **rows == 1).count()
    }

    pub(crate) fn table(&self) -> Table {
        let executed = [Label::Executed, Label::Recovered, Label::Unrecorded];
        let rows = [
            ("deliveries", self.answers.values().sum()),
            (
                "executed",
                executed.map(|label| self.count(label)).iter().sum(),
            ),
            ("replayed", self.count(Label::Replayed)),
            ("waited", self.count(Label::Waited)),
            ("mismatches", self.count(Label::Mismatch)),
            ("refused", self.count(Label::Refused)),
            ("malformed lines", self.count(Label::Malformed)),
            ("failures retried", self.retries as usize),
            ("distinct orders", self.orders.len()),
            ("real effects (rows)", self.orders.values().sum()),
        ];
        let mut table = Table::new();
        table.load_style(UTF8_FULL_CONDENSED);
        for (name, count) in rows {
            let is_rare = matches!(name, "refused" | "malformed lines");
            table.add_row_if(|_, _| count > 0 || !is_rare, [name, &count.to_string()]);
        }
        if let Some(counts) = table.column_mut(1) {
            counts.set_cell_alignment(CellAlignment::Right);
        }
        table
    }
}
