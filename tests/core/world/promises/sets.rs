//! Promises 1 to 4: what readers see, and what is said of it.

use leasehold::agent::command::Notice;
use leasehold::agent::{Refresh, SecretPolicy};
use leasehold::secret::Secret;
use leasehold::snapshot::{Content, Field, SecretName, Snapshot, Value, Version};

use crate::world::World;
use crate::world::values::Certificate;

impl World {
    pub(in crate::world) fn check_snapshot(
        &mut self,
        snapshot: &Snapshot,
        before: Option<&Snapshot>,
    ) {
        if before.is_some_and(|old| old.generation >= snapshot.generation) {
            self.broke("the generation does not grow");
        }
        for (name, value) in &snapshot.secrets {
            let login = matches!(value.content, Content::Database { .. });
            if !login || self.polled(name).is_some() {
                continue;
            }
            let old = before.and_then(|old| old.secrets.get(name));
            if old.is_some_and(|old| old.version == value.version) {
                continue;
            }
            let (now, version) = (self.now, value.version.to_string());
            if value.expires.is_some_and(|end| end <= now) {
                self.broke(format!("{name} is published past its expiry"));
            }
            let connected = match self.policy.secrets.get(name) {
                Some(SecretPolicy::Leased(policy)) => policy.connection.is_some(),
                _ => false,
            };
            let known = self.proved.contains(&version) || self.unproved.contains(&version);
            if !connected {
                // Readers had it before another policy names a database that could take it.
                self.unproved.insert(version);
            } else if !known {
                self.broke(format!("{name} is published with no proof and no word of it"));
            }
        }
        for name in before.into_iter().flat_map(|old| old.secrets.keys()) {
            let wanted = self.policy.secrets.contains_key(name);
            if wanted && !snapshot.secrets.contains_key(name) {
                self.broke(format!("{name} was visible and is taken away"));
            }
        }
    }

    /// A notice speaks of what readers see.
    pub(in crate::world) fn check_notice(&mut self, notice: &Notice) {
        let Some(visible) = &self.visible else {
            return self.broke("a notice of nothing");
        };
        let seen = notice.secrets.iter().all(|told| {
            visible.secrets.get(&told.name).is_some_and(|value| value.version == told.version)
        });
        if notice.generation != visible.generation || !seen {
            self.broke("a notice of what is not visible");
        }
    }

    /// What enters the set: whole, alive, and never something from before.
    pub(in crate::world) fn check_values(
        &mut self,
        snapshot: &Snapshot,
        before: Option<&Snapshot>,
    ) {
        // A secret that the policy gave up may come back with the login that it had, or with another.
        for (name, old) in before.into_iter().flat_map(|old| &old.secrets) {
            if !snapshot.secrets.contains_key(name) {
                self.ledger.settled.insert(old.version.to_string());
                self.ledger.taken_out.insert(old.version.to_string());
                self.ledger.shown.entry(name.clone()).or_default().remove(&old.version);
            }
        }
        for (name, value) in &snapshot.secrets {
            let old = before.and_then(|old| old.secrets.get(name));
            let changed = old.is_none_or(|old| old.version != value.version);
            let made = self.polled(name).is_some_and(|it| it.refresh == Refresh::Made);
            match &value.content {
                Content::Database { .. } if self.polled(name).is_some() => {
                    self.check_shared(name, value, old);
                }
                Content::Database { .. } if changed => self.check_login(name, value),
                Content::Database { .. } => {}
                // The one before stays where its successor ended unseen.
                Content::Fields(_) if made && !changed => {}
                Content::Fields(_) => {
                    let read = self.ledger.read.get(name);
                    if read.is_some_and(|read| *read != value.version) {
                        self.broke(format!("{name} is published as it was before"));
                    }
                    if made {
                        self.check_certificate(name, value);
                    }
                }
            }
        }
    }

    /// Promises 1 and 4, of a certificate that enters the set.
    fn check_certificate(&mut self, name: &SecretName, value: &Value) {
        let Content::Fields(fields) = &value.content else { return };
        let Some(Certificate { ends, .. }) = self.certificate_of(&value.version) else {
            return self.broke(format!("{name} is published with a certificate that never was"));
        };
        let number = value.version.trim_start_matches("certificate-").to_owned();
        let is = |part: &str| {
            let text = Field::Text(Secret::new(format!("{part}-{number}")));
            fields.get(part) == Some(&text)
        };
        if !is("certificate") || !is("private_key") {
            self.broke(format!("{name} is published with half of another certificate"));
        }
        if ends <= self.now {
            self.broke(format!("{name} is published past its real end"));
        }
        if value.expires.is_none_or(|claim| claim > ends) {
            let claims = value.expires;
            self.broke(format!("{name} claims to live until {claims:?}, and ends at {ends:?}"));
        }
    }

    /// A login that all share: whole, and never one from before.
    fn check_shared(&mut self, name: &SecretName, value: &Value, old: Option<&Value>) {
        let Content::Database { credential, .. } = &value.content else { return };
        let number = |version: &Version| version.trim_start_matches("static-").parse::<u64>();
        let Ok(new) = number(&value.version) else {
            return self.broke(format!("{name} is published with a login that never was"));
        };
        if credential.password != Secret::new(format!("password-{new}")) {
            self.broke(format!("{name} is published with half of another login"));
        }
        let before = old.and_then(|old| number(&old.version).ok()).unwrap_or_default();
        if new < before || new > self.password_of(name) {
            self.broke(format!("{name} goes back to an earlier login"));
        }
    }

    pub(in crate::world) fn check_login(&mut self, name: &SecretName, value: &Value) {
        let Content::Database { credential, .. } = &value.content else { return };
        self.ledger.rotations += 1;
        if !self.ledger.shown.entry(name.clone()).or_default().insert(value.version.clone()) {
            self.broke(format!("{name} goes back to an earlier login"));
        }
        self.ledger.taken_out.remove(&*value.version);
        let Some((id, lease)) = self.lease_by(&value.version) else {
            return self.broke(format!("{name} is published with a login that never was"));
        };
        let number = id.trim_start_matches("lease-");
        let whole = credential.username == format!("user-{number}")
            && credential.password.expose() == format!("password-{number}");
        let token = self.vault.tokens.get(self.session_of(&lease.token));
        let ends = token.map_or(lease.life.expires, |token| token.expires.min(lease.life.expires));
        let claims = value.expires;
        if !whole {
            self.broke(format!("{name} is published with half of another login"));
        }
        if ends <= self.now {
            self.broke(format!("{name} is published past its real end"));
        }
        if claims.is_none_or(|claim| claim > ends) {
            self.broke(format!("{name} claims to live until {claims:?}, and ends at {ends:?}"));
        }
    }

    /// After an answer was dealt with: what could not be refreshed is shown as such.
    pub(in crate::world) fn check_stale(&mut self) {
        let Some(secret) = self.ledger.stale.take() else { return };
        let Some(agent) = self.agent.as_ref().filter(|_| !self.stopping) else { return };
        let view = agent.view(self.now);
        if view.secrets.get(&secret).is_some_and(|shown| !shown.stale) {
            self.broke(format!("{secret} could not be read and does not show as stale"));
        }
    }
}
