//! What explorations have found, for people.

use std::fmt::Write as _;

use comfy_table::{Cell, CellAlignment, Table, presets};

use super::check::Exploration;
use crate::report::in_words;

/// Writes a table with a row for each exploration.
#[must_use]
pub fn summary(explorations: &[Exploration]) -> String {
    let right = |text: String| Cell::new(text).set_alignment(CellAlignment::Right);
    let mut table = Table::new();
    table.load_style(presets::ASCII_MARKDOWN);
    table.set_header(["model", "outcome", "states", "depth", "time", "bounds"]);
    for found in explorations {
        table.add_row([
            Cell::new(&found.name),
            Cell::new(found.outcome()),
            right(found.states.to_string()),
            right(found.depth.to_string()),
            right(in_words(found.time)),
            Cell::new(found.bounds),
        ]);
    }
    table.to_string()
}

/// Tells how each promise was broken, step by step.
#[must_use]
pub fn story(found: &Exploration) -> String {
    let mut text = String::new();
    for known in &found.broken {
        _ = writeln!(text, "{}: not {}", found.name, known.promise.text());
        for (number, step) in (1..).zip(&known.steps) {
            _ = writeln!(text, "{number:4}. {step}");
        }
    }
    text
}
