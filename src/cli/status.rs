//! `leasehold status`.
//!
//! Receives an agent's account of itself, gives a table that a person reads in five seconds, or the
//! account as it is. Never asks anybody but the agent.

mod table;

use std::io::{IsTerminal as _, stdout};
use std::time::Duration;

use hyper::Method;
use jiff::Timestamp;

use crate::cli::api::Api;
use crate::cli::ask::{ended, now};
use crate::cli::trial::say;
use crate::cli::{Exit, StatusArguments};
use crate::config::environment::Environment;
use crate::error::{Class, Failure};
use crate::server::status::Status;

const EVERY: Duration = Duration::from_secs(2);

/// To the top left, and everything below goes.
const CLEAR: &str = "\u{1b}[H\u{1b}[J";

/// Shows the agent.
pub(super) fn status(arguments: &StatusArguments, environment: &Environment) -> Exit {
    let api = match Api::find(&arguments.api, environment) {
        Ok(api) => api,
        Err(exit) => return exit,
    };
    ended(now(async {
        loop {
            let text = api.ask(Method::GET, "/v1/status").await?;
            let shown = if arguments.json { text.trim_end().to_owned() } else { table(&text)? };
            let clear = if arguments.watch && stdout().is_terminal() { CLEAR } else { "" };
            say(&format!("{clear}{shown}"));
            if !arguments.watch {
                return Ok(());
            }
            tokio::time::sleep(EVERY).await;
        }
    }))
}

fn table(text: &str) -> Result<String, Failure> {
    let status = serde_json::from_str::<Status>(text).map_err(|error| {
        Failure::new(Class::Ours, format!("read the agent's answer: {error}"))
            .hint("use the same version as the agent, or `--json`")
    })?;
    Ok(table::lines(&status, Timestamp::now()).join("\n"))
}
