//! Where polled secrets come from: what is stored, in Vault or a file, what Vault replaces by itself,
//! and what it makes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use leasehold::agent::event::{Event, Op, Reading};
use leasehold::agent::{Gives, Policy, PolledPolicy, Refresh, SecretPolicy};
use leasehold::error::{Class, Failure};
use leasehold::lease::Granted;
use leasehold::secret::{Credential, Secret};
use leasehold::snapshot::{Field, SecretName, Version};
use leasehold::time::Moment;

use super::World;

/// How long readers may be left with a password that was replaced, where all is well.
const GAP: Duration = Duration::from_secs(1);

pub struct Values {
    /// Versions; `None`: it is not there, or broken.
    stored: BTreeMap<SecretName, Option<u64>>,
    statics: BTreeMap<SecretName, Static>,
    /// How long a password stands, and how late Vault is with the next.
    pub period: Duration,
    pub late: Duration,
    certificates: BTreeMap<Version, Certificate>,
    made: u64,
    /// How long a certificate lives.
    pub life: Duration,
}

/// A login whose password Vault replaces.
struct Static {
    number: u64,
    since: Moment,
}

#[derive(Clone)]
pub(super) struct Certificate {
    /// As what it was asked for.
    pub(super) source: String,
    pub(super) born: Moment,
    pub(super) ends: Moment,
}

fn polled(policy: &Policy, secret: &str) -> Option<PolledPolicy> {
    match policy.secrets.get(secret)? {
        SecretPolicy::Polled(polled) => Some(polled.clone()),
        SecretPolicy::Leased(_) => None,
    }
}

impl Values {
    pub(super) fn new(policy: &Policy, now: Moment) -> Self {
        let names = || policy.secrets.keys().filter(|name| polled(policy, name).is_some());
        Self {
            stored: names().map(|name| (name.clone(), Some(1))).collect(),
            statics: names().map(|name| (name.clone(), Static { number: 1, since: now })).collect(),
            period: Duration::from_secs(600),
            late: Duration::ZERO,
            certificates: BTreeMap::new(),
            made: 0,
            life: Duration::from_secs(3600),
        }
    }

    /// The password of `secret` at `now`, and since when it is.
    fn password(&mut self, secret: &SecretName, now: Moment) -> (u64, Moment) {
        let (period, late) = (self.period, self.late);
        let entry = self.statics.entry(secret.clone());
        let found = entry.or_insert(Static { number: 1, since: now });
        while now >= found.since + period + late {
            found.since = found.since + period + late;
            found.number += 1;
        }
        (found.number, found.since)
    }
}

impl World {
    pub(super) fn polled(&self, secret: &str) -> Option<PolledPolicy> {
        polled(&self.policy, secret)
    }

    pub(super) fn read(&mut self, op: Op, secret: SecretName, known: Option<Version>) {
        self.say(format!("read {secret}"));
        let sent = self.now;
        let policy = self.polled(&secret);
        let local = policy.as_ref().is_some_and(|it| matches!(it.refresh, Refresh::Local(_)));
        let shared = policy.is_some_and(|policy| policy.gives == Gives::Login);
        self.later(if local { "file" } else { "read" }, move |world, failure| {
            let result = match failure {
                Some(failure) => Err(failure),
                None if shared => Ok(world.shared(&secret, known.as_ref())),
                None => world.stored(&secret, known.as_ref()),
            };
            Event::Read { op, sent, result }
        });
    }

    fn stored(&self, secret: &SecretName, known: Option<&Version>) -> Result<Reading, Failure> {
        let version = self.values.stored.get(secret).copied().flatten();
        let version = version.ok_or_else(|| Failure::new(Class::Missing, "no such secret"))?;
        if known.is_some_and(|known| **known == *version.to_string()) {
            return Ok(Reading::Same { left: None });
        }
        let value = Field::Text(Secret::new(format!("value-{version}")));
        let fields = BTreeMap::from([("value".to_owned(), value)]);
        let content = Granted::Fields(Arc::new(fields));
        Ok(Reading::New { version: version.to_string().into(), content, left: None })
    }

    /// Vault tells whole seconds, and nothing is left of what is overdue.
    fn shared(&mut self, secret: &SecretName, known: Option<&Version>) -> Reading {
        let (number, since) = self.values.password(secret, self.now);
        let left = self.now.until(since + self.values.period);
        let left = Some(Duration::from_secs(left.as_secs()));
        let version: Version = format!("static-{number}").into();
        if known == Some(&version) {
            return Reading::Same { left };
        }
        let content = Granted::Login(Credential {
            username: "shared".to_owned(),
            password: Secret::new(format!("password-{number}")),
        });
        Reading::New { version, content, left }
    }

    pub(super) fn make(&mut self, op: Op, secret: SecretName, token: Secret) {
        self.say(format!("make {secret}"));
        self.check_make(&secret);
        let sent = self.now;
        self.later("make", move |world, failure| {
            let alive = world.vault.tokens.get(token.expose()).is_some_and(|life| life.alive);
            let unclear = failure.as_ref().is_some_and(|f| f.class == Class::Unclear);
            let result = match failure {
                Some(failure) if !unclear => Err(failure),
                _ if !alive => Err(Failure::new(Class::Denied, "permission denied")),
                failure => {
                    let reading = world.certificate(&secret, sent);
                    failure.map_or(Ok(reading), Err)
                }
            };
            Event::Read { op, sent, result }
        });
    }

    fn certificate(&mut self, secret: &SecretName, sent: Moment) -> Reading {
        self.spend(secret, self.values.life);
        self.values.made += 1;
        let number = self.values.made;
        let (born, ends) = (self.now, self.now + self.values.life);
        let version: Version = format!("certificate-{number}").into();
        let source = self.polled(secret).map(|policy| policy.source).unwrap_or_default();
        self.values.certificates.insert(version.clone(), Certificate { source, born, ends });
        let text = |what: &str| Field::Text(Secret::new(format!("{what}-{number}")));
        let fields = ["certificate", "private_key"].map(|name| (name.to_owned(), text(name)));
        let content = Granted::Fields(Arc::new(fields.into_iter().collect()));
        Reading::New { version, content, left: Some(sent.until(ends)) }
    }

    pub(super) fn certificate_of(&self, version: &Version) -> Option<Certificate> {
        self.values.certificates.get(version).cloned()
    }

    /// The number of the password that `secret` has.
    pub(super) fn password_of(&mut self, secret: &SecretName) -> u64 {
        self.values.password(secret, self.now).0
    }

    /// Whether this version of a polled secret is of any use.
    pub(super) fn is_good(
        &self,
        secret: &SecretName,
        policy: &PolledPolicy,
        seen: &Version,
    ) -> bool {
        if policy.refresh == Refresh::Made {
            return self.certificate_of(seen).is_some_and(|it| self.now < it.ends);
        }
        let of = |number: u64| **seen == *format!("static-{number}");
        let Some(Static { number, since }) = self.values.statics.get(secret) else { return true };
        let rotation = *since + self.values.period + self.values.late;
        let now = if self.now < rotation { *number } else { number + 1 };
        let recent = self.now.since(if self.now < rotation { *since } else { rotation }) < GAP;
        policy.gives == Gives::Fields || of(now) || (recent && of(now - 1))
    }

    pub fn write_kv(&mut self, secret: &str, version: Option<u64>) {
        self.values.stored.insert(secret.into(), version);
    }

    /// Somebody writes the file that `secret` comes from; one that is broken has no version.
    pub fn write_file(&mut self, secret: &str, version: Option<u64>) {
        self.write_kv(secret, version);
        self.send(Event::FilesChanged);
    }
}
