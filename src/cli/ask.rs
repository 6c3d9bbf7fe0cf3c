//! What every command needs that asks a running agent.

use std::future::Future;

use tokio::runtime::Builder;

use crate::error::{Class, Failure};

/// Waits for `answer`, with nothing else under way. A signal ends the process as it always does.
pub(super) fn now<T>(answer: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(Class::Ours, format!("start the runtime: {error}")))?;
    runtime.block_on(answer)
}
