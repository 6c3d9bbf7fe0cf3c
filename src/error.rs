//! How a failure reaches the decisions, and how an error reaches a person.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What a failed effect means for the next decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Class {
    /// Not now: unreachable, overloaded, sealed. Try again, not before `after` where the other
    /// side named a time.
    Again {
        /// The least time to wait, from a `Retry-After`.
        after: Option<Duration>,
    },
    /// The other side refuses: a missing right, a wrong password, a wrong secret id.
    Denied,
    /// The path, role, field or file is not there.
    Missing,
    /// The lease or token no longer exists.
    Gone,
    /// Somebody else was first (check-and-set).
    Conflict,
    /// The request was sent and no answer came: it may have taken effect.
    Unclear,
    /// The request or our configuration is wrong; the same again will fail again.
    Ours,
}

/// A failed effect: its class for the machine, its text and hint for people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// What the machine decides from.
    pub class: Class,
    /// What was being done, on what, and why it failed. Holds no secret.
    pub text: String,
    /// What to do about it.
    pub hint: Option<String>,
}

impl Failure {
    /// A failure with no hint.
    pub fn new(class: Class, text: impl Into<String>) -> Self {
        Self { class, text: text.into(), hint: None }
    }

    /// The same with a hint.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)?;
        match &self.hint {
            Some(hint) => write!(f, "\nhint: {hint}"),
            None => Ok(()),
        }
    }
}

/// `error` and all its sources on one line, outermost first. No `Display` of ours repeats its
/// source, so nothing is said twice.
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
