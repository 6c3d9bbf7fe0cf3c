//! What is due, and what happens then: each part steps with what it needs to know of the others.

use super::{Agent, LOOKUP};
use crate::agent::context::Context;
use crate::agent::leased::{self, Leased, Undoing};
use crate::agent::session;
use crate::snapshot::SecretName;
use crate::time::Moment;

impl Agent {
    pub(super) fn advance(&mut self, cx: &mut Context) {
        self.hear(cx);
        self.step_once(cx);
        let stopping = self.stop.is_some();
        if !stopping {
            self.step_refresh(cx);
        }
        let around = self.around_session(cx.now);
        if self.needs_vault() {
            let idle = !self.uses_vault();
            if idle {
                self.session.let_go(cx);
            }
            for id in self.session.step(cx, &around, stopping || idle) {
                self.session_died(cx, id);
            }
        }
        if !stopping {
            self.step_polled(cx);
        }
        self.step_leased(cx);
        self.step_issues(cx);
        let (now, wanted) = (cx.now, self.publishable(cx.now));
        if self.publication.due(wanted.as_ref()).is_some_and(|at| at <= now) {
            let values = self.values_in_use(now);
            self.publication.step(cx, wanted, values);
        }
        self.step_switch(cx);
        let visible = self.publication.visible();
        let due = self.targets.values().filter_map(|target| target.due(visible)).min();
        // Nobody is told of a set that is about to be replaced.
        let telling = !stopping && self.publication.publishing().is_none();
        if telling && due.is_some_and(|at| at <= now) {
            let values = self.values_in_use(now);
            let (generation, visible) = (self.publication.generation(), self.publication.visible());
            for target in self.targets.values_mut() {
                target.step(cx, generation, visible, &values);
            }
        }
        self.step_stop(cx);
        self.hear(cx);
    }

    pub(super) fn step_leased(&mut self, cx: &mut Context) {
        let names: Vec<SecretName> = self.leased.keys().cloned().collect();
        for name in names {
            let Some(mut secret) = self.leased.remove(&name) else { continue };
            secret.step(cx, &self.around_leased(&name));
            self.leased.insert(name, secret);
        }
        let around = leased::Surroundings {
            session: &self.session,
            may_issue: false,
            stopping: true,
            told: true,
        };
        // Only what is visible in their place lets the app do without them.
        let replaced = self.publication.visible().is_some() && self.switch.is_none();
        let replaced = replaced && self.stop.is_none();
        for secret in self.retired.values_mut() {
            if replaced {
                secret.drain_all(cx, false);
            }
            secret.step(cx, &around);
        }
        self.retired.retain(|_, secret| !secret.over(cx.now));
    }

    pub(super) fn wants_issue(&self, now: Moment) -> Option<Moment> {
        let all = self.leased.iter();
        all.filter_map(|(name, secret)| secret.issue_at(now, &self.around_leased(name))).min()
    }

    pub(super) fn step_issues(&mut self, cx: &mut Context) {
        if self.wants_issue(cx.now).is_none_or(|at| at > cx.now) {
            return;
        }
        let mut rehearsal = self.values(cx.now);
        for (name, secret) in &self.leased {
            if let (false, Some(value)) = (rehearsal.contains_key(name), secret.stand_in()) {
                rehearsal.insert(name.clone(), value);
            }
        }
        if !self.publication.rehearsed(cx, rehearsal) {
            return;
        }
        let Some((session, token)) = self.session.token() else { return };
        let token = token.clone();
        let due: Vec<SecretName> = self
            .leased
            .iter()
            .filter(|(name, secret)| {
                secret.issue_at(cx.now, &self.around_leased(name)).is_some_and(|at| at <= cx.now)
            })
            .map(|(name, _)| name.clone())
            .collect();
        let (unused, children) = (self.session.is_unused(), self.session.bears_children());
        self.session.used(cx);
        for name in due {
            if let Some(secret) = self.leased.get_mut(&name) {
                // What a file cannot hold is ended like what nobody read: no reason for a new session.
                let undoing = match (unused && secret.gives_login(), children) {
                    (true, _) => Undoing::Session,
                    (false, true) => Undoing::Child,
                    (false, false) => Undoing::Nothing,
                };
                secret.issue(cx, (session, &token), undoing);
            }
        }
    }

    pub(super) fn wakeup(&self, now: Moment) -> Option<Moment> {
        let online = self.session.token().is_some();
        let no_login = self.stop.is_some() || !self.uses_vault();
        let session = self.session.due(&self.around_session(now), no_login);
        let session = session.filter(|_| self.needs_vault());
        let leased = self
            .leased
            .iter()
            .filter_map(|(name, secret)| secret.due(&self.around_leased(name)))
            .min();
        let around = leased::Surroundings {
            session: &self.session,
            may_issue: false,
            stopping: true,
            told: true,
        };
        let retired = self.retired.values().filter_map(|secret| secret.due(&around)).min();
        if let Some(stop) = &self.stop {
            if stop.exited {
                return None;
            }
            let tokens = (stop.tokens_at > now).then_some(stop.tokens_at);
            let all = [session, leased, retired, tokens, Some(stop.deadline)];
            return all.into_iter().flatten().min();
        }
        let polled = self.polled_wakeup(online);
        let issue = self.wants_issue(now).filter(|_| !self.publication.rehearsing());
        let issue = issue.map(|at| at.max(self.publication.rehearsal_at()));
        let publication = self.publication.due(self.publishable(now).as_ref());
        let switch = self.switch_due(now);
        let visible = self.publication.visible();
        let targets = self.targets.values().filter_map(|target| target.due(visible)).min();
        let targets = targets.filter(|_| self.publication.publishing().is_none());
        let (once, refresh) = (self.once_due(now), self.refresh_due());
        let all =
            [session, leased, retired, polled, issue, publication, switch, targets, once, refresh];
        all.into_iter().flatten().min()
    }

    pub(super) fn around_session(&self, now: Moment) -> session::Surroundings {
        let leased = || self.leased.values();
        session::Surroundings {
            // What can wait for the first publish can wait for the next process too.
            started: self.publication.visible().is_some() && self.stop.is_none(),
            lookup: leased().map(Leased::lookup).min().unwrap_or(LOOKUP),
            overlap: leased().map(Leased::overlap).max().unwrap_or_default(),
            in_use: leased().chain(self.retired.values()).flat_map(Leased::sessions).collect(),
            proved: leased().flat_map(Leased::looked_at).collect(),
            first_expiry: leased().filter_map(|secret| secret.expires(now)).min(),
        }
    }

    /// Whether leases of `name` may be made: every required polled secret is there, so that a
    /// missing one costs no database user; a login that readers have is replaced all the same.
    fn may_issue(&self, name: &SecretName) -> bool {
        let in_use = || self.publication.visible().is_some_and(|all| all.contains_key(name));
        self.stop.is_none() && (self.polled_there || in_use())
    }

    pub(super) fn around_leased(&self, name: &SecretName) -> leased::Surroundings<'_> {
        let visible = self.publication.visible();
        leased::Surroundings {
            session: &self.session,
            may_issue: self.may_issue(name),
            stopping: self.stop.is_some(),
            told: visible.is_some()
                && self.targets.values().all(|target| target.told(name, visible)),
        }
    }
}
