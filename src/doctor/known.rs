//! What agents know, out of their states.
//!
//! Receives state directories, gives the leases in them and logins to ask the database with. Never
//! guesses at a state that it cannot read, and never locks one: its agent runs.

use std::path::PathBuf;

use jiff::Timestamp;

use crate::doctor::compare::{Known, Plan};
use crate::error::{Class, Failure};
use crate::lease::machine::Lease;
use crate::secret::Credential;
use crate::state::{self, Found};
use crate::time::{Clock, Moment};
use crate::timeline::Error;

/// What all of them know.
#[derive(Default)]
pub(super) struct States {
    pub(super) known: Vec<Known>,
    /// Logins in use, with the path that their leases lie below.
    pub(super) logins: Vec<(String, Credential)>,
    /// The directories that have a state.
    pub(super) read: Vec<String>,
    /// The configuration's own, where it has none.
    pub(super) missing: Option<String>,
}

/// Reads the states in `own`, which may be missing, and in `others`, which may not.
pub(super) fn read(own: &PathBuf, others: &[PathBuf]) -> Result<States, Error> {
    let mut states = States::default();
    let others = others.iter().filter(|other| *other != own);
    for directory in std::iter::once(own).chain(others) {
        let shown = directory.display().to_string();
        match state::look(directory).map_err(Error::Directory)? {
            Some(found) => states.take(shown, &found),
            None if directory == own => states.missing = Some(shown),
            None => {
                let text = format!("read the state in `{shown}`: there is none");
                let failure = Failure::new(Class::Missing, text);
                return Err(Error::Directory(
                    failure.hint("name the `state.directory` of an agent that has run"),
                ));
            }
        }
    }
    Ok(states)
}

impl States {
    fn take(&mut self, state: String, found: &Found) {
        let clock = Clock::resume(Some(found.epoch.clone()));
        let now = clock.now();
        for lease in found.agent.leases() {
            let login = lease.grant.login();
            if let Some(login) = login.filter(|_| lease.kept() && lease.works(now)) {
                self.logins.push((lease.source.clone(), login.clone()));
            }
            self.known.push(Known {
                hash: lease.hash(),
                user: login.map(|login| login.username.clone()),
                state: state.clone(),
                plan: plan(lease, &clock),
            });
        }
        self.read.push(state);
    }
}

fn plan(lease: &Lease, clock: &Clock) -> Plan {
    match lease.deadline() {
        Some(deadline) => Plan::Draining(wall(clock, deadline)),
        None if lease.kept() => Plan::Held,
        None => Plan::Ending,
    }
}

fn wall(clock: &Clock, moment: Moment) -> Timestamp {
    let micros = i64::try_from(clock.wall_micros(moment)).unwrap_or(i64::MAX);
    Timestamp::from_microsecond(micros).unwrap_or(Timestamp::MAX)
}
