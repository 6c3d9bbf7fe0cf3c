//! The set: every value that there is, and whether readers are to see it.

use std::collections::BTreeMap;

use super::Agent;
use crate::agent::leased::Leased;
use crate::agent::publication::Versions;
use crate::snapshot::{Generation, SecretName, Value};
use crate::time::Moment;

impl Agent {
    /// Every value that there is.
    pub(super) fn values(&self, now: Moment) -> BTreeMap<SecretName, Value> {
        let shown = |name: &SecretName| self.publication.shown().get(name);
        let leased = self.leased.iter().filter_map(|(name, secret)| {
            Some((name.clone(), secret.value(now, shown(name), &self.session)?))
        });
        let polled = self
            .polled
            .iter()
            .filter_map(|(name, secret)| Some((name.clone(), secret.value(now, shown(name))?)));
        leased.chain(polled).collect()
    }

    /// The version of every value that there is.
    pub(super) fn versions(&self, now: Moment) -> Versions {
        let shown = |name: &SecretName| self.publication.shown().get(name);
        let leased = self.leased.iter().filter_map(|(name, secret)| {
            Some((name.clone(), secret.version(now, shown(name), &self.session)?.clone()))
        });
        let polled = self.polled.iter().filter_map(|(name, secret)| {
            Some((name.clone(), secret.version(now, shown(name))?.clone()))
        });
        leased.chain(polled).collect()
    }

    /// What to publish in the files that are in use, where it is not what readers see: for the first
    /// generation every required secret must be there and every other have been tried.
    pub(super) fn publishable(&self, now: Moment) -> Option<Versions> {
        let open = self.stop.is_none() && self.differs(now) && self.complete(now);
        if self.switch.is_some() {
            let values = || self.values_in_use(now).into_iter();
            return open.then(|| values().map(|(name, value)| (name, value.version)).collect());
        }
        open.then(|| self.versions(now))
    }

    pub(super) fn complete(&self, now: Moment) -> bool {
        let first = self.publication.generation() == Generation(0);
        match self.publication.visible() {
            Some(_) => true,
            // The first set of this process has the files of the policy.
            None => self.switch.is_none() && self.whole(now, first),
        }
    }

    /// Whether all that is required is there, and for a `first` set everything else was tried.
    pub(super) fn whole(&self, now: Moment, first: bool) -> bool {
        let may_lack = |required: bool, tried: bool| !required && (tried || !first);
        let shown = |name: &SecretName| self.publication.shown().get(name);
        let mut leased = self.leased.iter();
        self.polled.iter().all(|(name, secret)| {
            secret.version(now, shown(name)).is_some()
                || may_lack(secret.required(), secret.settled())
        }) && leased.all(|(name, secret)| {
            secret.version(now, shown(name), &self.session).is_some()
                || may_lack(secret.required(), secret.tried())
        })
    }

    /// Whether readers see anything else than what there is.
    pub(super) fn differs(&self, now: Moment) -> bool {
        let Some(visible) = self.publication.visible() else { return true };
        let is_shown = |(name, secret): (&SecretName, &Leased)| {
            let shown = visible.get(name);
            secret.version(now, shown, &self.session) == shown
        };
        !self.polled_shown || !self.leased.iter().all(is_shown)
    }
}
