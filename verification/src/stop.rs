//! SIGSTOP of an owner until its lease is over.

use anyhow::Result;

use crate::late::{self, Hold};
use crate::report::Report;
use crate::setup::Setup;

/// Stops an owner in each round, and lets others call with its key.
///
/// # Errors
///
/// If the harness itself fails. A broken promise is in the report.
pub async fn run(setup: Setup) -> Result<Report> {
    late::run(setup, Hold::Stop).await
}
