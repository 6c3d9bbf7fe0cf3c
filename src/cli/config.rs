//! `leasehold config`.
//!
//! Receives the flags, prints the schema, the reference or the configuration as it is. Never asks
//! Vault anything.

use crate::cli::teach::put;
use crate::cli::{ConfigCommand, Exit, failed};
use crate::config;
use crate::config::environment::Environment;

/// Prints what is asked for.
pub(super) fn config(command: &ConfigCommand, environment: &Environment) -> Exit {
    match command {
        ConfigCommand::Schema => put(format!("{:#}\n", config::schema()).as_bytes()),
        ConfigCommand::Reference => put(config::reference().as_bytes()),
        ConfigCommand::Print(arguments) => {
            let path = arguments.config(environment);
            match config::print(&path, environment, &arguments.overrides()) {
                Ok(text) => put(text.as_bytes()),
                Err(error) => failed(&error),
            }
        }
    }
}
