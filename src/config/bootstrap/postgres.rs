//! `postgres`: the database, its groups, and what they may do.

use std::collections::{BTreeMap, BTreeSet};

use crate::bootstrap::wanted::{Group, Postgres, Tables};
use crate::config::bootstrap::is_good;
use crate::config::keys::{CONNECTION, Keys, Otherwise, Takes, key, keys};
use crate::config::raw::{Section, shown};
use crate::config::resolve;
use crate::config::tree::Node;
use crate::snapshot::{Connection, SslMode};

#[rustfmt::skip]
pub(super) static POSTGRES: Keys = keys(&[
    key("connection", Takes::Section(&CONNECTION), Otherwise::Needed, "the database, as this machine reaches it"),
    key("superuser", Takes::Expanded, Otherwise::Value("postgres"), "who sets it up; Vault never knows it"),
    key("password_file", Takes::File, Otherwise::Depends("`PGPASSWORD` or `PGPASSFILE`"), "file with its password"),
    key("schema", Takes::Text, Otherwise::Value("public"), "the schema with the tables"),
    key("owners", Takes::Texts, Otherwise::Depends("the superuser"), "who makes tables later"),
    key("groups", Takes::Each("NAME", &GROUP), Otherwise::Needed, "roles that hold rights and cannot log in"),
    key("apart", Takes::Texts, Otherwise::None, "schemas that no group can enter"),
]);

#[rustfmt::skip]
static GROUP: Keys = keys(&[
    key("tables", Takes::Texts, Otherwise::Needed, "`all`, or a list of tables"),
    key("may", Takes::Texts, Otherwise::Depends("`[select, insert, update, delete]`"), "what with them"),
    key("creates", Takes::Boolean, Otherwise::Value("false"), "whether it makes tables of its own, by migrations for example"),
]);

/// What may be granted on a table, in SQL's words.
const PRIVILEGES: [&str; 7] =
    ["select", "insert", "update", "delete", "truncate", "references", "trigger"];

/// What a group may do where nobody says.
const USUAL: [&str; 4] = ["SELECT", "INSERT", "UPDATE", "DELETE"];

const ALL: &str = "all";

/// The section; what is wrong in it is written down, and something stands in for it.
pub(super) fn resolve(section: &Section<'_>) -> Postgres {
    section.require("connection");
    let nowhere = Connection {
        hosts: Vec::new(),
        port: 0,
        dbname: String::new(),
        sslmode: SslMode::VerifyFull,
        sslrootcert: None,
    };
    let connection = resolve::connection::resolve(section).unwrap_or(nowhere);
    let superuser = match section.has("superuser") {
        true => section.expanded("superuser").unwrap_or_default(),
        false => "postgres".to_owned(),
    };
    let owners = match section.has("owners") {
        true => names(section, "owners"),
        false => BTreeSet::from([superuser.clone()]),
    };
    let schema = section.text("schema").unwrap_or_else(|| "public".to_owned());
    let apart = names(section, "apart");
    if apart.contains(&schema) {
        let text = format!("`{}` is where the tables are", shown(&schema));
        section.problem("apart", text, "name another schema");
    }
    let groups = groups(section, &superuser);
    Postgres {
        connection,
        superuser,
        password_file: section.optional_file("password_file"),
        schema,
        owners,
        groups,
        apart,
    }
}

fn groups(section: &Section<'_>, superuser: &str) -> BTreeMap<String, Group> {
    section.require("groups");
    let all = section.names("groups");
    let mut groups = BTreeMap::new();
    for (name, node) in all.entries() {
        let group = group(&all.below(name, node, &GROUP));
        if name == superuser {
            all.problem(name, "is the superuser, who must be able to log in", "name another role");
        } else if is_good(&all, name) {
            groups.insert(name.clone(), group);
        }
    }
    groups
}

fn group(section: &Section<'_>) -> Group {
    section.require("tables");
    let everything = matches!(section.get("tables"), Some(Node::Text(word)) if word == ALL);
    let tables = if everything { Tables::All } else { Tables::Only(names(section, "tables")) };
    let creates = section.boolean("creates", false);
    if !section.has("may") {
        return Group { tables, privileges: USUAL.map(str::to_owned).into(), creates };
    }
    let words = section.list("may").unwrap_or_default();
    let known = |word: &&String| {
        let known = PRIVILEGES.contains(&word.to_lowercase().as_str());
        if !known {
            let text = format!("unknown word: `{}`", shown(word));
            section.problem("may", text, format!("one of {}", PRIVILEGES.join(", ")));
        }
        known
    };
    let privileges = words.iter().filter(known).map(|word| word.to_uppercase()).collect();
    Group { tables, privileges, creates }
}

/// A list of names as SQL has them.
fn names(section: &Section<'_>, key: &str) -> BTreeSet<String> {
    if !section.has(key) {
        return BTreeSet::new();
    }
    let names = section.list(key).unwrap_or_default();
    if let Some(name) = names.iter().find(|name| name.is_empty() || name.len() > 63) {
        let text = format!("cannot be a name in the database: `{}`", shown(name));
        section.problem(key, text, "a name has from 1 to 63 bytes");
    }
    names.into_iter().collect()
}
