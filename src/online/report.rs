//! The table that `check --online` prints, a line for each result, and what is worst in it.
//!
//! Receives results one after the other, prints each at once. Never shows a text in which something
//! could steer a terminal.

use crate::error::{Class, Failure};
use crate::logs::visible;
use crate::vault::Right;

/// What came of one check.
#[derive(Clone, Copy)]
pub(super) enum Verdict {
    Ok,
    Missing,
    TooMuch,
    Failed,
}

impl Verdict {
    fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Missing => "missing",
            Self::TooMuch => "too much",
            Self::Failed => "failed",
        }
    }
}

/// What was found so far.
pub(super) struct Report<S: FnMut(&str)> {
    say: S,
    /// Of the second column.
    width: usize,
    worst: Option<Failure>,
}

impl<S: FnMut(&str)> Report<S> {
    /// An empty one that prints by `say`; `width` is that of the longest subject.
    pub(super) fn new(width: usize, say: S) -> Self {
        Self { say, width, worst: None }
    }

    /// The worst of what was noted.
    pub(super) fn worst(self) -> Option<Failure> {
        self.worst
    }

    /// What did not go as it should, and what to do about it.
    pub(super) fn failed(&mut self, subject: &str, failure: Failure) {
        self.row(Verdict::Failed, subject, &failure.text);
        if let Some(hint) = &failure.hint {
            self.below("hint", hint);
        }
        self.note(failure);
    }

    /// What the token lacks, and the line of a policy that gives it.
    pub(super) fn lacks(&mut self, subject: &str, text: &str, right: &Right) {
        self.row(Verdict::Missing, subject, text);
        self.below("add", &right.to_string());
    }

    /// One result.
    pub(super) fn row(&mut self, verdict: Verdict, subject: &str, text: &str) {
        let line = format!("{:<8}  {subject:<width$}  {text}", verdict.word(), width = self.width);
        (self.say)(&visible(&line));
    }

    fn below(&mut self, word: &str, text: &str) {
        (self.say)(&visible(&format!("{word:>8}: {text}")));
    }

    /// Keeps the worse of two: what somebody must mend before what may mend itself.
    pub(super) fn note(&mut self, mut failure: Failure) {
        // A question that Vault takes for wrong is one that the configuration asks.
        if failure.class == Class::Ours {
            failure.class = Class::Missing;
        }
        if self.worst.as_ref().is_none_or(|worst| weight(worst) < weight(&failure)) {
            self.worst = Some(failure);
        }
    }
}

fn weight(failure: &Failure) -> u8 {
    match failure.class {
        Class::Missing | Class::Ours => 2,
        Class::Denied => 1,
        Class::Again { .. } | Class::Gone | Class::Conflict | Class::Unclear => 0,
    }
}
