//! What Vault and PostgreSQL are to be like.
//!
//! Made by the configuration, taken by the plan and by the proof of it. Never holds a secret: where
//! the passwords are is said, and they are read when they are needed.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use crate::bootstrap::policy::Rules;
use crate::snapshot::Connection;
use crate::vault::Setting;

/// All of it.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// The database's part.
    pub postgres: Postgres,
    /// What joins both: Vault's connection to the database, and the roles behind it.
    pub database: Database,
    /// Engines and ways to log in.
    pub mounts: Vec<Mount>,
    /// Policies by name.
    pub policies: BTreeMap<String, Rules>,
    /// Whatever else is set at a path, in the order in which it is set.
    pub objects: Vec<Object>,
}

/// Roles, grants and schemas.
#[derive(Clone, Debug)]
pub struct Postgres {
    /// The database, as this machine reaches it.
    pub connection: Connection,
    /// Who sets it up. Vault does not know it: it is the way in when Vault is gone.
    pub superuser: String,
    /// Where its password is, where not in the environment.
    pub password_file: Option<PathBuf>,
    /// The schema with the services' tables.
    pub schema: String,
    /// Who makes tables: what a role may do with all tables, it may with later ones of theirs.
    pub owners: BTreeSet<String>,
    /// The roles that hold the rights, and cannot log in.
    pub groups: BTreeMap<String, Group>,
    /// Schemas that none of them can enter.
    pub apart: BTreeSet<String>,
}

/// What the members of a group may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// With which tables.
    pub tables: Tables,
    /// What, in SQL's words.
    pub privileges: BTreeSet<String>,
    /// Whether it makes tables of its own, as a service does that brings its migrations along.
    pub creates: bool,
}

/// Some tables of the schema.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tables {
    /// All, also those that are made later.
    All,
    /// These.
    Only(BTreeSet<String>),
}

/// What a group may do with every sequence: an insert takes the next number from one.
pub const ON_SEQUENCES: [&str; 2] = ["SELECT", "USAGE"];

/// Vault's connection to the database.
#[derive(Clone, Debug)]
pub struct Database {
    /// Where the engine is mounted.
    pub mount: String,
    /// What Vault calls the connection.
    pub name: String,
    /// How Vault reaches the database; user and password are put in by Vault.
    pub url: String,
    /// The role that Vault logs in as.
    pub admin: String,
    /// Where its first password is; one is made where nobody says.
    pub password_file: Option<PathBuf>,
    /// The roles of the engine.
    pub roles: BTreeMap<String, DatabaseRole>,
}

impl Database {
    /// Where Vault keeps the connection.
    pub fn path(&self) -> String {
        format!("{}/config/{}", self.mount, self.name)
    }

    /// Where Vault makes its login's password its own.
    pub fn rotation(&self) -> String {
        format!("{}/rotate-root/{}", self.mount, self.name)
    }

    /// Where Vault lets go of its sessions, and logs in anew.
    pub fn reset(&self) -> String {
        format!("{}/reset/{}", self.mount, self.name)
    }

    /// What the comment of [`Database::admin`] is once nobody but Vault knows its password.
    pub fn mark(&self) -> String {
        format!("leasehold: the password is Vault's alone, by {}", self.path())
    }
}

/// A role of the database engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DatabaseRole {
    /// Of which group its users are members.
    pub group: String,
    /// The term of a lease.
    pub default_ttl: Duration,
    /// How far renewals carry it.
    pub max_ttl: Duration,
}

/// An engine, or a way to log in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// Which of the two.
    pub kind: MountKind,
    /// Where.
    pub path: String,
    /// Vault's word for what it is.
    pub engine: String,
    /// Of KV, its version.
    pub version: Option<u64>,
}

/// What is mounted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MountKind {
    /// A secrets engine.
    Engine,
    /// A way to log in.
    Method,
}

/// Something that is set at a path.
#[derive(Clone, Debug, PartialEq)]
pub struct Object {
    /// What it is, for a person.
    pub what: String,
    /// Where.
    pub path: String,
    /// Its fields, as Vault calls them; others are left as they are.
    pub setting: Setting,
}
