//! `leasehold rehearse`.
//!
//! Receives the flags, prints each step of a rotation that is tried out. Never decides anything: it
//! loads the configuration and hands over to [`rehearsal`].

use std::time::Duration;

use crate::cli::trial::{run, say};
use crate::cli::{Exit, RehearseArguments, config_path, load};
use crate::config::environment::Environment;
use crate::rehearsal;

/// Rehearses.
pub(super) fn rehearse(arguments: &RehearseArguments, environment: &Environment) -> Exit {
    let path = config_path(arguments.config.as_deref(), environment);
    let config = match load(&path, environment, &[]) {
        Ok(loaded) => loaded.config,
        Err(exit) => return exit,
    };
    let grace = arguments.grace_seconds.map(Duration::from_secs);
    run(async |stop| rehearsal::rehearse(&config, grace, stop, say).await.map(|()| Exit::Done))
}
