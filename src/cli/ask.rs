//! What every command needs that asks a running agent: a runtime, and an exit status.

use std::future::Future;

use tokio::runtime::Builder;

use crate::cli::{Exit, print};
use crate::error::{Class, Failure};

/// Waits for `answer`, with nothing else under way. A signal ends the process as it always does.
pub(super) fn now<T>(answer: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(Class::Ours, format!("start the runtime: {error}")))?;
    runtime.block_on(answer)
}

/// How a command ends that did what it had to do, or could not.
pub(super) fn ended(result: Result<(), Failure>) -> Exit {
    match result {
        Ok(()) => Exit::Done,
        Err(failure) => {
            print(&failure.to_string());
            Exit::after(&failure)
        }
    }
}
