//! Looks that somebody asked for, before their time: a service that its database refused, a person.
//!
//! Receives wishes, has Vault asked about token, leases and values. Never lets wishes become a
//! storm: they are carried out a second apart, and what Vault did not answer keeps its pauses.

use std::collections::BTreeSet;
use std::time::Duration;

use super::Agent;
use crate::agent::context::Context;
use crate::snapshot::SecretName;
use crate::time::Moment;

const PAUSE: Duration = Duration::from_secs(1);

/// What is wished for, and when that was done last.
#[derive(Default)]
pub(super) struct Refreshing {
    wanted: BTreeSet<SecretName>,
    last: Option<Moment>,
}

impl Agent {
    /// Somebody wants `secret` looked at, or all of them.
    pub(super) fn want_refresh(&mut self, secret: Option<SecretName>) {
        match secret {
            Some(secret) => {
                self.refresh.wanted.insert(secret);
            }
            None => {
                self.refresh.wanted.extend(self.leased.keys().chain(self.polled.keys()).cloned())
            }
        }
    }

    /// When [`Agent::step_refresh`] has something to do.
    pub(super) fn refresh_due(&self) -> Option<Moment> {
        let last = self.refresh.last.unwrap_or(Moment::from_micros(0));
        (!self.refresh.wanted.is_empty()).then(|| last + PAUSE)
    }

    /// Has the next steps ask.
    pub(super) fn step_refresh(&mut self, cx: &Context) {
        if self.refresh_due().is_none_or(|at| at > cx.now) {
            return;
        }
        self.refresh.last = Some(cx.now);
        self.session.doubt();
        for name in std::mem::take(&mut self.refresh.wanted) {
            if let Some(secret) = self.leased.get_mut(&name) {
                secret.check();
            }
            if let Some(secret) = self.polled.get_mut(&name) {
                secret.refresh(cx.now);
            }
        }
        self.count_due();
    }
}
