use std::fmt;

use comfy_table::{Cell, CellAlignment, Table as Printed, presets};

use crate::rounds::{Figures, Pair};

/// Everything that was measured.
#[derive(Debug, Default)]
pub(crate) struct Table {
    rows: Vec<Row>,
}

/// One operation.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) operation: &'static str,
    pub(crate) callers: usize,
    pub(crate) unit: Unit,
    pub(crate) figures: Pair,
    pub(crate) bar: Bar,
}

/// What a figure counts.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Unit {
    /// So many of something.
    Count,
    /// Nanoseconds for each call.
    Time,
    /// Calls in a second.
    Rate,
    /// How many times as much.
    Times,
}

/// What is good enough.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Bar {
    None,
    /// The toolkit's figure is at most this.
    AtMost(f64),
    /// The toolkit's figure is at least this.
    AtLeast(f64),
    /// The toolkit's figure is at most so many times the floor's.
    RatioAtMost(f64),
    /// The toolkit's figure is at least so many times the floor's.
    RatioAtLeast(f64),
}

impl Table {
    pub(crate) fn add(&mut self, row: Row) {
        self.rows.push(row);
    }
}

impl Row {
    fn is_met(&self) -> Option<bool> {
        let (ours, ratio) = (self.figures.ours.median(), self.figures.ratio());
        match self.bar {
            Bar::None => None,
            Bar::AtMost(bar) => Some(ours? <= bar),
            Bar::AtLeast(bar) => Some(ours? >= bar),
            Bar::RatioAtMost(bar) => Some(ratio? <= bar),
            Bar::RatioAtLeast(bar) => Some(ratio? >= bar),
        }
    }

    fn bar(&self) -> String {
        match self.bar {
            Bar::None => String::new(),
            Bar::AtMost(bar) => format!("<= {}", self.unit.show(bar)),
            Bar::AtLeast(bar) => format!(">= {}", self.unit.show(bar)),
            Bar::RatioAtMost(bar) => format!("ratio <= {bar:.2}"),
            Bar::RatioAtLeast(bar) => format!("ratio >= {bar:.2}"),
        }
    }

    fn cells(&self) -> [Cell; 7] {
        let right = |text: Option<String>| {
            Cell::new(text.unwrap_or_default()).set_alignment(CellAlignment::Right)
        };
        let figure =
            |figures: &Figures| right(figures.median().map(|figure| self.unit.show(figure)));
        let met = match self.is_met() {
            None => "",
            Some(true) => "yes",
            Some(false) => "NO",
        };
        [
            Cell::new(self.operation),
            right(Some(self.callers.to_string())),
            figure(&self.figures.floor),
            figure(&self.figures.ours),
            right(self.figures.ratio().map(|ratio| format!("{ratio:.2}"))),
            Cell::new(self.bar()),
            Cell::new(met),
        ]
    }
}

impl Unit {
    fn show(self, figure: f64) -> String {
        match self {
            Self::Time if figure < 1e5 => format!("{:.2} us", figure / 1e3),
            Self::Time if figure < 1e9 => format!("{:.2} ms", figure / 1e6),
            Self::Time => format!("{:.2} s", figure / 1e9),
            Self::Rate => format!("{figure:.0}/s"),
            Self::Count => format!("{figure:.2}"),
            Self::Times => format!("{figure:.2} x"),
        }
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = Printed::new();
        table.load_style(presets::ASCII_MARKDOWN);
        table.set_header([
            "operation",
            "callers",
            "floor",
            "ours",
            "ratio",
            "bar",
            "met?",
        ]);
        table.add_rows(self.rows.iter().map(Row::cells));
        write!(f, "{table}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(floor: f64, ours: f64, bar: Bar) -> Row {
        let mut figures = Pair::default();
        figures.floor.add(floor);
        figures.ours.add(ours);
        Row {
            operation: "test",
            callers: 1,
            unit: Unit::Time,
            figures,
            bar,
        }
    }

    #[test]
    fn a_bar_is_met_at_the_bar() {
        assert_eq!(row(500.0, 1000.0, Bar::AtMost(1000.0)).is_met(), Some(true));
        assert_eq!(
            row(500.0, 1001.0, Bar::AtMost(1000.0)).is_met(),
            Some(false)
        );
        assert_eq!(row(4.0, 5.0, Bar::RatioAtMost(1.25)).is_met(), Some(true));
        assert_eq!(row(4.0, 3.0, Bar::RatioAtLeast(0.8)).is_met(), Some(false));
        assert_eq!(row(1.0, 1.6, Bar::AtLeast(1.6)).is_met(), Some(true));
        assert_eq!(row(1.0, 1.5, Bar::AtLeast(1.6)).is_met(), Some(false));
        assert_eq!(row(1.0, 1.0, Bar::None).is_met(), None);
    }
}
