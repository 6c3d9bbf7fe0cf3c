//! `leasehold init`.
//!
//! Receives the flags, gives whether everything required was published. Never serves anybody: it is
//! the agent of `run` that stops by itself, listens nowhere, tells no target, and leaves token and
//! leases in the state.

use crate::cli::{Exit, InitArguments, load, run};
use crate::config::environment::Environment;
use crate::config::{Listen, Loaded};

/// Publishes once.
pub(super) fn init(arguments: &InitArguments, environment: &Environment) -> Exit {
    let path = arguments.run.config(environment);
    let Loaded { mut config, warnings } = match load(&path, environment, &arguments.overrides()) {
        Ok(loaded) => loaded,
        Err(exit) => return exit,
    };
    config.policy = config.policy.publish_once(config.init_timeout);
    config.listen = Listen::default();
    run::keep(Loaded { config, warnings }, None)
}
