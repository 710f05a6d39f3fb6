use std::fmt;

use comfy_table::{Cell, CellAlignment, Table as Printed, presets};

use crate::rounds::Pair;

/// Everything that was measured.
#[derive(Debug, Default)]
pub(crate) struct Table {
    rows: Vec<Row>,
}

/// One operation.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) operation: &'static str,
    pub(crate) callers: &'static str,
    pub(crate) unit: Unit,
    pub(crate) figures: Pair,
    pub(crate) bar: Bar,
}

/// What a figure counts.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Unit {
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
}

impl Table {
    pub(crate) fn add(&mut self, row: Row) {
        self.rows.push(row);
    }
}

impl Row {
    /// The medians of the floor and of the toolkit, and the second in units of the first.
    fn results(&self) -> (f64, f64, f64) {
        let (floor, ours) = (self.figures.floor.median(), self.figures.ours.median());
        (floor, ours, ours / floor)
    }

    fn is_met(&self) -> Option<bool> {
        let (_, ours, _) = self.results();
        match self.bar {
            Bar::None => None,
            Bar::AtMost(bar) => Some(ours <= bar),
            Bar::AtLeast(bar) => Some(ours >= bar),
        }
    }

    fn bar(&self) -> String {
        match self.bar {
            Bar::None => String::new(),
            Bar::AtMost(bar) => format!("<= {}", self.unit.show(bar)),
            Bar::AtLeast(bar) => format!(">= {}", self.unit.show(bar)),
        }
    }

    fn cells(&self) -> [Cell; 7] {
        let (floor, ours, ratio) = self.results();
        let right = |text: String| Cell::new(text).set_alignment(CellAlignment::Right);
        let met = match self.is_met() {
            None => "",
            Some(true) => "yes",
            Some(false) => "NO",
        };
        [
            Cell::new(self.operation),
            right(self.callers.to_owned()),
            right(self.unit.show_measured(floor)),
            right(self.unit.show_measured(ours)),
            right(if ratio.is_nan() {
                String::new()
            } else {
                format!("{ratio:.2}")
            }),
            Cell::new(self.bar()),
            Cell::new(met),
        ]
    }
}

impl Unit {
    fn show(self, figure: f64) -> String {
        match self {
            Self::Time if figure < 100_000.0 => format!("{:.2} us", figure / 1e3),
            Self::Time => format!("{:.1} ms", figure / 1e6),
            Self::Rate => format!("{figure:.0}/s"),
            Self::Times => format!("{figure:.2} x"),
        }
    }

    fn show_measured(self, figure: f64) -> String {
        if figure.is_nan() {
            String::new()
        } else {
            self.show(figure)
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
    use crate::rounds::Figures;

    fn row(floor: f64, ours: f64, bar: Bar) -> Row {
        let mut figures = Pair::default();
        let add = |figures: &mut Figures, figure| figures.add(figure);
        add(&mut figures.floor, floor);
        add(&mut figures.ours, ours);
        Row {
            operation: "test",
            callers: "1",
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
        assert_eq!(row(1.0, 1.6, Bar::AtLeast(1.6)).is_met(), Some(true));
        assert_eq!(row(1.0, 1.5, Bar::AtLeast(1.6)).is_met(), Some(false));
        assert_eq!(row(1.0, 1.0, Bar::None).is_met(), None);
    }
}
