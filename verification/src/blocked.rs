//! A body that keeps the only thread of its runtime busy until its lease is over.
//!
//! A lease is renewed by the runtime. So an owner whose body does not give way loses its lease like
//! one whose process was stopped, while its connections are open and its clock has gone on.

use anyhow::Result;

use crate::late::{self, Hold};
use crate::report::Report;
use crate::setup::Setup;

/// Blocks the runtime of an owner in each round, and lets others call with its key.
///
/// # Errors
///
/// If the harness itself fails. A broken promise is in the report.
pub async fn run(setup: Setup) -> Result<Report> {
    late::run(setup, Hold::Block).await
}
