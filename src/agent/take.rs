//! What an event means for the parts: each answer goes to the one that asked.

use super::{Agent, OnStop, Unmet};
use crate::agent::context::Context;
use crate::agent::event::{Event, Op, Token};
use crate::agent::session::{self, Turn};
use crate::error::{Class, Failure};
use crate::lease::{Grant, LeaseTerm};
use crate::snapshot::SecretName;
use crate::time::Moment;

impl Agent {
    pub(super) fn take(&mut self, cx: &mut Context, event: Event) {
        self.stirred |= !matches!(event, Event::Wake | Event::Read { .. } | Event::FilesChanged);
        match event {
            Event::Wake => {}
            Event::LoggedIn { op, sent, result } => {
                let around = self.around_session(cx.now);
                self.session.logged_in(cx, op, sent, result, &around);
            }
            Event::Unwrapped { op, unwrapped } => self.session.unwrapped(cx, op, unwrapped),
            Event::TokenSeen { op, sent, result } => {
                if let Some(secret) = self.all_leased().find(|secret| secret.waits_for(op)) {
                    secret.lease_seen(cx, op, sent, result.map(LeaseTerm::from));
                } else if let Turn::Died(id) = self.session.seen(cx, op, sent, result) {
                    self.session_died(cx, id);
                }
            }
            Event::TokenRevoked { op, result } => {
                if let Some(secret) = self.all_leased().find(|secret| secret.ends_child(op)) {
                    secret.child_ended(cx, op, result);
                } else {
                    self.session.revoked(cx, op, result);
                }
            }
            Event::TokenCreated { op, secret, sent, result } => {
                self.token_created(cx, op, &secret, sent, result);
            }
            Event::Issued { op, secret, sent, result } => {
                self.issued(cx, op, &secret, sent, result)
            }
            Event::LeaseSeen { op, sent, result } => {
                let failed = result.as_ref().err().map(|failure| failure.class);
                // One that should live may be gone with its token.
                let gone = failed == Some(Class::Gone) && self.all_leased().any(|it| it.keeps(op));
                if gone || failed == Some(Class::Denied) {
                    self.session.doubt();
                }
                if let Some(secret) = self.all_leased().find(|secret| secret.waits_for(op)) {
                    secret.lease_seen(cx, op, sent, result);
                }
            }
            Event::LeaseRevoked { op, result } => {
                if let Some(secret) = self.all_leased().find(|secret| secret.waits_for(op)) {
                    secret.lease_revoked(cx, op, result);
                }
            }
            Event::Read { op, sent, result } => self.read(cx, op, sent, result),
            Event::FilesChanged => self.files_changed(),
            // A stop ends the logins that probes and counts are made with.
            Event::Accepted { .. } | Event::Probed { .. } | Event::Counted { .. }
                if self.stop.is_some() => {}
            Event::Accepted { op } => {
                for secret in self.all_leased() {
                    secret.accepted(cx, op);
                }
            }
            Event::Probed { op, result } => {
                for secret in self.all_leased() {
                    secret.probed(cx, op, result.clone());
                }
            }
            Event::Counted { op, result } => {
                for secret in self.all_leased() {
                    secret.counted(cx, op, result.clone());
                }
            }
            Event::Rehearsed { result } => self.publication.rehearsal(cx, result),
            Event::Published { result } => {
                self.published(cx, result);
                if let Some(visible) = self.publication.visible() {
                    for (name, secret) in &mut self.leased {
                        secret.visible(cx, visible.get(name));
                    }
                }
                self.compare_polled(cx.now);
            }
            Event::Delivered { op, result } => {
                let untold = |name: &&SecretName| !self.around_leased(name).told;
                let untold: Vec<SecretName> = self.leased.keys().filter(untold).cloned().collect();
                for target in self.targets.values_mut() {
                    target.delivered(cx, op, result.clone());
                }
                for name in untold {
                    if self.around_leased(&name).told
                        && let Some(secret) = self.leased.get_mut(&name)
                    {
                        secret.count_anew(cx);
                    }
                }
            }
            Event::Drifted { file } => self.publication.drifted(cx.now, file),
            Event::Reload(policy) => self.reload(cx, policy),
            Event::Refresh { secret } => self.want_refresh(secret),
            Event::Stop => {
                let unmet = self.once.as_ref().map(|_| Unmet::Stopped);
                self.begin_stop(cx, unmet);
            }
        }
    }

    pub(super) fn issued(
        &mut self,
        cx: &mut Context,
        op: Op,
        name: &SecretName,
        sent: Moment,
        result: Result<Grant, Failure>,
    ) {
        if result.as_ref().is_err_and(|failure| failure.class == Class::Denied) {
            self.session.doubt();
        }
        let (session, stopping) = (&self.session, self.stop.is_some());
        let on_stop = self.on_stop;
        let mut all = [self.leased.get_mut(name), self.retired.get_mut(name)].into_iter().flatten();
        if let Some(secret) = all.find(|secret| secret.issues(op)) {
            let usable = |id| session.alive(id) && !(stopping && on_stop != OnStop::Keep);
            let unclear = result.as_ref().is_err_and(|failure| failure.class == Class::Unclear);
            let haunted = secret.haunts().filter(|_| unclear);
            secret.issued(cx, sent, result, usable);
            if let Some(id) = haunted {
                self.session.haunt(cx, id);
            }
        }
    }

    pub(super) fn token_created(
        &mut self,
        cx: &mut Context,
        op: Op,
        name: &SecretName,
        sent: Moment,
        result: Result<Token, Failure>,
    ) {
        let Some(secret) = self.leased.get_mut(name).filter(|secret| secret.issues(op)) else {
            return;
        };
        match result {
            Ok(token) => {
                let (session, stopping) = (&self.session, self.stop.is_some());
                secret.issue_under(cx, sent, token, |id| session.alive(id) && !stopping);
            }
            Err(failure) => match failure.class {
                Class::Again { .. } | Class::Unclear => secret.issue_failed(cx, failure),
                Class::Gone => {
                    self.session.doubt();
                    secret.issue_failed(cx, failure);
                }
                Class::Denied | Class::Missing | Class::Conflict | Class::Ours => {
                    self.session.no_children(cx, failure);
                    secret.issue_again();
                }
            },
        }
    }

    pub(super) fn session_died(&mut self, cx: &mut Context, id: session::SessionId) {
        for secret in self.all_leased() {
            secret.session_died(cx, id);
        }
    }
}
