//! One notify target: told of what is visible until it has acknowledged it.
//!
//! Receives what is visible and answers, gives notices. A notice is due as long as the versions that
//! it acknowledged are not those that are visible; only the newest is told. Never holds up a publish
//! or another target.

use std::collections::{BTreeMap, BTreeSet};

use crate::agent::command::{Command, Notice, NoticeSecret, TargetName};
use crate::agent::context::Context;
use crate::agent::event::Op;
use crate::agent::publication::Versions;
use crate::audit::event::Record;
use crate::error::Failure;
use crate::lease::schedule::Retry;
use crate::snapshot::{Generation, SecretName, Value};
use crate::time::Moment;

/// A notify target.
pub struct Target {
    name: TargetName,
    secrets: BTreeSet<SecretName>,
    acknowledged: Versions,
    asked: Option<(Op, Generation, Versions)>,
    /// What the last failed try was about; something newer is told at once.
    failed: Option<Versions>,
    retry: Retry,
}

impl Target {
    /// Goes on from what it acknowledged to an earlier process; `shown` is what readers see. What
    /// differs from that may have been told and acknowledged since.
    pub fn adopt(
        name: TargetName,
        secrets: BTreeSet<SecretName>,
        mut acknowledged: Versions,
        shown: &Versions,
    ) -> Self {
        acknowledged.retain(|name, version| shown.get(name).is_none_or(|shown| shown == version));
        let failed = None;
        Self { name, secrets, acknowledged, asked: None, failed, retry: Retry::default() }
    }

    /// What the next process takes over.
    pub fn kept(&self) -> Versions {
        self.acknowledged.clone()
    }

    /// Wants to hear of these from now on.
    pub fn want(&mut self, secrets: BTreeSet<SecretName>) {
        self.secrets = secrets;
    }

    /// What it acknowledged of `secret` is no longer what its versions mean.
    pub fn forget(&mut self, secret: &SecretName) {
        self.acknowledged.remove(secret);
        self.asked.iter_mut().for_each(|(_, _, versions)| drop(versions.remove(secret)));
    }

    fn owed(&self, visible: Option<&Versions>) -> Versions {
        let wanted = visible.into_iter().flatten().filter(|(name, version)| {
            self.secrets.contains(*name) && self.acknowledged.get(*name) != Some(version)
        });
        wanted.map(|(name, version)| (name.clone(), version.clone())).collect()
    }

    /// Whether it has acknowledged the visible version of `secret`, or does not want it.
    pub fn told(&self, secret: &SecretName, visible: Option<&Versions>) -> bool {
        let shown = visible.and_then(|visible| visible.get(secret));
        !self.secrets.contains(secret)
            || shown.is_none_or(|_| self.acknowledged.get(secret) == shown)
    }

    /// Whether it owes an acknowledgement.
    pub fn pending(&self, visible: Option<&Versions>) -> bool {
        !self.owed(visible).is_empty()
    }

    /// When [`Target::step`] has something to do.
    pub fn due(&self, visible: Option<&Versions>) -> Option<Moment> {
        let owed = self.owed(visible);
        if self.asked.is_some() || owed.is_empty() {
            return None;
        }
        let at_once = Moment::from_micros(0);
        let same = self.failed.as_ref() == Some(&owed);
        Some(if same { self.retry.not_before(at_once) } else { at_once })
    }

    /// Tells it what is visible.
    pub fn step(
        &mut self,
        cx: &mut Context,
        generation: Generation,
        visible: Option<&Versions>,
        values: &BTreeMap<SecretName, Value>,
    ) {
        if self.due(visible).is_none_or(|at| at > cx.now) {
            return;
        }
        let owed = self.owed(visible);
        let secrets = owed.iter().map(|(name, version)| {
            let value = values.get(name).filter(|value| value.version == *version);
            NoticeSecret {
                name: name.clone(),
                version: version.clone(),
                expires: value.and_then(|value| value.expires),
                previous_ends: value.and_then(|value| value.previous_ends),
            }
        });
        let notice = Notice { generation, secrets: secrets.collect() };
        // It may take this in and its answer be lost: then going back to what it acknowledged
        // before is news to it.
        self.acknowledged.retain(|name, _| !owed.contains_key(name));
        let op = cx.op();
        self.asked = Some((op, generation, owed));
        cx.push(Command::Deliver { op, target: self.name.clone(), notice });
    }

    /// Takes the answer to a notice.
    pub fn delivered(&mut self, cx: &mut Context, op: Op, result: Result<(), Failure>) {
        let Some((_, generation, versions)) = self.asked.take_if(|asked| asked.0 == op) else {
            return;
        };
        let target = self.name.clone();
        match result {
            Ok(()) => {
                self.retry = Retry::default();
                self.failed = None;
                self.acknowledged.extend(versions);
                cx.dirty();
                cx.record(Record::Delivered { target, generation });
            }
            Err(failure) => {
                if self.failed.as_ref() != Some(&versions) {
                    self.retry = Retry::default();
                }
                self.failed = Some(versions);
                let retry_in = cx.back_off(&mut self.retry, None, &failure);
                cx.record(Record::DeliveryFailed { target, generation, failure, retry_in });
            }
        }
    }
}
