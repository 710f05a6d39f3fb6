//! What is said while the deliveries come in.

use std::error::Error;
use std::fmt::{Display, Write as _};
use std::io::{self, Write as _};

use console::Style;
use indicatif::{ProgressBar, ProgressStyle};

/// How a delivery was answered, or is going to be.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Label {
    /// The order was created.
    Executed,
    /// The call failed, and is tried again.
    Failed,
    /// The line is no order.
    Malformed,
    /// The key belongs to another order.
    Mismatch,
    /// There is no order, and there will be none.
    Refused,
    /// The order was found: an attempt that died had created it.
    Recovered,
    /// The order had been created before.
    Replayed,
    /// The order was created, and may be created again: the store does not know of it.
    Unrecorded,
    /// Another attempt created the order meanwhile.
    Waited,
    /// Another attempt has the key.
    Waits,
}

impl Label {
    fn show(self) -> String {
        let (name, style) = match self {
            Self::Executed => ("executed", Style::new().green()),
            Self::Failed => ("failed", Style::new().yellow()),
            Self::Malformed => ("malformed", Style::new().red()),
            Self::Mismatch => ("mismatch", Style::new().magenta()),
            Self::Refused => ("refused", Style::new().red()),
            Self::Recovered => ("recovered", Style::new().green().bold()),
            Self::Replayed => ("replayed", Style::new().cyan()),
            Self::Unrecorded => ("unrecorded", Style::new().red()),
            Self::Waited => ("waited", Style::new().blue()),
            Self::Waits => ("waits", Style::new().blue().dim()),
        };
        style.apply_to(format!("{name:<10}")).to_string()
    }
}

/// Standard output, with a progress bar below it if somebody watches.
#[derive(Debug)]
pub(crate) struct Screen {
    bar: ProgressBar,
}

impl Screen {
    /// A screen for `lines` deliveries, if that is known.
    pub(crate) fn new(lines: Option<usize>) -> Self {
        let bar = match lines {
            Some(lines) => {
                ProgressBar::new(lines as u64).with_style(style("{bar:32} {pos}/{len} deliveries"))
            }
            None => ProgressBar::no_length().with_style(style("{spinner} {pos} deliveries")),
        };
        Self { bar }
    }

    /// Says a line.
    pub(crate) fn say(&self, text: impl Display) {
        // Nobody may be listening any more, as in `orders | head`. The orders matter more.
        self.bar.suspend(|| _ = writeln!(io::stdout(), "{text}"));
    }

    /// Says what happens to a delivery.
    pub(crate) fn delivery(&self, line: usize, key: &str, label: Label, text: impl Display) {
        self.say(format_args!("{line:>5}  {key:<10} {} {text}", label.show()));
    }

    /// Counts a delivery as done.
    pub(crate) fn advance(&self) {
        self.bar.inc(1);
    }

    /// Takes the progress bar away.
    pub(crate) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).expect("the templates are fixed")
}

/// An error and its sources.
pub(crate) fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        _ = write!(text, ": {error}");
        source = error.source();
    }
    text
}
