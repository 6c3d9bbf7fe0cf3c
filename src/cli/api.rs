//! Where a running agent's API is, and what its answers mean to a script.
//!
//! Receives the flags, gives a way to ask. Never reads the state: who may not ask the agent learns
//! nothing.

use std::path::PathBuf;
use std::time::Duration;

use hyper::Method;
use zeroize::Zeroizing;

use crate::cli::{ApiArguments, Exit, config_path, load, print};
use crate::client::{self, Answer, Place};
use crate::config::environment::Environment;
use crate::error::{Class, Failure};
use crate::server::api::Settings;
use crate::server::token;

/// Whatever is asked is answered at once.
const LIMIT: Duration = Duration::from_secs(10);

/// A way to ask an agent.
pub(super) struct Api {
    place: Place,
    token: Option<Zeroizing<String>>,
}

impl Api {
    /// The API that the flags name, or the configuration.
    pub(super) fn find(arguments: &ApiArguments, environment: &Environment) -> Result<Self, Exit> {
        if let Some(socket) = &arguments.socket {
            return Ok(Self { place: Place::Unix(socket_path(socket)), token: None });
        }
        let path = config_path(arguments.config.as_deref(), environment);
        let config = load(&path, environment, &[])?.config;
        let failed = |text: &str| {
            print(&format!("ask the agent: {text}"));
            Exit::Configuration
        };
        match config.listen.api {
            Some(Settings::Unix { path, .. }) => Ok(Self { place: Place::Unix(path), token: None }),
            Some(Settings::Tcp { address, .. }) if address.port() == 0 => Err(failed(
                "`listen.api` has port 0, so only the agent's log says where it is\nhint: give it \
                 a port, or a socket",
            )),
            Some(Settings::Tcp { address, token_file }) => {
                let token = token::read(&token_file).map_err(|failure| {
                    print(&failure.to_string());
                    Exit::Configuration
                })?;
                Ok(Self { place: Place::from(address), token: Some(token) })
            }
            None => Err(failed(
                "the configuration has no `listen.api`\nhint: set it, as \
                 `unix:/run/leasehold-state/agent/api.sock`, or name a socket with `--socket`",
            )),
        }
    }

    /// Asks, and gives what a good answer says.
    pub(super) async fn ask(&self, method: Method, path: &str) -> Result<String, Failure> {
        let answer = self.exchange(method, path, LIMIT).await?;
        if answer.good() {
            return Ok(answer.body);
        }
        Err(self.refusal(&answer))
    }

    /// Asks, and gives any answer.
    pub(super) async fn exchange(
        &self,
        method: Method,
        path: &str,
        limit: Duration,
    ) -> Result<Answer, Failure> {
        let token = self.token.as_ref().map(|token| token.as_str());
        client::ask(&self.place, method, path, token, limit).await
    }

    /// What an answer that is no good one means.
    pub(super) fn refusal(&self, answer: &Answer) -> Failure {
        let class = match answer.status {
            401 | 403 => Class::Denied,
            404 => Class::Missing,
            429 | 503 => Class::Conflict,
            _ => Class::Ours,
        };
        let text = format!("ask the agent at `{}`: {}", self.place, answer.body.trim_end());
        Failure::new(class, text)
    }
}

/// A path, also as the configuration writes it.
fn socket_path(text: &str) -> PathBuf {
    PathBuf::from(text.strip_prefix("unix:").unwrap_or(text))
}
