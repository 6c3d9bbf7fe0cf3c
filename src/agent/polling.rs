//! All polled secrets together: when they are asked for, and what is known of them as a whole.
//!
//! Nearly all that happens to an agent with many secrets is that one of them is found unchanged;
//! what is noted here spares looking through them all each time.

use super::Agent;
use crate::agent::context::Context;
use crate::agent::event::{Op, Reading};
use crate::agent::polled::Polled;
use crate::error::{Class, Failure};
use crate::secret::Secret;
use crate::snapshot::SecretName;
use crate::time::Moment;

impl Agent {
    /// Takes the answer to a read.
    pub(super) fn read(&mut self, cx: &mut Context, op: Op, result: Result<Reading, Failure>) {
        let published = self.publication.visible().is_some();
        let Some(secret) = self.polled.values_mut().find(|secret| secret.waits_for(op)) else {
            return;
        };
        if result.as_ref().is_err_and(|failure| failure.class == Class::Denied) {
            self.session.doubt();
        }
        self.silence.heard(cx, result.as_ref().err());
        let nothing_new = matches!(result, Ok(Reading::Same)) && !secret.failing();
        secret.read(cx, result, published);
        self.polled_due = [self.polled_due, secret.due()].into_iter().flatten().min();
        if !nothing_new {
            self.stirred = true;
            self.compare_polled();
        }
    }

    /// Asks for those that are due.
    pub(super) fn step_polled(&mut self, cx: &mut Context, token: &Secret) {
        if self.read_at().is_none_or(|at| at > cx.now) {
            return;
        }
        let due = self.polled.values_mut().filter(|secret| secret.due().is_some());
        if self.silence.holds() {
            due.min_by_key(|secret| secret.due()).into_iter().for_each(|one| one.step(cx, token));
        } else {
            due.for_each(|secret| secret.step(cx, token));
        }
        self.count_due();
    }

    /// When one of them is to be asked for.
    pub(super) fn read_at(&self) -> Option<Moment> {
        let due = self.polled_due?;
        if !self.silence.holds() {
            return Some(due);
        }
        let asking = self.polled.values().any(Polled::asking);
        (!asking).then(|| due.max(self.silence.until()))
    }

    /// Notes when the first of them is due.
    pub(super) fn count_due(&mut self) {
        self.polled_due = self.polled.values().filter_map(Polled::due).min();
    }

    /// Notes whether all that are required are there, and whether readers see them as they are.
    pub(super) fn compare_polled(&mut self) {
        let visible = self.publication.visible();
        let shown = |name: &SecretName| visible.and_then(|all| all.get(name));
        self.polled_shown =
            self.polled.iter().all(|(name, secret)| secret.version() == shown(name));
        self.polled_there =
            self.polled.values().all(|secret| !secret.required() || secret.version().is_some());
    }
}
