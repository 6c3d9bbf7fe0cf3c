//! `leasehold wait`.
//!
//! Receives a generation, ends when that or a newer one is published. An agent that is not there
//! yet is waited for too.

use std::cell::RefCell;
use std::time::Duration;

use hyper::Method;
use serde::Deserialize;

use crate::cli::api::Api;
use crate::cli::ask::{ended, now};
use crate::cli::trial::say;
use crate::cli::{Exit, WaitArguments};
use crate::config::environment::Environment;
use crate::error::{Class, Failure};

const PAUSE: Duration = Duration::from_millis(100);

/// One question waits so long; the agent may be another one after that.
const TURN: Duration = Duration::from_secs(30);

/// Waits for a generation.
pub(super) fn wait(arguments: &WaitArguments, environment: &Environment) -> Exit {
    let api = match Api::find(&arguments.api, environment) {
        Ok(api) => api,
        Err(exit) => return exit,
    };
    ended(now(async {
        // Why it is not there yet.
        let last = RefCell::new(Failure::new(Class::Again { after: None }, "wait"));
        let published = published(&api, arguments.generation, &last);
        match tokio::time::timeout(arguments.timeout, published).await {
            Ok(generation) => {
                say(&format!("generation {} is published", generation?));
                Ok(())
            }
            Err(_) => Err(last.into_inner()),
        }
    }))
}

async fn published(api: &Api, wanted: u64, last: &RefCell<Failure>) -> Result<u64, Failure> {
    #[derive(Deserialize)]
    struct Body {
        generation: u64,
    }
    let path = format!("/v1/wait?generation={wanted}&timeout={}", TURN.as_secs());
    loop {
        // Unless it turns out otherwise, it is asked and lets us wait.
        let text = format!("wait: generation {wanted} is not published yet");
        last.replace(Failure::new(Class::Conflict, text));
        let answer = api.exchange(Method::GET, &path, 2 * TURN).await;
        let failure = match answer {
            Ok(answer) if answer.good() => {
                let body = serde_json::from_str::<Body>(&answer.body);
                return body.map(|body| body.generation).map_err(|_| api.refusal(&answer));
            }
            Ok(answer) => api.refusal(&answer),
            Err(failure) => failure,
        };
        match failure.class {
            Class::Again { .. } | Class::Conflict => {
                last.replace(failure);
                tokio::time::sleep(PAUSE).await;
            }
            Class::Denied | Class::Missing | Class::Gone | Class::Unclear | Class::Ours => {
                return Err(failure);
            }
        }
    }
}
