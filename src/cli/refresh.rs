//! `leasehold refresh`.
//!
//! Receives the name of a secret or none, has the agent ask Vault now. Never waits for what comes
//! of it: that is for the log and `leasehold status`.

use hyper::Method;

use crate::cli::api::Api;
use crate::cli::ask::{ended, now};
use crate::cli::trial::say;
use crate::cli::{Exit, RefreshArguments, print};
use crate::config::environment::Environment;
use crate::error::Class;

/// Asks for a look at Vault.
pub(super) fn refresh(arguments: &RefreshArguments, environment: &Environment) -> Exit {
    let api = match Api::find(&arguments.api, environment) {
        Ok(api) => api,
        Err(exit) => return exit,
    };
    let path = match &arguments.secret {
        Some(name) => format!("/v1/refresh/{name}"),
        None => "/v1/refresh".to_owned(),
    };
    let asked = now(async {
        api.ask(Method::POST, &path).await?;
        let what = arguments.secret.as_ref().map(|name| format!("`{name}`"));
        say(&format!("Vault is asked about {}", what.as_deref().unwrap_or("every secret")));
        Ok(())
    });
    match asked {
        Err(failure) if failure.class == Class::Missing => {
            print(&failure.to_string());
            Exit::Usage
        }
        asked => ended(asked),
    }
}
