//! The agent's API: what a person or a script of the same machine may ask and ask for.
//!
//! Receives questions that were let through, gives JSON. What it is asked for becomes a [`Call`],
//! which the loop takes up. Never shows a value or a lease id, and never keeps more than a few
//! callers waiting.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use hyper::{Method, StatusCode};
use serde_json::json;
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio::time::timeout;

use crate::agent::outlook::Next;
use crate::agent::view::View;
use crate::logs;
use crate::server::status::Status;
use crate::server::{Handler, Page, Question};
use crate::snapshot::{Generation, SecretName};
use crate::time::{Clock, Moment};

/// Those who wait for a generation leave places for those who ask.
const MOST_WAITERS: usize = 32;

/// How long one may wait where it does not say, and where it does.
const WAIT: Duration = Duration::from_secs(60);
pub(super) const LONGEST_WAIT: Duration = Duration::from_secs(600);

/// The loop turns in microseconds.
const LOOP: Duration = Duration::from_secs(5);

/// Where the API is, and who may ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Settings {
    /// A socket, for our own user and root.
    Unix {
        /// Where.
        path: PathBuf,
        /// Other users.
        uids: BTreeSet<u32>,
    },
    /// A port of the loopback, for whoever shows a token.
    Tcp {
        /// Where.
        address: SocketAddr,
        /// The token's file.
        token_file: PathBuf,
    },
}

/// What the loop is asked for.
#[derive(Debug)]
pub enum Call {
    /// What it is about.
    Report(oneshot::Sender<Report>),
    /// To have Vault asked about a secret, or all.
    Refresh(Option<SecretName>),
    /// To stop, as SIGTERM does.
    Stop,
}

/// The agent at one moment.
#[derive(Debug)]
pub struct Report {
    /// What it shows.
    pub view: View,
    /// What it is about to do.
    pub outlook: Vec<Next>,
    /// The moment.
    pub now: Moment,
}

/// What the API answers from.
struct Api {
    instance: String,
    clock: Clock,
    view: watch::Receiver<View>,
    calls: mpsc::Sender<Call>,
    waiters: Semaphore,
}

/// Answers for the agent `instance`.
pub fn handler(
    instance: &str,
    clock: Clock,
    view: watch::Receiver<View>,
    calls: mpsc::Sender<Call>,
) -> Handler {
    let instance = instance.to_owned();
    let api = Arc::new(Api { instance, clock, view, calls, waiters: Semaphore::new(MOST_WAITERS) });
    Arc::new(move |question| {
        let api = api.clone();
        Box::pin(async move { api.answer(&question).await })
    })
}

impl Api {
    async fn answer(&self, question: &Question) -> Page {
        let get = [Method::GET, Method::HEAD].contains(&question.method);
        let post = question.method == Method::POST;
        let secret = question.path.strip_prefix("/v1/refresh/");
        match (question.path.as_str(), secret) {
            ("/v1/status", _) if get => self.status().await,
            ("/v1/wait", _) if get => self.wait(&question.query).await,
            ("/v1/stop", _) if post => self.call(question, "stop", Call::Stop),
            ("/v1/refresh", _) if post => self.call(question, "refresh", Call::Refresh(None)),
            (_, Some(name)) if post => self.refresh(question, name),
            ("/v1/status" | "/v1/wait", _) => Page::not_allowed("GET, HEAD"),
            ("/v1/stop" | "/v1/refresh", _) | (_, Some(_)) => Page::not_allowed("POST"),
            _ => Page::nothing(),
        }
    }

    async fn status(&self) -> Page {
        let (reply, report) = oneshot::channel();
        if self.calls.try_send(Call::Report(reply)).is_err() {
            return busy();
        }
        match timeout(LOOP, report).await {
            Ok(Ok(Report { view, outlook, now })) => {
                let status = Status::new(&self.instance, &view, &outlook, now, &self.clock);
                Page::json(StatusCode::OK, &status)
            }
            Ok(Err(_)) | Err(_) => busy(),
        }
    }

    fn refresh(&self, question: &Question, name: &str) -> Page {
        let known = self.view.borrow().secrets.get_key_value(name).map(|(name, _)| name.clone());
        match known {
            Some(name) => self.call(question, "refresh", Call::Refresh(Some(name))),
            None => Page::text(StatusCode::NOT_FOUND, "no such secret"),
        }
    }

    fn call(&self, question: &Question, what: &str, call: Call) -> Page {
        if self.calls.try_send(call).is_err() {
            return busy();
        }
        logs::called(what, &question.path, &question.caller);
        let generation = self.view.borrow().generation;
        Page::json(StatusCode::ACCEPTED, &json!({ "generation": generation }))
    }

    async fn wait(&self, query: &str) -> Page {
        let Some((wanted, limit)) = parameters(query) else {
            let text = "ask for `generation=N`, and `timeout` in seconds";
            return Page::text(StatusCode::BAD_REQUEST, text);
        };
        let Ok(_place) = self.waiters.try_acquire() else {
            return Page::text(StatusCode::TOO_MANY_REQUESTS, "too many wait already");
        };
        let mut view = self.view.clone();
        let reached = |view: &View| view.started && view.generation >= wanted;
        let waited = timeout(limit, view.wait_for(reached)).await;
        let generation = match waited {
            Ok(Ok(view)) => view.generation,
            Ok(Err(_)) => return busy(),
            Err(_) => {
                let text = format!("generation {wanted} is not published yet");
                return Page::text(StatusCode::SERVICE_UNAVAILABLE, text);
            }
        };
        Page::json(StatusCode::OK, &json!({ "generation": generation }))
    }
}

/// The loop ends, or has more to do than it should.
fn busy() -> Page {
    Page::text(StatusCode::SERVICE_UNAVAILABLE, "the agent is stopping, or busy")
}

/// The generation to wait for, and for how long.
fn parameters(query: &str) -> Option<(Generation, Duration)> {
    let (mut generation, mut limit) = (Generation(1), WAIT);
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        match pair.split_once('=')? {
            ("generation", number) => generation = Generation(number.parse().ok()?),
            ("timeout", seconds) => {
                let seconds = seconds.strip_suffix('s').unwrap_or(seconds);
                limit = Duration::from_secs(seconds.parse().ok()?).min(LONGEST_WAIT);
            }
            _ => return None,
        }
    }
    Some((generation, limit))
}

#[cfg(test)]
mod tests;
