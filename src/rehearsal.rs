//! `rehearse`: one true rotation of each login, with nobody looking.
//!
//! Receives a configuration, makes two logins one after the other, publishes both in a directory of
//! its own, and is itself the service that moves. Never touches what an agent holds or publishes,
//! and leaves nothing behind.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::future::Future;
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::hmac;
use tokio::sync::watch as channel;

use crate::agent::SecretPolicy;
use crate::agent::event::Reading;
use crate::config::Config;
use crate::error::{Class, Failure};
use crate::lease::{Grant, RoleId};
use crate::local;
use crate::postgres;
use crate::publish::{self, Publisher};
use crate::render;
use crate::secret::{Credential, hex};
use crate::snapshot::{Connection, Content, SecretName, Snapshot, Value, Version};
use crate::time::{Clock, Moment};
use crate::timeline::{Error, Made, go_on, span};
use crate::vault::{CERTIFICATE_FIELDS, Source, Vault};

/// Where the directory is made: in memory on every Linux.
const MEMORY: &str = "/dev/shm";

/// As the agent counts: so many times in a row, a second apart.
const SAMPLES: u32 = 3;
const SECOND: Duration = Duration::from_secs(1);

/// How long something that must come may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// Rehearses every login of `config` that has a `connection`, with `grace` in place of its own;
/// `stop` becomes true when it should not go on.
///
/// # Errors
/// What did not go as it should. What was made has ended all the same.
pub async fn rehearse(
    config: &Config,
    grace: Option<Duration>,
    stop: &Cell<bool>,
    say: impl Fn(&str),
) -> Result<(), Error> {
    let settings = config.vault().map_err(Error::Configuration)?;
    let vault = Vault::new(settings, &[0; 32], Arc::new(|_, _, _| {}));
    let vault = vault.map_err(Error::Configuration)?;
    let clock = Clock::resume(None);
    let began = clock.now();
    let mut stage = Stage { config, vault, clock, began, stop, say, made: Made::default() };
    let played = stage.play(grace).await;
    if played.is_err() {
        stage.tell("FAILED; what was made is ended");
    }
    let ended = stage.made.end(&stage.vault).await;
    played?;
    ended.map_err(Error::Failed)?;
    stage.tell("done: nothing that was made is left");
    Ok(())
}

struct Stage<'a, S: Fn(&str)> {
    config: &'a Config,
    vault: Vault,
    clock: Clock,
    began: Moment,
    stop: &'a Cell<bool>,
    say: S,
    made: Made,
}

/// One login of the two.
struct Login {
    grant: Grant,
    credential: Credential,
    role: RoleId,
}

impl<S: Fn(&str)> Stage<'_, S> {
    fn tell(&self, text: &str) {
        let at = format!("+{}", span(self.clock.now().since(self.began)));
        (self.say)(&format!("{at:>9}  {text}"));
    }

    async fn play(&mut self, grace: Option<Duration>) -> Result<(), Error> {
        let config = self.config;
        let leased = config.policy.secrets.iter().filter_map(|(name, policy)| match policy {
            SecretPolicy::Leased(leased) => {
                Some((name, leased.connection.clone()?, grace.unwrap_or(leased.grace)))
            }
            SecretPolicy::Polled(_) => None,
        });
        let leased: Vec<(&SecretName, Arc<Connection>, Duration)> = leased.collect();
        if leased.is_empty() {
            let text = "rehearse: no secret has a `connection`, where its login could be used";
            return Err(Error::Configuration(Failure::new(Class::Missing, text)));
        }
        self.made.login(&self.vault).await.map_err(Error::Failed)?;
        self.tell("logged in to vault");
        let mut values = self.read().await.map_err(Error::Failed)?;
        // Each is tried in files that are whole.
        for (name, connection, _) in &leased {
            values.insert((*name).clone(), Value::stand_in(Some(connection.clone())));
        }
        let place = Place::new().map_err(Error::Failed)?;
        let mut publisher = place.open().map_err(Error::Failed)?;
        for (name, connection, grace) in leased {
            let rotated = self.rotate(name, &connection, grace, &mut values, &mut publisher);
            rotated.await?;
        }
        Ok(())
    }

    /// What is read and not leased. Certificates are not made for this: others stand in for them.
    async fn read(&self) -> Result<BTreeMap<SecretName, Value>, Failure> {
        let mut values = BTreeMap::new();
        let token = self.made.token();
        // Nothing is remembered, so the key may be anything.
        let key = hmac::Key::new(hmac::HMAC_SHA256, &[0; 32]);
        for (name, policy) in &self.config.policy.secrets {
            let SecretPolicy::Polled(polled) = policy else { continue };
            let reading = match (self.config.sources.get(name), self.config.local.get(name)) {
                (Some(Source::Certificate(_)), _) => {
                    values.insert(name.clone(), Value::stand_in_of(CERTIFICATE_FIELDS));
                    continue;
                }
                (Some(source), _) => self.vault.read(&token, source, None).await,
                (None, Some(path)) => local::read(path, &key, None),
                (None, None) => continue,
            };
            match reading {
                Ok(Reading::New { version, content, .. }) => {
                    let content = content.content(Vec::new(), polled.connection.clone());
                    values.insert(name.clone(), value(version, content));
                    self.tell(&format!("`{name}` read"));
                }
                Ok(Reading::Same { .. }) => {}
                Ok(Reading::Leased(failure)) => return Err(failure),
                Err(failure) if !polled.required && failure.class == Class::Missing => {
                    self.tell(&format!("`{name}` is not there, and optional"));
                }
                Err(failure) => return Err(failure),
            }
        }
        Ok(values)
    }

    async fn rotate(
        &mut self,
        name: &SecretName,
        connection: &Arc<Connection>,
        grace: Duration,
        values: &mut BTreeMap<SecretName, Value>,
        publisher: &mut Publisher,
    ) -> Result<(), Error> {
        let needed = grace + 3 * PATIENCE;
        let first = self.login(name, connection, 1, needed).await?;
        self.publish(name, connection, &first, None, values, publisher).map_err(Error::Failed)?;
        let (close, closed) = channel::channel(false);
        let session = postgres::hold(connection, &first.credential, &closed);
        let rest = async {
            self.sees(connection, &first, &[(first.role, true)]).await?;
            self.tell("a session of login 1 is open");
            let second = self.login(name, connection, 2, needed).await?;
            let published =
                self.publish(name, connection, &second, Some(&first), values, publisher);
            published.map_err(Error::Failed)?;
            let (_hold, held) = channel::channel(false);
            let session = postgres::hold(connection, &second.credential, &held);
            let rest = async {
                let both = [(first.role, true), (second.role, true)];
                self.sees(connection, &second, &both).await?;
                self.tell("a session of login 2 is open beside it");
                close.send_replace(true);
                let moved = [(first.role, false), (second.role, true)];
                for _ in 0..SAMPLES {
                    self.sees(connection, &second, &moved).await?;
                    tokio::time::sleep(SECOND).await;
                }
                self.tell("sessions of login 2 are there, of login 1 none are left");
                self.drain(connection, &first, grace).await
            };
            beside(session, rest).await
        };
        beside(session, rest).await
    }

    async fn login(
        &mut self,
        name: &SecretName,
        connection: &Connection,
        number: usize,
        needed: Duration,
    ) -> Result<Login, Error> {
        go_on(self.stop)?;
        let no_login = || {
            let text = format!("issue `{name}`: its source gives no database login");
            Error::Configuration(Failure::new(Class::Missing, text))
        };
        let source = self.config.sources.get(name).ok_or_else(no_login)?;
        let grant = self.made.issue(&self.vault, source).await.map_err(Error::Failed)?;
        let credential = grant.login().cloned().ok_or_else(no_login)?;
        if grant.renewable && grant.duration < needed {
            // Nobody renews it here; where it does not go so far, that shows.
            let lease = &grant.lease_id;
            let _ = self.vault.renew_lease(&self.made.token(), lease, needed).await;
        }
        let (user, lives) = (&credential.username, span(grant.duration));
        self.tell(&format!("`{name}` login {number} made: `{user}`, lives {lives}"));
        let role = postgres::probe(connection, &credential).await.map_err(Error::Failed)?;
        self.tell(&format!("login {number} is taken by the database"));
        Ok(Login { grant, credential, role })
    }

    fn publish(
        &self,
        name: &SecretName,
        connection: &Arc<Connection>,
        login: &Login,
        before: Option<&Login>,
        values: &mut BTreeMap<SecretName, Value>,
        publisher: &mut Publisher,
    ) -> Result<(), Failure> {
        let content = Content::Database {
            credential: login.credential.clone(),
            previous: before.iter().map(|before| before.credential.clone()).collect(),
            connection: Some(connection.clone()),
        };
        let version = Version::from(login.grant.lease_id.short_hash());
        values.insert(name.clone(), value(version, content));
        let generation = publisher.generation().next();
        let snapshot = Snapshot { generation, secrets: values.clone() };
        let rendering = render::render(&self.config.files, &snapshot)?;
        let files = match rendering.files.len() {
            1 => "1 file".to_owned(),
            many => format!("{many} files"),
        };
        publisher.publish(self.clock.now(), generation, rendering)?;
        self.tell(&format!("generation {generation} published: {files}, in one step"));
        Ok(())
    }

    /// Waits until each role has sessions, or has none.
    async fn sees(
        &self,
        connection: &Connection,
        by: &Login,
        wanted: &[(RoleId, bool)],
    ) -> Result<(), Error> {
        let roles: Vec<RoleId> = wanted.iter().map(|(role, _)| *role).collect();
        let until = self.clock.now() + PATIENCE;
        loop {
            go_on(self.stop)?;
            let counted = postgres::count(connection, &by.credential, &roles).await;
            let hosts = counted.map_err(Error::Failed)?;
            let sessions = |role| hosts.iter().filter_map(|host| host.get(role)).sum::<u64>();
            if wanted.iter().all(|(role, there)| (sessions(role) > 0) == *there) {
                return Ok(());
            }
            if self.clock.now() > until {
                let text = "count sessions: what was opened and closed is not what is counted";
                let failure = Failure::new(Class::Again { after: None }, text);
                return Err(Error::Failed(
                    failure
                        .hint("each host of `connection` must be the database itself, no pooler"),
                ));
            }
            tokio::time::sleep(SECOND / 10).await;
        }
    }

    /// The old login works for its grace, and is refused behind it.
    async fn drain(
        &self,
        connection: &Connection,
        old: &Login,
        grace: Duration,
    ) -> Result<(), Error> {
        let token = self.made.token();
        let sent = self.clock.now();
        let left = self.vault.renew_lease(&token, &old.grant.lease_id, grace).await;
        let left = left.map_err(Error::Failed)?.ttl;
        if left + SECOND < grace {
            let text = format!(
                "give login 1 its grace of {}: vault grants no more than {}",
                span(grace),
                span(left)
            );
            let failure = Failure::new(Class::Missing, text);
            let hint = "`leasehold check --timeline` names the largest grace that can be kept";
            return Err(Error::Configuration(failure.hint(hint)));
        }
        self.tell(&format!("login 1 has its grace of {}", span(grace)));
        loop {
            go_on(self.stop)?;
            let worked = self.clock.now().since(sent);
            let refused = match postgres::probe(connection, &old.credential).await {
                Ok(_) => false,
                Err(failure) if failure.class == Class::Denied => true,
                // Also what a session is told whose role is dropped while it begins.
                Err(Failure { class: Class::Again { .. }, .. }) if worked <= grace + PATIENCE => {
                    false
                }
                Err(failure) => return Err(Error::Failed(failure)),
            };
            if refused && worked + SECOND < grace {
                let text = format!("use login 1 in its grace: refused after {}", span(worked));
                let failure = Failure::new(Class::Denied, text);
                return Err(Error::Failed(failure.hint("something else ended its lease")));
            }
            if refused {
                self.tell(&format!("login 1 is refused, after {}", span(worked)));
                return Ok(());
            }
            if worked > grace + PATIENCE {
                let text =
                    format!("end login 1: it works still, {} after its grace", span(PATIENCE));
                let failure = Failure::new(Class::Again { after: None }, text);
                let hint = "compare the role's revocation and renewal statements with the guide's";
                return Err(Error::Failed(failure.hint(hint)));
            }
            tokio::time::sleep(SECOND / 4).await;
        }
    }
}

fn value(version: Version, content: Content) -> Value {
    Value { version, expires: None, previous_ends: None, content }
}

/// Plays `rest` beside a session; one that breaks off ends both.
async fn beside(
    session: impl Future<Output = Result<(), Failure>>,
    rest: impl Future<Output = Result<(), Error>>,
) -> Result<(), Error> {
    let (mut session, mut rest) = (pin!(session), pin!(rest));
    let mut open = true;
    loop {
        tokio::select! {
            ended = &mut session, if open => {
                ended.map_err(Error::Failed)?;
                open = false;
            }
            done = &mut rest => return done,
        }
    }
}

/// A directory of our own, in memory; it goes with this.
struct Place(PathBuf);

impl Place {
    fn new() -> Result<Self, Failure> {
        let mut random = [0_u8; 8];
        let path = PathBuf::from(MEMORY);
        let failed = |why: String| {
            Failure::new(Class::Ours, format!("make a directory in `{MEMORY}`: {why}"))
        };
        aws_lc_rs::rand::fill(&mut random).map_err(|error| failed(error.to_string()))?;
        let path = path.join(format!("leasehold-rehearsal-{}", hex(&random)));
        let made = std::fs::DirBuilder::new().mode(0o700).create(&path);
        made.map_err(|error| failed(error.to_string()))?;
        Ok(Self(path))
    }

    fn open(&self) -> Result<Publisher, Failure> {
        Publisher::open(publish::Settings {
            directory: self.0.clone(),
            allow_disk: false,
            allow_writers: false,
            keep: Duration::ZERO,
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // Nobody is left to hear of it.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
