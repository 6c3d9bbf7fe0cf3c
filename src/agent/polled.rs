//! A secret that Vault stores: asked for its version now and then, read when that changed.
//!
//! Receives readings, gives the last good value. A failing read never takes a value away.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::agent::PolledPolicy;
use crate::agent::command::Command;
use crate::agent::context::Context;
use crate::agent::event::{Op, Reading};
use crate::agent::view::SecretView;
use crate::audit::event::Record;
use crate::error::{Class, Failure};
use crate::lease::schedule::{self, Retry};
use crate::secret::Secret;
use crate::snapshot::{Content, Fields, SecretName, Value, Version};
use crate::time::Moment;

/// The part of the pause between two polls that one may be early. As it is also how far polls of
/// one agent drift apart, all that have the same pause come to be asked together: many secrets
/// need one wake-up, and answers that find a warm processor.
const SPREAD: f64 = 0.05;

/// A polled secret.
pub struct Polled {
    name: SecretName,
    policy: PolledPolicy,
    kept: Option<Kept>,
    asked: Option<Op>,
    read_at: Moment,
    /// When this process was answered last.
    answered: Option<Moment>,
    retry: Retry,
    /// Whether there was an answer, good or bad.
    settled: bool,
    /// Why the last read failed; told once until it changes.
    failure: Option<Failure>,
    /// What is there is leased: one more answer would be one more lease.
    stopped: bool,
}

/// What the next process takes over.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Kept {
    source: String,
    version: Version,
    fields: Arc<Fields>,
    obtained: Moment,
}

impl Polled {
    /// Goes on from what an earlier process left, where that is of the same source.
    pub fn adopt(name: SecretName, policy: PolledPolicy, kept: Option<Kept>) -> Self {
        let kept = kept.filter(|kept| kept.source == policy.source);
        Self {
            name,
            settled: kept.is_some(),
            policy,
            kept,
            asked: None,
            read_at: Moment::from_micros(0),
            answered: None,
            retry: Retry::default(),
            failure: None,
            stopped: false,
        }
    }

    /// What the next process takes over.
    pub fn kept(&self) -> Option<Kept> {
        self.kept.clone()
    }

    /// Whether nothing is published without it.
    pub fn required(&self) -> bool {
        self.policy.required
    }

    /// Whether the last read failed.
    pub fn failing(&self) -> bool {
        self.failure.is_some()
    }

    /// Whether there was an answer, good or bad.
    pub fn settled(&self) -> bool {
        self.settled
    }

    /// When Vault, asked by this process, answered last or did not.
    pub fn answered(&self) -> Option<Moment> {
        self.answered
    }

    /// The version of the last good value.
    pub fn version(&self) -> Option<&Version> {
        self.kept.as_ref().map(|kept| &kept.version)
    }

    /// The last good value.
    pub fn value(&self) -> Option<Value> {
        self.kept.as_ref().map(|kept| Value {
            version: kept.version.clone(),
            expires: None,
            previous_ends: None,
            content: Content::Fields(kept.fields.clone()),
        })
    }

    /// When [`Polled::step`] has something to do.
    pub fn due(&self) -> Option<Moment> {
        let idle = !self.asking() && !self.stopped;
        idle.then(|| self.retry.not_before(self.read_at))
    }

    /// Whether it is being read.
    pub fn asking(&self) -> bool {
        self.asked.is_some()
    }

    /// Asks where it is due, or soon will be: this is called when a poll of any secret is due, and
    /// what comes along needs no wake-up of its own.
    pub fn step(&mut self, cx: &mut Context, token: &Secret) {
        let soon = schedule::portion(self.policy.poll, SPREAD);
        if self.due().is_none_or(|at| at > cx.now + soon) {
            return;
        }
        let op = cx.op();
        self.asked = Some(op);
        cx.push(Command::Read {
            op,
            secret: self.name.clone(),
            known: self.kept.as_ref().map(|kept| kept.version.clone()),
            token: token.clone(),
        });
    }

    /// It is asked for with the next step, unless what failed keeps its pause.
    pub fn refresh(&mut self, now: Moment) {
        self.read_at = self.read_at.min(now);
    }

    /// Whether it waits for `op`.
    pub fn waits_for(&self, op: Op) -> bool {
        self.asked == Some(op)
    }

    /// Takes a reading. It is kept for the next process where something was `published`; before
    /// that the next process may as well read it itself.
    pub fn read(&mut self, cx: &mut Context, result: Result<Reading, Failure>, published: bool) {
        self.asked = None;
        self.settled = true;
        self.answered = Some(cx.now);
        // Spread, so that a fleet does not ask together.
        let poll = schedule::portion(self.policy.poll, 1.0 - SPREAD * cx.jitter());
        self.read_at = cx.now + poll;
        match result {
            Ok(Reading::Leased(failure)) => {
                self.stopped = true;
                self.failure = Some(failure.clone());
                cx.record(Record::ReadStopped { secret: self.name.clone(), failure });
            }
            Ok(Reading::New { version, fields }) => {
                self.succeeded();
                cx.record(Record::ValueRead {
                    secret: self.name.clone(),
                    version: version.clone(),
                });
                let source = self.policy.source.clone();
                let (fields, obtained) = (Arc::new(fields), cx.now);
                self.kept = Some(Kept { source, version, fields, obtained });
                if published {
                    cx.dirty();
                }
            }
            Ok(Reading::Same) => {
                self.succeeded();
            }
            Err(failure) => {
                let usual = self.read_at;
                cx.back_off(&mut self.retry, None, &failure);
                // Vault works and has nothing better: it is asked at the usual pace, and sooner
                // at first while there is no value yet.
                let answered = matches!(failure.class, Class::Missing | Class::Ours);
                if answered {
                    self.retry.no_later_than(usual);
                }
                if !answered || self.kept.is_none() {
                    self.read_at = cx.now;
                }
                if self.failure.as_ref() != Some(&failure) {
                    self.failure = Some(failure.clone());
                    let (secret, stale) = (self.name.clone(), self.kept.is_some());
                    cx.record(Record::ReadFailed { secret, failure, stale });
                }
            }
        }
    }

    fn succeeded(&mut self) {
        self.retry = Retry::default();
        self.failure = None;
    }

    /// How it shows.
    pub fn view(&self, shown: Option<&Version>) -> SecretView {
        SecretView {
            required: self.policy.required,
            valid: shown.is_some(),
            stale: self.failure.is_some(),
            version: shown.cloned(),
            obtained: self.kept.as_ref().map(|kept| kept.obtained),
            ..SecretView::default()
        }
    }
}
