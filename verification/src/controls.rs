//! Runs on what is broken on purpose: each has to be found out.

use anyhow::{Context, Result};

use crate::control::Control;
use crate::report::Report;
use crate::setup::Setup;
use crate::{kill, stop, transaction};

/// Runs the kind of chaos that is to find out the setup's control.
///
/// # Errors
///
/// If the harness itself fails, or there is no control.
pub async fn run(setup: Setup) -> Result<Report> {
    match setup.control.context("a control is needed")? {
        Control::DeleteOnRelease | Control::LeaseAsExpiry => kill::run(setup).await,
        Control::RecordApart => transaction::run(setup).await,
        Control::UnconditionalComplete => stop::run(setup).await,
    }
}

impl Control {
    /// What is broken in this way breaks one promise of each group at least.
    const fn breaks(self) -> &'static [&'static [&'static str]] {
        match self {
            Self::DeleteOnRelease | Self::LeaseAsExpiry => &[&["P5"]],
            Self::RecordApart => &[&["one row"], &["together"]],
            Self::UnconditionalComplete => &[&["P1", "P3"], &["linearizable"]],
        }
    }

    /// Whether `report` has found it out.
    pub(crate) fn is_found(self, report: &Report) -> bool {
        self.breaks().iter().all(|group| {
            let mut violations = report.violations.iter();
            violations.any(|violation| group.contains(&violation.promise))
        })
    }
}
