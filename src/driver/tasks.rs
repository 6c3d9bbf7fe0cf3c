//! What runs beside the loop: one task for each command, one completion for each task.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::agent::command::{Command, TargetName};
use crate::agent::event::{Event, Reading};
use crate::error::{Class, Failure};
use crate::lease::{Grant, Granted};
use crate::notice;
use crate::postgres::Database;
use crate::render::{self, File};
use crate::secret::Secret;
use crate::snapshot::{Content, Fields, Generation, SecretName, Snapshot, Value, Version};
use crate::time::{Clock, Moment};
use crate::vault::{Source, Vault};

/// Everything that commands reach outside of this process.
pub struct Outside {
    /// Vault.
    pub vault: Vault,
    /// Where each secret comes from.
    pub sources: BTreeMap<SecretName, Source>,
    /// The database of each secret that has one.
    pub databases: BTreeMap<SecretName, Database>,
    /// What is rendered.
    pub files: Vec<File>,
    /// How to reach each target.
    pub targets: BTreeMap<TargetName, notice::Settings>,
    /// What every notice says.
    pub notice: notice::Context,
    /// Tells the time.
    pub clock: Clock,
}

fn unknown(name: &str) -> Failure {
    Failure::new(Class::Ours, format!("`{name}` is not in the configuration"))
}

impl Outside {
    fn source(&self, name: &SecretName) -> Result<&Source, Failure> {
        self.sources.get(name).ok_or_else(|| unknown(name))
    }

    /// A new value is good only where every file that names it can hold it: published, one that
    /// cannot would hold back every other secret.
    fn tried_out(&self, name: &SecretName, fields: Arc<Fields>) -> Result<(), Failure> {
        let value = |content| Value {
            version: Version::from("rehearsal"),
            expires: None,
            previous_ends: None,
            content,
        };
        let logins = self.sources.iter().filter_map(|(other, source)| match source {
            Source::Database { .. } => {
                let connection = self.databases.get(other).map(Database::connection);
                Some((other.clone(), Value::stand_in(connection.cloned())))
            }
            Source::Kv { .. } | Source::Leased { .. } | Source::Plain { .. } => None,
        });
        let mut secrets: BTreeMap<SecretName, Value> = logins.collect();
        secrets.insert(name.clone(), value(Content::Fields(fields)));
        render::try_out(&self.files, &Snapshot { generation: Generation(0), secrets }, name)
    }

    async fn issue(
        &self,
        now: Moment,
        name: &SecretName,
        token: &Secret,
    ) -> Result<Grant, Failure> {
        let Some(database) = self.databases.get(name) else {
            return self.issue_alone(name, token).await;
        };
        database.connect_ahead(now);
        let grant = self.issue_alone(name, token).await;
        if grant.is_err() {
            database.close_ahead();
        }
        grant
    }

    async fn issue_alone(&self, name: &SecretName, token: &Secret) -> Result<Grant, Failure> {
        let grant = self.vault.issue(token, self.source(name)?).await?;
        if let Granted::Fields(fields) = &grant.content
            && let Err(mut failure) = self.tried_out(name, fields.clone())
        {
            // It was one of the leases that the budget allows.
            failure.class = Class::Unclear;
            return Err(self.vault.discard(token, &grant.lease_id, failure).await);
        }
        Ok(grant)
    }

    async fn read(
        &self,
        name: &SecretName,
        known: Option<&Version>,
        token: &Secret,
    ) -> Result<Reading, Failure> {
        let reading = self.vault.read(token, self.source(name)?, known).await?;
        let Reading::New { version, fields } = reading else { return Ok(reading) };
        let fields = Arc::new(fields);
        self.tried_out(name, fields.clone())?;
        Ok(Reading::New { version, fields: Arc::unwrap_or_clone(fields) })
    }

    fn database(&self, name: &SecretName) -> Result<&Database, Failure> {
        self.databases.get(name).ok_or_else(|| unknown(name))
    }
}

/// Performs `command` and gives its completion.
pub(super) async fn carry_out(outside: Arc<Outside>, command: Command) -> Event {
    let sent = outside.clock.now();
    let vault = &outside.vault;
    match command {
        Command::Login { op, refused, unwrapped } => {
            let unwrapped = unwrapped.as_ref();
            match vault.unwrap(&refused, unwrapped).await {
                Ok(None) => {
                    Event::LoggedIn { op, sent, result: vault.login(&refused, unwrapped).await }
                }
                Ok(Some(unwrapped)) => Event::Unwrapped { op, unwrapped },
                Err(failure) => Event::LoggedIn { op, sent, result: Err(failure) },
            }
        }
        Command::LookupToken { op, token } => {
            Event::TokenSeen { op, sent, result: vault.lookup_token(&token).await }
        }
        Command::RenewToken { op, token, increment } => {
            Event::TokenSeen { op, sent, result: vault.renew_token(&token, increment).await }
        }
        Command::RevokeToken { op, token } => {
            Event::TokenRevoked { op, result: vault.revoke_token(&token).await }
        }
        Command::CreateToken { op, secret, token, term } => {
            let result = vault.create_token(&token, &secret, term).await;
            Event::TokenCreated { op, secret, sent, result }
        }
        Command::Issue { op, secret, token } => {
            let result = outside.issue(sent, &secret, &token).await;
            Event::Issued { op, secret, sent, result }
        }
        Command::RenewLease { op, lease, increment, token }
        | Command::ShortenLease { op, lease, increment, token } => {
            let result = vault.renew_lease(&token, &lease, increment).await;
            Event::LeaseSeen { op, sent, result }
        }
        Command::LookupLease { op, lease, token } => {
            Event::LeaseSeen { op, sent, result: vault.lookup_lease(&token, &lease).await }
        }
        Command::RevokeLease { op, lease, token } => {
            Event::LeaseRevoked { op, result: vault.revoke_lease(&token, &lease).await }
        }
        Command::Read { op, secret, known, token } => {
            Event::Read { op, result: outside.read(&secret, known.as_ref(), &token).await }
        }
        Command::Probe { op, secret, credential } => {
            let result = match outside.database(&secret) {
                Ok(database) => database.probe(sent, &credential).await,
                Err(failure) => Err(failure),
            };
            Event::Probed { op, result }
        }
        Command::Count { op, secret, credential, roles } => {
            let result = match outside.database(&secret) {
                Ok(database) => database.count(&credential, &roles).await,
                Err(failure) => Err(failure),
            };
            Event::Counted { op, result }
        }
        Command::Deliver { op, target, notice } => {
            let result = match outside.targets.get(&target) {
                Some(settings) => {
                    notice::deliver(settings, &outside.notice, &notice, &outside.clock).await
                }
                None => Err(unknown(&target)),
            };
            Event::Delivered { op, result }
        }
        Command::Rehearse(_)
        | Command::Save
        | Command::Publish(_)
        | Command::Repair
        | Command::Record(_)
        | Command::Exit { .. } => Event::Wake,
    }
}

/// The completion of a command that was not performed, or whose task panicked.
pub(super) fn failed(command: &Command, now: Moment, failure: Failure) -> Option<Event> {
    let sent = now;
    Some(match command {
        Command::Login { op, .. } => Event::LoggedIn { op: *op, sent, result: Err(failure.into()) },
        Command::LookupToken { op, .. } | Command::RenewToken { op, .. } => {
            Event::TokenSeen { op: *op, sent, result: Err(failure) }
        }
        Command::RevokeToken { op, .. } => Event::TokenRevoked { op: *op, result: Err(failure) },
        Command::CreateToken { op, secret, .. } => {
            Event::TokenCreated { op: *op, secret: secret.clone(), sent, result: Err(failure) }
        }
        Command::Issue { op, secret, .. } => {
            Event::Issued { op: *op, secret: secret.clone(), sent, result: Err(failure) }
        }
        Command::RenewLease { op, .. }
        | Command::ShortenLease { op, .. }
        | Command::LookupLease { op, .. } => {
            Event::LeaseSeen { op: *op, sent, result: Err(failure) }
        }
        Command::RevokeLease { op, .. } => Event::LeaseRevoked { op: *op, result: Err(failure) },
        Command::Read { op, .. } => Event::Read { op: *op, result: Err(failure) },
        Command::Probe { op, .. } => Event::Probed { op: *op, result: Err(failure) },
        Command::Count { op, .. } => Event::Counted { op: *op, result: Err(failure) },
        Command::Deliver { op, .. } => Event::Delivered { op: *op, result: Err(failure) },
        Command::Rehearse(_)
        | Command::Save
        | Command::Publish(_)
        | Command::Repair
        | Command::Record(_)
        | Command::Exit { .. } => return None,
    })
}
