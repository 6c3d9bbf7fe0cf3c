//! `doctor leaks`: leases and database users that have no owner.
//!
//! Receives a configuration, an operator's token and the states of agents, asks Vault and the
//! database what there is, gives what belongs to nobody. Never changes anything unless it is told
//! which lease to end, and never shows a lease id.

mod ask;
pub mod compare;
mod end;
mod json;
mod known;
pub mod name;
mod table;

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::config::Config;
use crate::doctor::ask::{Place, places};
use crate::doctor::compare::{Compared, Known, Lease, Owner, compare, once};
use crate::error::{Class, Failure};
use crate::secret::Secret;
use crate::snapshot::SecretName;
use crate::timeline::{Error, go_on};
use crate::vault::Vault;

pub use ask::policy_lines;
pub use end::{end, statements};
pub use json::json;
pub use table::table;

/// What is asked for.
pub struct Question {
    /// An operator's: an agent's may not list.
    pub token: Secret,
    /// States of more agents than the configuration's own.
    pub states: Vec<PathBuf>,
    /// Only these secrets; all where there is none.
    pub secrets: Vec<String>,
    /// What is younger may be about to get an owner.
    pub settled: Duration,
    /// What the database's users are named like, where not as Vault names them.
    pub users: Option<String>,
    /// Whom to ask the database as, where not a login of an agent's.
    pub login: Option<Login>,
}

/// Who asks the database.
pub struct Login {
    /// Its name.
    pub user: String,
    /// How it proves that.
    pub password: Password,
}

/// Where a password is.
pub enum Password {
    /// Here.
    Given(Secret),
    /// In a file as libpq has it.
    File(PathBuf),
}

/// What was found.
pub struct Report {
    /// Every path that leases of the configuration lie below.
    pub sources: Vec<Checked>,
    /// The directories whose states were read.
    pub states: Vec<String>,
    /// The configuration's own, where it has no state.
    pub stateless: Option<String>,
    /// Vault's ids by the hash that is shown.
    ids: BTreeMap<String, Secret>,
}

/// One path with all that lies below it.
pub struct Checked {
    /// Where Vault keeps the leases.
    pub path: String,
    /// The secrets that come from there.
    pub secrets: Vec<SecretName>,
    /// What the database was asked.
    pub users: Users,
    /// What came of it.
    pub compared: Compared,
}

/// What the database was asked.
pub enum Users {
    /// Which users are like this.
    Like(String),
    /// Nothing, for this reason.
    Unasked(&'static str),
    /// It did not answer.
    Failed(Failure),
}

impl Report {
    /// How much has no owner.
    pub fn lost(&self) -> usize {
        self.sources.iter().map(|source| source.compared.lost()).sum()
    }

    /// The leases that nobody owns, as they are shown.
    pub fn lost_leases(&self) -> impl Iterator<Item = &str> {
        let rows = self.sources.iter().flat_map(|source| &source.compared.leases);
        rows.filter(|row| row.owner == Owner::Nobody).map(|row| row.lease.hash.as_str())
    }

    /// Why the database's part of it is missing, where it should be there.
    pub fn failure(&self) -> Option<&Failure> {
        self.sources.iter().find_map(|source| match &source.users {
            Users::Failed(failure) => Some(failure),
            Users::Like(_) | Users::Unasked(_) => None,
        })
    }
}

/// Asks Vault, the agents' states and the database, in this order: what ends meanwhile is then
/// missed by the later answers too, and what is made meanwhile is young. The states are read once
/// more after that: a user whose name does not tell its time is never young, and may be of a login
/// that an agent took meanwhile.
///
/// # Errors
/// When Vault refuses or does not answer, a state cannot be read, or the question fits nothing.
pub async fn leaks(
    config: &Config,
    question: &Question,
    stop: &Cell<bool>,
) -> Result<Report, Error> {
    let places = places(config, question)?;
    let (vault, token) = (vault(config)?, &question.token);
    let refused = |failure: Failure| match failure.class {
        Class::Denied => Error::Failed(failure.hint(policy_lines(config))),
        Class::Again { .. }
        | Class::Missing
        | Class::Gone
        | Class::Conflict
        | Class::Unclear
        | Class::Ours => Error::Failed(failure),
    };
    ask::valid(&vault, token).await?;
    let mut listed = Vec::new();
    for place in &places {
        go_on(stop)?;
        listed.push(vault.list_leases(token, &place.source).await.map_err(refused)?);
    }
    let before = known::read(&config.state.directory, &question.states)?;
    let known: BTreeSet<&str> = before.known.iter().map(|known| known.hash.as_str()).collect();
    let (mut asked, mut ids) = (Vec::new(), BTreeMap::new());
    for (place, listed) in places.into_iter().zip(listed) {
        let mut leases = Vec::new();
        for id in listed {
            go_on(stop)?;
            let hash = id.short_hash();
            let mut times = None;
            if !known.contains(hash.as_str()) {
                match vault.lease_times(token, &id).await {
                    Ok(found) => times = Some(found),
                    // It has ended since.
                    Err(failure) if failure.class == Class::Gone => continue,
                    Err(failure) => return Err(refused(failure)),
                }
            }
            ids.insert(hash.clone(), id);
            leases.push(Lease { hash, times });
        }
        go_on(stop)?;
        let (users, found) = ask::users(&place, &before.logins, question).await;
        asked.push((place, leases, users, found));
    }
    let after = known::read(&config.state.directory, &question.states)?;
    // What was in use before the users were listed and still is had to be among them.
    let mut used = before.logins;
    used.retain(|login| after.logins.contains(login));
    // Of a lease that both know, the later word holds.
    let known: Vec<Known> = before.known.into_iter().chain(after.known).collect();
    let (mut places, mut compared) = (Vec::new(), Vec::new());
    for (place, leases, users, found) in asked {
        let (users, found) = ask::complete(&place.path, &used, users, found);
        compared.push(compare(leases, found, &known, question.settled));
        places.push((place, users));
    }
    once(&mut compared, question.settled);
    let sources = places.into_iter().zip(compared).map(|((place, users), compared)| {
        let Place { path, secrets, .. } = place;
        Checked { path, secrets, users, compared }
    });
    let sources = sources.collect();
    Ok(Report { sources, states: after.read, stateless: after.missing, ids })
}

/// The way to Vault, with no login of its own.
fn vault(config: &Config) -> Result<Vault, Error> {
    let settings = config.vault().map_err(Error::Configuration)?;
    let vault = Vault::new(settings, &[0; 32], Arc::new(|_, _, _| {}));
    vault.map_err(Error::Configuration)
}
