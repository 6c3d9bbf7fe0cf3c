//! Where a rotation begins and ends, as records tell.
//!
//! Receives leases as they come and go, gives which one is in use. Never counts: `metrics` does.

use std::collections::{BTreeMap, BTreeSet};

use crate::snapshot::SecretName;

/// What must be remembered to tell the end of a rotation from its beginning.
#[derive(Default)]
pub(super) struct Known {
    /// The lease that the app uses, as far as records told.
    pub(super) current: BTreeMap<SecretName, String>,
    /// A lease that was issued and took over nothing yet.
    pub(super) candidate: BTreeMap<SecretName, String>,
    /// Leases on their way out, whose end is no loss.
    pub(super) leaving: BTreeSet<String>,
    /// Polled secrets that had a value before; a first value is no rotation.
    pub(super) read: BTreeSet<SecretName>,
}

impl Known {
    /// The first lease of a secret that becomes visible replaces none: no rotation.
    pub(super) fn publish(&mut self, secrets: &[SecretName]) {
        for secret in secrets {
            if !self.current.contains_key(secret)
                && let Some(lease) = self.candidate.remove(secret)
            {
                self.current.insert(secret.clone(), lease);
            }
        }
    }

    /// The policy gave `secrets` up; the end of what they had is no loss.
    pub(super) fn forget(&mut self, secrets: &[SecretName]) {
        for secret in secrets {
            let leases = [self.current.remove(secret), self.candidate.remove(secret)];
            self.leaving.extend(leases.into_iter().flatten());
            self.read.remove(secret);
        }
    }

    /// `lease` is the one in use from now on; the one before it is on its way out.
    pub(super) fn take_over(&mut self, secret: &SecretName, lease: &str) {
        self.candidate.remove(secret);
        if let Some(old) = self.current.insert(secret.clone(), lease.to_owned())
            && old != lease
        {
            self.leaving.insert(old);
        }
    }

    /// Whether `lease` was the one in use. One that no record named comes from an earlier process;
    /// it was in use unless it is on its way out.
    pub(super) fn lose(&mut self, secret: &SecretName, lease: &str) -> bool {
        if self.leaving.remove(lease) {
            return false;
        }
        if self.candidate.get(secret).is_some_and(|candidate| candidate == lease) {
            self.candidate.remove(secret);
            return false;
        }
        match self.current.get(secret) {
            Some(current) if current != lease => false,
            Some(_) | None => {
                self.current.remove(secret);
                true
            }
        }
    }
}
