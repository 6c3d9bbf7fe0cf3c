//! What runs beside the loop: one task for each command, one completion for each task.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use aws_lc_rs::hmac;
use tokio::sync::mpsc;
use tokio::task::yield_now;

use crate::agent::command::{Command, Notice, TargetName};
use crate::agent::event::{Event, Reading};
use crate::error::{Class, Failure};
use crate::lease::{Grant, Granted};
use crate::local;
use crate::notice::{self, Channel, Console};
use crate::postgres::{Database, pgbouncer};
use crate::render::{self, File};
use crate::secret::Secret;
use crate::snapshot::{Generation, SecretName, Snapshot, Value, Version};
use crate::supervise::Child;
use crate::time::{Clock, Moment};
use crate::vault::{Source, Vault};

/// Everything that commands reach outside of this process.
pub struct Outside {
    /// Vault; there may be none where no secret comes from there.
    pub vault: Option<Arc<Vault>>,
    /// Where in Vault each secret comes from that comes from there.
    pub sources: BTreeMap<SecretName, Source>,
    /// The file of each secret that comes from one.
    pub local: BTreeMap<SecretName, PathBuf>,
    /// Keys the hash by which the content of such a file is known again.
    pub key: hmac::Key,
    /// The database of each secret that has one.
    pub databases: BTreeMap<SecretName, Arc<Database>>,
    /// What is rendered.
    pub files: Vec<File>,
    /// How to reach each target.
    pub targets: BTreeMap<TargetName, notice::Settings>,
    /// What every notice says.
    pub notice: notice::Context,
    /// The child of `exec`.
    pub child: Option<Child>,
    /// Tells the time.
    pub clock: Clock,
}

fn unknown(name: &str) -> Failure {
    Failure::new(Class::Ours, format!("`{name}` is not in the configuration"))
}

fn no_vault() -> Failure {
    Failure::new(Class::Ours, "ask vault: the configuration has no `vault`")
        .hint("what an earlier configuration left in Vault ends by itself")
}

impl Outside {
    fn source(&self, name: &SecretName) -> Result<&Source, Failure> {
        self.sources.get(name).ok_or_else(|| unknown(name))
    }

    /// A new value is good only where every file that names it can hold it: published, one that
    /// cannot would hold back every other secret.
    fn tried_out(&self, name: &SecretName, content: &Granted) -> Result<(), Failure> {
        let connection = |name: &SecretName| self.databases.get(name).map(|it| it.connection());
        let logins = self.sources.iter().filter_map(|(other, source)| match source {
            Source::Database { .. } | Source::Static { .. } => {
                Some((other.clone(), Value::stand_in(connection(other).cloned())))
            }
            Source::Kv { .. }
            | Source::Leased { .. }
            | Source::Plain { .. }
            | Source::Certificate(_) => None,
        });
        let mut secrets: BTreeMap<SecretName, Value> = logins.collect();
        let content = content.content(Vec::new(), connection(name).cloned());
        secrets.insert(name.clone(), Value { content, ..Value::stand_in(None) });
        let snapshot = Snapshot { generation: Generation(0), secrets };
        render::try_out(&self.files, &snapshot, name)?;
        match &self.child {
            Some(_) => render::try_variables(&self.files, &snapshot, name),
            None => Ok(()),
        }
    }

    /// What a child finds in its environment, where there is one.
    pub(super) fn variables(
        &self,
        files: &[File],
        snapshot: &Snapshot,
    ) -> Result<Vec<(String, Secret)>, Failure> {
        match &self.child {
            Some(_) => render::variables(files, snapshot, Path::new(&self.notice.directory)),
            None => Ok(Vec::new()),
        }
    }

    async fn deliver(&self, target: &TargetName, notice: &Notice) -> Result<(), Failure> {
        let settings = self.targets.get(target).ok_or_else(|| unknown(target))?;
        match (&settings.channel, &self.child) {
            (Channel::Child, Some(child)) => child.tell(notice.generation).await,
            (Channel::Pgbouncer(console), _) => {
                let Console { host, port, user, password_file } = console;
                let at = pgbouncer::At { host, port: *port, user };
                at.reload(password_file.as_deref(), settings.timeout).await
            }
            _ => notice::deliver(settings, &self.notice, notice, &self.clock).await,
        }
    }

    /// As [`Outside::tried_out`], of what was made: it was one of those that the budget allows.
    fn fits(&self, name: &SecretName, content: &Granted) -> Result<(), Failure> {
        let tried = self.tried_out(name, content);
        tried.map_err(|failure| Failure { class: Class::Unclear, ..failure })
    }

    async fn issue(
        &self,
        vault: &Vault,
        now: Moment,
        name: &SecretName,
        token: &Secret,
    ) -> Result<Grant, Failure> {
        let Some(database) = self.databases.get(name) else {
            return self.issue_alone(vault, name, token).await;
        };
        let ahead = async {
            // The request goes out first.
            yield_now().await;
            database.connect_ahead(now);
        };
        let (grant, ()) = tokio::join!(self.issue_alone(vault, name, token), ahead);
        if grant.is_err() {
            database.close_ahead();
        }
        grant
    }

    async fn issue_alone(
        &self,
        vault: &Vault,
        name: &SecretName,
        token: &Secret,
    ) -> Result<Grant, Failure> {
        let grant = vault.issue(token, self.source(name)?).await?;
        if matches!(grant.content, Granted::Fields(_))
            && let Err(failure) = self.fits(name, &grant.content)
        {
            return Err(vault.discard(token, &grant.lease_id, failure).await);
        }
        Ok(grant)
    }

    async fn read(
        &self,
        name: &SecretName,
        known: Option<&Version>,
        token: Option<&Secret>,
    ) -> Result<Reading, Failure> {
        let reading = match (self.local.get(name), &self.vault, token) {
            (Some(path), ..) => local::read(path, &self.key, known)?,
            (None, Some(vault), Some(token)) => {
                vault.read(token, self.source(name)?, known).await?
            }
            (None, ..) => return Err(no_vault()),
        };
        if let Reading::New { content, .. } = &reading {
            self.tried_out(name, content)?;
        }
        Ok(reading)
    }

    async fn make(
        &self,
        vault: &Vault,
        name: &SecretName,
        token: &Secret,
    ) -> Result<Reading, Failure> {
        let reading = vault.make(token, self.source(name)?).await?;
        if let Reading::New { content, .. } = &reading {
            self.fits(name, content)?;
        }
        Ok(reading)
    }

    fn database(&self, name: &SecretName) -> Result<&Database, Failure> {
        self.databases.get(name).map(AsRef::as_ref).ok_or_else(|| unknown(name))
    }
}

/// Performs `command` and gives its completion; `early` takes what comes before that.
pub(super) async fn carry_out(
    outside: Arc<Outside>,
    command: Command,
    early: mpsc::UnboundedSender<Event>,
) -> Event {
    let sent = outside.clock.now();
    match (command, &outside.vault) {
        (Command::Login { op, refused, unwrapped }, Some(vault)) => {
            let unwrapped = unwrapped.as_ref();
            match vault.unwrap(&refused, unwrapped).await {
                Ok(None) => {
                    Event::LoggedIn { op, sent, result: vault.login(&refused, unwrapped).await }
                }
                Ok(Some(unwrapped)) => Event::Unwrapped { op, unwrapped },
                Err(failure) => Event::LoggedIn { op, sent, result: Err(failure) },
            }
        }
        (Command::LookupToken { op, token }, Some(vault)) => {
            Event::TokenSeen { op, sent, result: vault.lookup_token(&token).await }
        }
        (Command::RenewToken { op, token, increment }, Some(vault)) => {
            Event::TokenSeen { op, sent, result: vault.renew_token(&token, increment).await }
        }
        (Command::RevokeToken { op, token }, Some(vault)) => {
            Event::TokenRevoked { op, result: vault.revoke_token(&token).await }
        }
        (Command::CreateToken { op, secret, token, term }, Some(vault)) => {
            let result = vault.create_token(&token, &secret, term).await;
            Event::TokenCreated { op, secret, sent, result }
        }
        (Command::Issue { op, secret, token }, Some(vault)) => {
            let result = outside.issue(vault, sent, &secret, &token).await;
            Event::Issued { op, secret, sent, result }
        }
        (
            Command::RenewLease { op, lease, increment, token }
            | Command::ShortenLease { op, lease, increment, token },
            Some(vault),
        ) => {
            let result = vault.renew_lease(&token, &lease, increment).await;
            Event::LeaseSeen { op, sent, result }
        }
        (Command::LookupLease { op, lease, token }, Some(vault)) => {
            Event::LeaseSeen { op, sent, result: vault.lookup_lease(&token, &lease).await }
        }
        (Command::RevokeLease { op, lease, token }, Some(vault)) => {
            Event::LeaseRevoked { op, result: vault.revoke_lease(&token, &lease).await }
        }
        (Command::Read { op, secret, known, token }, _) => {
            let result = outside.read(&secret, known.as_ref(), token.as_ref()).await;
            Event::Read { op, sent, result }
        }
        (Command::Make { op, secret, token }, Some(vault)) => {
            Event::Read { op, sent, result: outside.make(vault, &secret, &token).await }
        }
        (Command::Probe { op, secret, credential }, _) => {
            let result = match outside.database(&secret) {
                Ok(database) => {
                    // Without a receiver the loop has ended.
                    let accepted = || drop(early.send(Event::Accepted { op }));
                    database.probe(sent, &credential, accepted).await
                }
                Err(failure) => Err(failure),
            };
            Event::Probed { op, result }
        }
        (Command::Count { op, secret, credential, roles }, _) => {
            let result = match outside.database(&secret) {
                Ok(database) => database.count(&credential, &roles).await,
                Err(failure) => Err(failure),
            };
            Event::Counted { op, result }
        }
        (Command::Deliver { op, target, notice }, _) => {
            Event::Delivered { op, result: outside.deliver(&target, &notice).await }
        }
        (
            Command::Rehearse(_)
            | Command::Save
            | Command::Publish(_)
            | Command::Switch(_)
            | Command::Repair
            | Command::Record(_)
            | Command::Exit { .. },
            Some(_),
        ) => Event::Wake,
        (command, None) => failed(&command, sent, no_vault()).unwrap_or(Event::Wake),
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
        Command::Read { op, .. } | Command::Make { op, .. } => {
            Event::Read { op: *op, sent, result: Err(failure) }
        }
        Command::Probe { op, .. } => Event::Probed { op: *op, result: Err(failure) },
        Command::Count { op, .. } => Event::Counted { op: *op, result: Err(failure) },
        Command::Deliver { op, .. } => Event::Delivered { op: *op, result: Err(failure) },
        Command::Rehearse(_)
        | Command::Save
        | Command::Publish(_)
        | Command::Switch(_)
        | Command::Repair
        | Command::Record(_)
        | Command::Exit { .. } => return None,
    })
}
