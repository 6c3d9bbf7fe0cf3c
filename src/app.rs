//! See lib.rs.

use std::future::Future;

use crate::config::Config;
use crate::error::{Class, Failure};

/// Runs the agent until `stop`, and then as long as its stop policy asks for.
///
/// # Errors
/// When it cannot start or cannot go on.
#[expect(clippy::unused_async, reason = "stub")]
pub async fn run(_config: Config, _stop: impl Future<Output = ()>) -> Result<(), Failure> {
    Err(Failure::new(Class::Ours, "not built yet"))
}
