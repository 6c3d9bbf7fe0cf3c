//! Another policy while the agent runs: what both have goes on, what is new begins, what is gone
//! drains.
//!
//! Receives the policy and what became of its first set. Nothing that is under way is dropped.
//! Readers' files change over in one step, once all that is required is there; until then they stay
//! those of before and are kept fresh: a secret that cannot be had holds back no other.

use std::collections::{BTreeMap, BTreeSet};

use super::{Agent, Policy, SecretPolicy};
use crate::agent::command::TargetName;
use crate::agent::context::Context;
use crate::agent::event::Visible;
use crate::agent::leased::Leased;
use crate::agent::polled::Polled;
use crate::agent::publication::Versions;
use crate::agent::target::Target;
use crate::audit::event::Record;
use crate::error::Failure;
use crate::lease::schedule::Retry;
use crate::snapshot::{SecretName, Value};
use crate::time::Moment;

/// The policy's files are not yet what readers have.
#[derive(Default)]
pub(super) struct Switch {
    /// Values of polled secrets that readers have and the policy does not: it gave them up, or has
    /// them from elsewhere.
    before: BTreeMap<SecretName, Value>,
    under_way: bool,
    retry: Retry,
    /// Whether it was said what is waited for.
    told: bool,
}

impl Agent {
    /// Goes on by `policy`. A stop goes on by the policy that it began with.
    pub(super) fn reload(&mut self, cx: &mut Context, policy: Policy) {
        if self.stop.is_some() {
            return;
        }
        let Policy { secrets, targets, on_stop, stop_timeout, until: _ } = policy;
        (self.on_stop, self.stop_timeout) = (on_stop, stop_timeout);
        let old = self.names();
        self.follow_secrets(cx, secrets);
        self.follow_targets(targets);
        let new = self.names();
        let added = new.difference(&old).cloned().collect();
        let removed = old.difference(&new).cloned().collect();
        cx.record(Record::Reloaded { added, removed });
        cx.dirty();
        self.compare_polled(cx.now);
        self.count_due();
    }

    fn names(&self) -> BTreeSet<SecretName> {
        self.leased.keys().chain(self.polled.keys()).cloned().collect()
    }

    fn follow_secrets(&mut self, cx: &mut Context, secrets: BTreeMap<SecretName, SecretPolicy>) {
        let mut leased = std::mem::take(&mut self.leased);
        let mut polled = std::mem::take(&mut self.polled);
        let mut before = self.switch.take().unwrap_or_default().before;
        for (name, secret) in secrets {
            match secret {
                SecretPolicy::Leased(policy) => {
                    let known = leased.remove(&name).or_else(|| self.retired.remove(&name));
                    let secret = match known {
                        Some(mut secret) => {
                            secret.follow(cx, policy);
                            secret
                        }
                        None => Leased::adopt(cx, name.clone(), policy, None, None),
                    };
                    self.leased.insert(name, secret);
                }
                SecretPolicy::Polled(policy) => {
                    let same = |secret: &mut Polled| *secret.source() == policy.source;
                    let known = polled.extract_if(&name..=&name, |_, it| same(it)).next();
                    let secret = match known {
                        Some((_, mut secret)) => {
                            secret.follow(cx.now, policy);
                            secret
                        }
                        None => {
                            let kept = polled.get(&name).and_then(Polled::kept);
                            Polled::adopt(cx, name.clone(), policy, kept)
                        }
                    };
                    self.polled.insert(name, secret);
                }
            }
        }
        for (name, mut secret) in leased {
            secret.retire(cx);
            self.retired.insert(name, secret);
        }
        let shown = self.publication.shown();
        for (name, secret) in polled {
            // A value that no reader has is of no use.
            let version = shown.get(&name);
            let value = secret.value(cx.now, version);
            let value = value.filter(|value| version == Some(&value.version));
            before.extend(value.map(|value| (name, value)));
        }
        self.switch = Some(Switch { before, ..Switch::default() });
    }

    fn follow_targets(&mut self, targets: BTreeMap<TargetName, BTreeSet<SecretName>>) {
        let mut known = std::mem::take(&mut self.targets);
        for (name, secrets) in targets {
            let new = || {
                let (none, nothing) = (Versions::new(), BTreeSet::new());
                Target::adopt(name.clone(), nothing, Versions::new(), &none)
            };
            let mut target = known.remove(&name).unwrap_or_else(new);
            target.want(secrets);
            self.targets.insert(name, target);
        }
    }

    /// When the files can change over.
    pub(super) fn switch_due(&self, now: Moment) -> Option<Moment> {
        let switch = self.switch.as_ref().filter(|switch| !switch.under_way)?;
        let ready = self.stop.is_none() && self.publication.idle() && self.whole(now, true);
        ready.then(|| switch.retry.not_before(Moment::from_micros(0)))
    }

    /// Changes the files over, or says once what that waits for.
    pub(super) fn step_switch(&mut self, cx: &mut Context) {
        if self.switch_due(cx.now).is_some_and(|at| at <= cx.now) {
            let (versions, values) = (self.versions(cx.now), self.values(cx.now));
            self.publication.switch(cx, versions, values);
            self.switch.iter_mut().for_each(|switch| switch.under_way = true);
        }
        let untold = self.switch.as_ref().is_some_and(|switch| !switch.told);
        let missing = if untold { self.tried_in_vain(cx.now) } else { Vec::new() };
        if let (Some(switch), false) = (&mut self.switch, missing.is_empty()) {
            switch.told = true;
            cx.record(Record::ReloadWaits { secrets: missing });
        }
    }

    /// Required secrets that there is no value of, though one was asked for.
    fn tried_in_vain(&self, now: Moment) -> Vec<SecretName> {
        let shown = |name: &SecretName| self.publication.shown().get(name);
        let leased = self.leased.iter().filter(|(name, secret)| {
            let missing = || secret.version(now, shown(name), &self.session).is_none();
            secret.required() && secret.tried() && missing()
        });
        let polled = self.polled.iter().filter(|(name, secret)| {
            let missing = || secret.version(now, shown(name)).is_none();
            secret.required() && secret.settled() && missing()
        });
        leased.map(|(name, _)| name).chain(polled.map(|(name, _)| name)).cloned().collect()
    }

    /// Takes what became of a publish or a repair. What a switch could not make visible is no
    /// failure of the set that is.
    pub(super) fn published(&mut self, cx: &mut Context, result: Result<Visible, Failure>) {
        match (self.switch.take(), result) {
            (Some(mut switch), Err(failure)) if switch.under_way => {
                switch.under_way = false;
                let generation = self.publication.give_up();
                let retry_in = cx.back_off(&mut switch.retry, None, &failure);
                cx.record(Record::PublishFailed { generation, failure, retry_in });
                self.switch = Some(switch);
            }
            (Some(switch), result) if switch.under_way => {
                // Another source may count its versions from 1 again.
                for target in self.targets.values_mut() {
                    switch.before.keys().for_each(|name| target.forget(name));
                }
                self.publication.published(cx, result);
            }
            (switch, result) => {
                self.switch = switch;
                self.publication.published(cx, result);
            }
        }
    }

    /// Every value that the files of readers may hold: until the switch also those of before.
    pub(super) fn values_in_use(&self, now: Moment) -> BTreeMap<SecretName, Value> {
        let mut values = self.values(now);
        if let (Some(switch), Some(visible)) = (&self.switch, self.publication.visible()) {
            let retired = self.retired.iter().filter_map(|(name, secret)| {
                Some((name.clone(), secret.value(now, visible.get(name), &self.session)?))
            });
            values.extend(retired);
            values.extend(switch.before.clone());
            values.retain(|name, _| visible.contains_key(name));
        }
        values
    }
}
