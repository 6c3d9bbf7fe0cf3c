//! `leasehold config`.
//!
//! Receives the flags, prints the schema, the reference or the configuration as it is. Never asks
//! Vault anything.

use crate::cli::trial::say;
use crate::cli::{ConfigCommand, Exit, failed};
use crate::config;
use crate::config::environment::Environment;

/// Prints what is asked for.
pub(super) fn config(command: &ConfigCommand, environment: &Environment) -> Exit {
    match command {
        ConfigCommand::Schema => say(&format!("{:#}", config::schema())),
        ConfigCommand::Reference => say(config::reference().trim_end()),
        ConfigCommand::Print(arguments) => {
            let path = arguments.config(environment);
            match config::print(&path, environment, &arguments.overrides()) {
                Ok(text) => say(text.trim_end()),
                Err(error) => return failed(&error),
            }
        }
    }
    Exit::Done
}
