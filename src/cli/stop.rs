//! `leasehold stop`.
//!
//! Receives how long it may take, tells the agent to stop and waits until it has. Never kills it.

use std::time::Duration;

use hyper::Method;

use crate::cli::api::Api;
use crate::cli::ask::{ended, now};
use crate::cli::trial::say;
use crate::cli::{Exit, StopArguments};
use crate::config::environment::Environment;
use crate::error::{Class, Failure};

const PAUSE: Duration = Duration::from_millis(100);
const LIMIT: Duration = Duration::from_secs(2);

/// Stops the agent.
pub(super) fn stop(arguments: &StopArguments, environment: &Environment) -> Exit {
    let api = match Api::find(&arguments.api, environment) {
        Ok(api) => api,
        Err(exit) => return exit,
    };
    ended(now(async {
        api.ask(Method::POST, "/v1/stop").await?;
        let gone = async {
            // What it answers does not matter as long as it does.
            while api.exchange(Method::HEAD, "/v1/status", LIMIT).await.is_ok() {
                tokio::time::sleep(PAUSE).await;
            }
        };
        tokio::time::timeout(arguments.timeout, gone).await.map_err(|_| {
            let text = format!("stop the agent: it goes on after {:?}", arguments.timeout);
            Failure::new(Class::Conflict, text).hint("its log says what it waits for")
        })?;
        say("stopped");
        Ok(())
    }))
}
