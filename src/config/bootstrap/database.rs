//! `database`: Vault's connection to the database, and the roles that logins are made by.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::bootstrap::wanted::{Database, DatabaseRole, Postgres};
use crate::config::bootstrap::is_good;
use crate::config::keys::{Keys, Otherwise, Takes, key, keys};
use crate::config::raw::{Section, shown};

#[rustfmt::skip]
pub(super) static DATABASE: Keys = keys(&[
    key("mount", Takes::VaultPath, Otherwise::Value("database"), "where the engine is mounted"),
    key("connection", Takes::Text, Otherwise::Needed, "what Vault calls its connection"),
    key("url", Takes::Expanded, Otherwise::Needed, "how Vault reaches the database, with `{{username}}:{{password}}` in it"),
    key("admin", Takes::Text, Otherwise::Value("vault-admin"), "the role that Vault logs in as"),
    key("password_file", Takes::File, Otherwise::Depends("`VAULT_ADMIN_PASSWORD`, else a random one"), "file with its first password"),
    key("roles", Takes::Each("NAME", &ROLE), Otherwise::Needed, "what logins are made by"),
]);

#[rustfmt::skip]
static ROLE: Keys = keys(&[
    key("group", Takes::Text, Otherwise::Needed, "which group its logins are members of"),
    key("default_ttl", Takes::Duration, Otherwise::Value("24h"), "the term of a lease"),
    key("max_ttl", Takes::Duration, Otherwise::Value("72h"), "how far renewals carry it"),
]);

const PLACES: [&str; 2] = ["{{username}}", "{{password}}"];
const SECOND: Duration = Duration::from_secs(1);
const HOUR: u64 = 3600;

/// The section; what is wrong in it is written down, and something stands in for it.
pub(super) fn resolve(section: &Section<'_>, postgres: &Postgres) -> Database {
    let usual = |key: &str, usual: &str| section.text(key).unwrap_or_else(|| usual.to_owned());
    let admin = usual("admin", "vault-admin");
    if admin == postgres.superuser {
        let text = format!("`{}` is the superuser: it must stay outside of Vault", shown(&admin));
        section.problem("admin", text, "give Vault a role of its own, such as `vault-admin`");
    }
    if postgres.groups.contains_key(&admin) {
        let text = format!("`{}` is a group, which cannot log in", shown(&admin));
        section.problem("admin", text, "give Vault a role of its own, such as `vault-admin`");
    }
    Database {
        mount: usual("mount", "database"),
        name: section.required_text("connection").unwrap_or_default(),
        url: url(section).unwrap_or_default(),
        admin,
        password_file: section.optional_file("password_file"),
        roles: roles(section, postgres),
    }
}

fn url(section: &Section<'_>) -> Option<String> {
    section.require("url");
    let url = section.expanded("url")?;
    let hint = "write `postgresql://{{username}}:{{password}}@host:5432/database`";
    if !url.starts_with("postgresql://") && !url.starts_with("postgres://") {
        section.problem("url", "must begin with `postgresql://`", hint);
    }
    if !PLACES.iter().all(|place| url.contains(place)) {
        section.problem("url", "has no place for the login: Vault puts it in", hint);
    }
    Some(url)
}

fn roles(section: &Section<'_>, postgres: &Postgres) -> BTreeMap<String, DatabaseRole> {
    section.require("roles");
    let all = section.names("roles");
    let mut roles = BTreeMap::new();
    for (name, node) in all.entries() {
        let role = role(&all.below(name, node, &ROLE), postgres);
        if let Some(role) = role
            && is_good(&all, name)
        {
            roles.insert(name.clone(), role);
        }
    }
    roles
}

fn role(section: &Section<'_>, postgres: &Postgres) -> Option<DatabaseRole> {
    let span = |key: &str, hours: u64| {
        let usual = Duration::from_secs(hours * HOUR);
        if section.has(key) { section.whole_seconds(key, SECOND) } else { Some(usual) }
    };
    let (default_ttl, max_ttl) = (span("default_ttl", 24), span("max_ttl", 72));
    if let (Some(default_ttl), Some(max_ttl)) = (default_ttl, max_ttl)
        && max_ttl < default_ttl
    {
        section.problem("max_ttl", "shorter than `default_ttl`", "write a longer one");
    }
    let group = section.required_text("group")?;
    if !postgres.groups.contains_key(&group) {
        let text = format!("`{}` is none of `postgres.groups`", shown(&group));
        section.problem("group", text, "name one of them, or add it there");
    }
    Some(DatabaseRole { group, default_ttl: default_ttl?, max_ttl: max_ttl? })
}
