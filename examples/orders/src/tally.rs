//! The counts at the end, and whether they add up.

use std::collections::{BTreeMap, BTreeSet};

use comfy_table::{CellAlignment, Table, presets::UTF8_FULL_CONDENSED};

use crate::deliver::Delivered;
use crate::order::Order;
use crate::screen::Label;

/// What came of all deliveries.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    answers: BTreeMap<Label, usize>,
    orders: BTreeSet<String>,
    retries: u32,
}

/// The rows that the orders file has for the orders that callers were given.
#[derive(Debug, Eq, PartialEq)]
pub(crate) struct Effects {
    pub(crate) rows: usize,
    /// Orders without a row.
    pub(crate) lost: usize,
    /// Rows beyond an order's first.
    pub(crate) repeated: usize,
}

impl Tally {
    pub(crate) fn add(&mut self, delivered: Delivered) {
        *self.answers.entry(delivered.answer).or_default() += 1;
        self.orders.extend(delivered.order.map(|order| order.id));
        self.retries += delivered.retries;
    }

    pub(crate) fn count(&self, answer: Label) -> usize {
        self.answers.get(&answer).copied().unwrap_or_default()
    }

    /// Looks up in the orders file what callers were told.
    pub(crate) fn effects(&self, file: &[Order]) -> Effects {
        let mut lost = self.orders.clone();
        let rows: Vec<_> = file
            .iter()
            .filter(|row| self.orders.contains(&row.id))
            .collect();
        let repeated = rows.iter().filter(|row| !lost.remove(&row.id)).count();
        Effects {
            rows: rows.len(),
            lost: lost.len(),
            repeated,
        }
    }

    pub(crate) fn table(&self, effects: &Effects) -> Table {
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
            ("real effects (rows)", effects.rows),
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
