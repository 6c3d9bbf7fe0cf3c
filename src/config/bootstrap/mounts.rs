//! `engines`, `auth` and `identity`: what is mounted, and what is set there.

use std::collections::BTreeMap;

use crate::bootstrap::policy::Rules;
use crate::bootstrap::wanted::{Database, Mount, MountKind, Object};
use crate::config::bootstrap::is_good;
use crate::config::bootstrap::setting::setting;
use crate::config::keys::{Keys, Otherwise, Takes, key, keys};
use crate::config::raw::{Section, shown};
use crate::config::value::is_vault_path;
use crate::vault::Setting;

#[rustfmt::skip]
pub(super) static ENGINE: Keys = keys(&[
    key("type", Takes::Text, Otherwise::Needed, "Vault's word for it, as `kv`"),
    key("version", Takes::Number(1, 2), Otherwise::None, "of `kv`, which version"),
]);

#[rustfmt::skip]
pub(super) static METHOD: Keys = keys(&[
    key("type", Takes::Word(&["approle", "kubernetes", "jwt", "cert"]), Otherwise::Needed, "which method"),
    key("config", Takes::Names, Otherwise::None, "its settings, in Vault's own keys"),
    key("roles", Takes::Names, Otherwise::None, "its roles by name, each in Vault's own keys"),
]);

#[rustfmt::skip]
pub(super) static IDENTITY: Keys = keys(&[
    key("keys", Takes::Names, Otherwise::None, "keys by name, in Vault's own keys"),
    key("roles", Takes::Names, Otherwise::None, "roles of identity tokens by name, in Vault's own keys"),
]);

/// A method by its word: what Vault calls it, and where its roles are.
const METHODS: [(&str, (&str, &str)); 4] = [
    ("approle", ("approle", "role")),
    ("kubernetes", ("kubernetes", "role")),
    ("jwt", ("jwt", "role")),
    ("cert", ("cert", "certs")),
];

/// What a role's policies are called, today and before.
const POLICIES: [&str; 2] = ["token_policies", "policies"];

/// The engine that makes logins.
pub(super) fn of_database(database: &Database) -> Mount {
    Mount {
        kind: MountKind::Engine,
        path: database.mount.clone(),
        engine: "database".to_owned(),
        version: None,
    }
}

/// All others.
pub(super) fn engines(section: &Section<'_>, database: &Database) -> Vec<Mount> {
    let mut mounts = Vec::new();
    for (path, node) in section.entries() {
        let below = section.below(path, node, &ENGINE);
        let engine = below.required_text("type");
        let version = below.number("version");
        if version.is_some_and(|version| !(1..=2).contains(&version)) {
            below.problem("version", "must be 1 or 2", "2 keeps versions of each secret");
        }
        if *path == database.mount {
            section.problem(path, "stands in `database` already", "leave it out here");
        }
        if !is_mount(section, path) {
            continue;
        }
        if let Some(engine) = engine {
            mounts.push(Mount { kind: MountKind::Engine, path: path.clone(), engine, version });
        }
    }
    mounts
}

fn is_mount(section: &Section<'_>, path: &str) -> bool {
    let good = is_vault_path(path) && !path.contains(char::is_whitespace);
    if !good {
        let hint = "parts with `/` between, none empty or `..`";
        section.problem(&shown(path), "cannot be where something is mounted", hint);
    }
    good
}

/// Ways to log in, and what is set there.
pub(super) fn methods(
    section: &Section<'_>,
    policies: &BTreeMap<String, Rules>,
) -> (Vec<Mount>, Vec<Object>) {
    let (mut mounts, mut objects) = (Vec::new(), Vec::new());
    for (path, node) in section.entries() {
        let below = section.below(path, node, &METHOD);
        below.require("type");
        let Some((engine, place)) = below.choice("type", &METHODS, &[]) else { continue };
        if !is_mount(section, path) {
            continue;
        }
        mounts.push(Mount {
            kind: MountKind::Method,
            path: path.clone(),
            engine: engine.to_owned(),
            version: None,
        });
        if let Some(node) = below.get("config") {
            objects.push(Object {
                what: format!("settings of the login method `{path}`"),
                path: format!("auth/{path}/config"),
                setting: setting(&below, "config", node),
            });
        }
        for (name, setting) in each(&below, "roles") {
            known(&below, &name, &setting, policies);
            objects.push(Object {
                what: format!("login role `{name}` of `{path}`"),
                path: format!("auth/{path}/{place}/{name}"),
                setting,
            });
        }
    }
    (mounts, objects)
}

/// Writes down policies of a role that nobody made.
fn known(section: &Section<'_>, role: &str, setting: &Setting, policies: &BTreeMap<String, Rules>) {
    let listed = POLICIES.iter().filter_map(|field| setting.get(*field)?.as_array()).flatten();
    for policy in listed.filter_map(|policy| policy.as_str()) {
        if !policies.contains_key(policy) && policy != "default" {
            let text = format!("there is no policy `{}`", shown(policy));
            section.problem(&format!("roles.{role}"), text, "add it to `policies`");
        }
    }
}

/// Keys and roles of identity tokens; a role names its key.
pub(super) fn identity(section: &Section<'_>) -> Vec<Object> {
    let object = |what: &str, place: &str, (name, setting): (String, Setting)| Object {
        what: format!("{what} `{name}`"),
        path: format!("identity/oidc/{place}/{name}"),
        setting,
    };
    let keys = each(section, "keys").into_iter();
    let keys = keys.map(|one| object("identity key", "key", one));
    let roles = each(section, "roles").into_iter();
    let roles = roles.map(|one| object("identity token role", "role", one));
    keys.chain(roles).collect()
}

/// Each setting of the map at `key`, by name.
fn each(section: &Section<'_>, key: &str) -> Vec<(String, Setting)> {
    let all = section.names(key);
    let named = all.entries().filter(|(name, _)| is_good(&all, name));
    named.map(|(name, node)| (name.clone(), setting(&all, name, node))).collect()
}
