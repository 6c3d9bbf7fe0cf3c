//! What there is of what is wanted.
//!
//! Receives both servers, asks them for what the file names and for nothing else. Never changes
//! anything.

use std::cell::Cell;
use std::collections::BTreeMap;

use serde_json::Value;

use crate::bootstrap::Servers;
use crate::bootstrap::plan::{Mounted, Observed};
use crate::bootstrap::wanted::Wanted;
use crate::error::Failure;
use crate::postgres::setup::{self, About, Standing};
use crate::timeline::{Error, go_on};
use crate::vault::Setting;

pub(super) async fn observe(
    servers: &Servers<'_>,
    wanted: &Wanted,
    stop: &Cell<bool>,
) -> Result<Observed, Error> {
    let Servers { vault, token, .. } = servers;
    let mut found = Observed {
        standing: standing(servers, wanted).await.map_err(Error::Failed)?,
        engines: mounts(servers, "sys/mounts").await.map_err(Error::Failed)?,
        methods: mounts(servers, "sys/auth").await.map_err(Error::Failed)?,
        ..Observed::default()
    };
    for name in wanted.policies.keys() {
        go_on(stop)?;
        let path = format!("sys/policies/acl/{name}");
        let policy = vault.setting(token, &path).await.map_err(Error::Failed)?;
        let text = policy.as_ref().and_then(|policy| policy.get("policy")).and_then(Value::as_str);
        found.policies.extend(text.map(|text| (name.clone(), text.to_owned())));
    }
    for path in paths(wanted) {
        go_on(stop)?;
        let setting = vault.setting(token, &path).await.map_err(Error::Failed)?;
        found.settings.extend(setting.map(|setting| (path, flat(setting))));
    }
    Ok(found)
}

fn paths(wanted: &Wanted) -> Vec<String> {
    let database = &wanted.database;
    let roles = database.roles.keys().map(|role| format!("{}/roles/{role}", database.mount));
    let objects = wanted.objects.iter().map(|object| object.path.clone());
    [database.path()].into_iter().chain(roles).chain(objects).collect()
}

/// Vault takes the fields of a connection side by side, and gives some of them one below.
fn flat(mut setting: Setting) -> Setting {
    if let Some(Value::Object(details)) = setting.remove("connection_details") {
        setting.extend(details);
    }
    setting
}

async fn mounts(
    Servers { vault, token, .. }: &Servers<'_>,
    path: &str,
) -> Result<BTreeMap<String, Mounted>, Failure> {
    let listed = vault.setting(token, path).await?.unwrap_or_default();
    let mounted = listed.iter().filter_map(|(path, facts)| {
        let engine = facts.get("type")?.as_str()?.to_owned();
        let version = facts.get("options").and_then(|options| options.get("version")?.as_str());
        let version = version.map(str::to_owned);
        Some((path.trim_end_matches('/').to_owned(), Mounted { engine, version }))
    });
    Ok(mounted.collect())
}

async fn standing(servers: &Servers<'_>, wanted: &Wanted) -> Result<Standing, Failure> {
    let postgres = &wanted.postgres;
    let groups: Vec<String> = postgres.groups.keys().cloned().collect();
    let others = [&wanted.database.admin, &postgres.superuser];
    let owners = postgres.owners.iter();
    let roles: Vec<String> = groups.iter().chain(others).chain(owners).cloned().collect();
    let schemas: Vec<String> = postgres.apart.iter().chain([&postgres.schema]).cloned().collect();
    let about = About {
        roles: &roles,
        groups: &groups,
        admin: &wanted.database.admin,
        schema: &postgres.schema,
        schemas: &schemas,
    };
    setup::look(&postgres.connection, &servers.superuser, &about).await
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_connection_has_its_fields_side_by_side() {
        let Value::Object(setting) = json!({
            "allowed_roles": ["a"], "connection_details": { "username": "vault-admin" },
        }) else {
            panic!("no object")
        };
        let flat = flat(setting);
        assert_eq!(flat["username"], "vault-admin");
        assert_eq!(flat.len(), 2);
    }
}
