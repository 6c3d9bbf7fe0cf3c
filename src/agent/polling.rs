//! All polled secrets together: when they are asked for, and what is known of them as a whole.
//!
//! Nearly all that happens to an agent with many secrets is that one of them is found unchanged;
//! what is noted here spares looking through them all each time.

use super::Agent;
use crate::agent::context::Context;
use crate::agent::event::{Op, Reading};
use crate::agent::polled::Polled;
use crate::error::{Class, Failure};
use crate::snapshot::SecretName;
use crate::time::Moment;

/// When the first of them has something to do.
#[derive(Default)]
pub(super) struct Due {
    /// To ask Vault.
    vault: Option<Moment>,
    /// To look at a file.
    local: Option<Moment>,
    /// To say that it ended.
    end: Option<Moment>,
}

impl Due {
    fn count(&mut self, secret: &Polled) {
        let read = if secret.is_local() { &mut self.local } else { &mut self.vault };
        for (first, at) in [(read, secret.due()), (&mut self.end, secret.end_due())] {
            *first = [*first, at].into_iter().flatten().min();
        }
    }
}

impl Agent {
    /// Takes the answer to a read.
    pub(super) fn read(
        &mut self,
        cx: &mut Context,
        op: Op,
        sent: Moment,
        result: Result<Reading, Failure>,
    ) {
        let mut all = self.polled.iter_mut();
        let Some((name, secret)) = all.find(|(_, secret)| secret.waits_for(op)) else { return };
        if !secret.is_local() {
            if result.as_ref().is_err_and(|failure| failure.class == Class::Denied) {
                self.session.doubt();
            }
            self.silence.heard(cx, result.as_ref().err());
        }
        let same = matches!(result, Ok(Reading::Same { .. }));
        let nothing_new = same && !secret.failing();
        let published = self.publication.visible().is_some();
        secret.read(cx, sent, result, self.publication.shown(), published);
        self.polled_due.count(secret);
        if secret.takes_wish() && secret.is_local() && same {
            // How a developer has a rotation without another value.
            self.targets.values_mut().for_each(|target| target.forget(name));
        }
        if !nothing_new {
            self.stirred = true;
            self.compare_polled(cx.now);
        }
    }

    /// Files that secrets come from may have changed.
    pub(super) fn files_changed(&mut self) {
        let local = self.polled.values_mut().filter(|secret| secret.is_local());
        local.for_each(Polled::changed);
        self.count_due();
    }

    /// Asks for those that are due, and says which ended.
    pub(super) fn step_polled(&mut self, cx: &mut Context) {
        let token = self.session.token().map(|(_, token)| token);
        let online = token.is_some();
        if self.polled_wakeup(online).is_none_or(|at| at > cx.now) {
            return;
        }
        let due =
            |secret: &&mut Polled, local| secret.is_local() == local && secret.due().is_some();
        let files = self.polled.values_mut().filter(|secret| due(secret, true));
        files.for_each(|secret| secret.step(cx, None));
        if self.ask_at().is_some_and(|at| at <= cx.now) {
            let due = self.polled.values_mut().filter(|secret| due(secret, false));
            if self.silence.holds() {
                let first = due.min_by_key(|secret| secret.due());
                first.into_iter().for_each(|one| one.step(cx, token));
            } else {
                due.for_each(|secret| secret.step(cx, token));
            }
        }
        if self.polled_due.end.is_some_and(|at| at <= cx.now) {
            self.polled.values_mut().for_each(|secret| secret.step_end(cx));
            self.compare_polled(cx.now);
        }
        self.count_due();
    }

    /// When [`Agent::step_polled`] has something to do; `online`: Vault can be asked.
    pub(super) fn polled_wakeup(&self, online: bool) -> Option<Moment> {
        let vault = self.ask_at().filter(|_| online);
        [vault, self.polled_due.local, self.polled_due.end].into_iter().flatten().min()
    }

    /// When Vault is to be asked for one of them.
    fn ask_at(&self) -> Option<Moment> {
        let due = self.polled_due.vault?;
        if !self.silence.holds() {
            return Some(due);
        }
        let asking = self.polled.values().any(|secret| secret.asking() && !secret.is_local());
        (!asking).then(|| due.max(self.silence.until()))
    }

    /// Notes when the first of them is due.
    pub(super) fn count_due(&mut self) {
        self.polled_due = Due::default();
        self.polled.values().for_each(|secret| self.polled_due.count(secret));
    }

    /// Notes whether all that are required are there, and whether readers see them as they are.
    pub(super) fn compare_polled(&mut self, now: Moment) {
        let visible = self.publication.visible();
        let all = self.publication.shown();
        let shown = |name: &SecretName| visible.and_then(|all| all.get(name));
        for (name, secret) in &mut self.polled {
            secret.visible(all.get(name));
        }
        let mut each = self.polled.iter();
        self.polled_shown =
            each.all(|(name, secret)| secret.version(now, all.get(name)) == shown(name));
        self.polled_there = self.polled.iter().all(|(name, secret)| {
            !secret.required() || secret.version(now, all.get(name)).is_some()
        });
    }
}
