//! What came of it.

use comfy_table::{Cell, CellAlignment, Table, presets};

use crate::bank::Books;
use crate::requests::{ACCOUNTS, OPENING};
use crate::work::Tally;

pub(crate) fn table(tally: &Tally, books: &Books) -> String {
    let mut table = Table::new();
    table.load_style(presets::ASCII_MARKDOWN);
    let counts = [
        ("requests sent", tally.executed + tally.replayed),
        ("executed", tally.executed),
        ("replayed", tally.replayed),
        ("failed, and sent again", tally.failed),
        ("unequal receipts", tally.unequal),
    ];
    let counts = counts.map(|(name, count)| (name, count.to_string()));
    let held = [
        ("rows of the ledger", books.rows),
        ("requests in the ledger", books.requests),
        ("cents in all accounts", books.cents),
    ];
    let held = held.map(|(name, count)| (name, count.to_string()));
    for (name, count) in counts.into_iter().chain(held) {
        let count = Cell::new(count).set_alignment(CellAlignment::Right);
        table.add_row([Cell::new(name), count]);
    }
    table.to_string()
}

pub(crate) fn verdict(tally: &Tally, books: &Books) -> String {
    let there = books.cents - opening();
    match (is_good(tally, books), there) {
        (true, _) => "Each transfer happened once, and no money came or went.".to_owned(),
        (false, 0) => format!(
            "{} transfers happened more than once.",
            books.rows - books.requests
        ),
        (false, there) => format!("{there} cents came from nowhere."),
    }
}

pub(crate) fn is_good(tally: &Tally, books: &Books) -> bool {
    books.rows == books.requests && books.cents == opening() && tally.unequal == 0
}

fn opening() -> i64 {
    OPENING * i64::try_from(ACCOUNTS).unwrap_or_default()
}
