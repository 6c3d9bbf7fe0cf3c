//! What has to be done so that Vault and PostgreSQL are as they should be.
//!
//! Receives what is wanted and what there is, gives steps in the order in which they can be done. Each
//! may be done twice, and what is there already is no step: so a run that was killed is followed by
//! one that does the rest. Never plans anything for what the file does not name.

mod database;
mod grants;
mod vault;

use std::collections::BTreeMap;

use crate::bootstrap::wanted::Wanted;
use crate::postgres::setup::Standing;
use crate::vault::Setting;

/// What there is of what is wanted.
#[derive(Clone, Debug, Default)]
pub struct Observed {
    /// Engines by path, without a slash at the end.
    pub engines: BTreeMap<String, Mounted>,
    /// Ways to log in, likewise.
    pub methods: BTreeMap<String, Mounted>,
    /// The text of each policy that is there.
    pub policies: BTreeMap<String, String>,
    /// What is set, by path.
    pub settings: BTreeMap<String, Setting>,
    /// The database's part.
    pub standing: Standing,
}

/// What is mounted at a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mounted {
    /// Vault's word for it.
    pub engine: String,
    /// Of KV, its version.
    pub version: Option<String>,
}

/// What is to be done.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// One after the other.
    pub steps: Vec<Step>,
    /// What is not as it should be, and for somebody else to do: a table to be made, a membership to
    /// be taken back.
    pub waiting: Vec<String>,
    /// What is in the way, and is not ours to change. With one of these nothing is done.
    pub conflicts: Vec<String>,
}

/// One thing to do.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// Why.
    pub sign: Sign,
    /// What it makes or changes.
    pub what: String,
    /// What of it, a line each, with `+` or `-` before what comes and goes.
    pub details: Vec<String>,
    /// How.
    pub action: Action,
}

/// Why something is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sign {
    /// It is not there.
    New,
    /// It is there, and not as it should be.
    Drift,
    /// It cannot be taken back.
    Final,
}

impl Sign {
    /// What stands before it.
    pub fn mark(self) -> char {
        match self {
            Self::New => '+',
            Self::Drift => '~',
            Self::Final => '!',
        }
    }
}

/// How something is done.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// By statements to the database, all or none.
    Sql(Vec<String>),
    /// By one request to Vault.
    Write {
        /// Where.
        path: String,
        /// What.
        setting: Setting,
    },
    /// Vault's role gets a password and Vault the connection with it.
    Connect {
        /// Where.
        path: String,
        /// The connection without the password.
        setting: Setting,
    },
    /// Vault replaces that password by one that nobody else knows.
    Rotate,
}

/// Plans. With `reset_root` Vault's role gets a new password though Vault has it alone.
pub fn plan(wanted: &Wanted, found: &Observed, reset_root: bool) -> Plan {
    let mut plan = Plan::default();
    database::plan(&mut plan, wanted, &found.standing);
    grants::plan(&mut plan, wanted, &found.standing);
    vault::plan(&mut plan, wanted, found, reset_root);
    plan
}

impl Plan {
    /// Whether everything is as the file says.
    pub fn is_done(&self) -> bool {
        self.steps.is_empty() && self.waiting.is_empty() && self.conflicts.is_empty()
    }

    fn step(&mut self, sign: Sign, what: String, details: Vec<String>, action: Action) {
        self.steps.push(Step { sign, what, details, action });
    }
}

#[cfg(test)]
mod tests;
