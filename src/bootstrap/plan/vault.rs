//! Mounts, the connection to the database, policies and all else that is set in Vault.
//!
//! Receives what is wanted and what there is, adds what differs to the plan. Never unmounts anything
//! and never deletes a policy: what is in the way is told, and left to a person.

use serde_json::{Value, json};

use crate::bootstrap::compare::{self, Difference, differences};
use crate::bootstrap::plan::{Action, Observed, Plan, Sign};
use crate::bootstrap::wanted::{Database, Mount, MountKind, Object, Wanted};
use crate::bootstrap::{policy, statements};
use crate::vault::Setting;

/// What the path of the settings of a way to log in ends with.
const CONFIG: &str = "/config";

/// Fields that say that there is a secret beside them, and what that is called.
const HIDDEN: [(&str, &str); 2] =
    [("token_reviewer_jwt_set", "token_reviewer_jwt"), ("oidc_client_id", "oidc_client_secret")];

/// Where a `jwt` method has its keys from: exactly one of these.
const KEYS: [&str; 4] = ["jwks_url", "jwks_pairs", "jwt_validation_pubkeys", "oidc_discovery_url"];

pub(super) fn plan(plan: &mut Plan, wanted: &Wanted, found: &Observed, reset_root: bool) {
    for mount in &wanted.mounts {
        mounted(plan, mount, found);
    }
    for (name, role) in &wanted.database.roles {
        let object = Object {
            what: format!("database role `{name}`"),
            path: format!("{}/roles/{name}", wanted.database.mount),
            setting: statements::setting(&wanted.database, role),
        };
        object_set(plan, &object, found);
    }
    // Before whatever names them.
    for (name, rules) in &wanted.policies {
        policy_written(plan, name, &rules.text(), found);
    }
    for object in &wanted.objects {
        object_set(plan, object, found);
    }
    // Last of all: a run that was killed does these two anew. From here on nobody but Vault knows the
    // password.
    if connection(plan, &wanted.database, found, reset_root) {
        let what = format!(
            "the password of \"{}\" becomes Vault's alone: the one before no longer works",
            wanted.database.admin
        );
        plan.step(Sign::Final, what, Vec::new(), Action::Rotate);
    }
}

fn mounted(plan: &mut Plan, mount: &Mount, found: &Observed) {
    let (there, below, word) = match mount.kind {
        MountKind::Engine => (&found.engines, "sys/mounts", "engine"),
        MountKind::Method => (&found.methods, "sys/auth", "login method"),
    };
    let Mount { path, engine, version, .. } = mount;
    let version = version.map(|version| version.to_string());
    let Some(present) = there.get(path) else {
        let mut setting = Setting::from_iter([("type".to_owned(), Value::from(engine.as_str()))]);
        if let Some(version) = &version {
            setting.insert("options".to_owned(), json!({ "version": version }));
        }
        let kind = version.map_or_else(|| engine.clone(), |version| format!("{engine} {version}"));
        let (what, path) = (format!("{word} `{kind}` at {path}/"), format!("{below}/{path}"));
        return plan.step(Sign::New, what, Vec::new(), Action::Write { path, setting });
    };
    if present.engine != *engine {
        plan.conflicts.push(format!(
            "the {word} at {path}/ is `{}`, not `{engine}`: choose another path, or move it by hand",
            present.engine
        ));
    } else if let Some(version) = version
        && let there = present.version.as_deref().unwrap_or("1")
        && there != version
    {
        plan.conflicts.push(format!(
            "the {word} at {path}/ is version {there} of `{engine}`, not {version}: choose another path, \
             or upgrade it by hand"
        ));
    }
}

/// Whether the password has to be made Vault's own. Vault shows no password: whether it has the right
/// one is known only from the mark that is left once it made one itself. Without it both begin anew.
fn connection(plan: &mut Plan, wanted: &Database, found: &Observed, reset_root: bool) -> bool {
    let (path, setting) = (wanted.path(), connection_setting(wanted));
    let present = found.settings.get(&path);
    let marked = found
        .standing
        .roles
        .get(&wanted.admin)
        .is_some_and(|role| role.comment.as_deref() == Some(wanted.mark().as_str()));
    let by_admin = present.is_some_and(|present| {
        present.get("username").and_then(Value::as_str) == Some(wanted.admin.as_str())
    });
    let what = format!("connection `{}` to the database", wanted.name);
    if let Some(present) = present
        && marked
        && by_admin
        && !reset_root
    {
        let differing = differences(&setting, present);
        if !differing.is_empty() {
            let details = lines(&differing);
            plan.step(Sign::Drift, what, details, Action::Write { path, setting });
        }
        return false;
    }
    let mut details = vec![format!("+ a first password for \"{}\"", wanted.admin)];
    details
        .extend(present.map(|present| lines(&differences(&setting, present))).unwrap_or_default());
    let sign = if present.is_some() { Sign::Drift } else { Sign::New };
    plan.step(sign, what, details, Action::Connect { path, setting });
    true
}

fn connection_setting(wanted: &Database) -> Setting {
    let roles: Vec<&str> = wanted.roles.keys().map(String::as_str).collect();
    Setting::from_iter([
        ("plugin_name".to_owned(), Value::from("postgresql-database-plugin")),
        ("allowed_roles".to_owned(), Value::from(roles)),
        ("connection_url".to_owned(), Value::from(wanted.url.as_str())),
        ("username".to_owned(), Value::from(wanted.admin.as_str())),
        // The database gets verifiers: no log of its statements has a password.
        ("password_authentication".to_owned(), Value::from("scram-sha-256")),
    ])
}

fn object_set(plan: &mut Plan, Object { what, path, setting }: &Object, found: &Observed) {
    let action = |setting| Action::Write { path: path.clone(), setting };
    let Some(present) = found.settings.get(path) else {
        return plan.step(Sign::New, what.clone(), Vec::new(), action(setting.clone()));
    };
    let differing = differences(setting, present);
    if differing.is_empty() {
        return;
    }
    let hidden = HIDDEN
        .iter()
        .find(|(field, _)| present.get(*field).is_some_and(|value| !compare::is_empty(value)));
    if let Some((_, secret)) = hidden {
        plan.conflicts.push(format!(
            "{what} is otherwise than it should be, and writing it would lose its `{secret}`, which \
             Vault does not show: write all of it by hand"
        ));
        return;
    }
    let whole = if path.ends_with(CONFIG) { beside(setting, present) } else { setting.clone() };
    plan.step(Sign::Drift, what.clone(), lines(&differing), action(whole));
}

/// Vault makes the settings of a way to log in anew from what is written.
fn beside(setting: &Setting, present: &Setting) -> Setting {
    let mut whole = present.clone();
    let replaced =
        |field: &str| KEYS.contains(&field) && KEYS.iter().any(|key| setting.contains_key(*key));
    whole.retain(|field, value| !compare::is_empty(value) && !replaced(field));
    whole.extend(setting.clone());
    whole
}

fn policy_written(plan: &mut Plan, name: &str, text: &str, found: &Observed) {
    let what = format!("policy `{name}`");
    let setting = Setting::from_iter([("policy".to_owned(), Value::from(text))]);
    let action = Action::Write { path: format!("sys/policies/acl/{name}"), setting };
    let Some(present) = found.policies.get(name) else {
        let details = text.lines().map(|line| format!("+ {line}")).collect();
        return plan.step(Sign::New, what, details, action);
    };
    let (gone, come) = policy::differences(text, present);
    if !gone.is_empty() || !come.is_empty() {
        let gone = gone.iter().map(|line| format!("- {line}"));
        let details = gone.chain(come.iter().map(|line| format!("+ {line}"))).collect();
        plan.step(Sign::Drift, what, details, action);
    }
}

/// A line for each item that comes or goes.
fn lines(differing: &[Difference]) -> Vec<String> {
    let lines = differing.iter().flat_map(|Difference { field, gone, come }| {
        let gone = gone.iter().map(move |item| format!("- {field}: {item}"));
        gone.chain(come.iter().map(move |item| format!("+ {field}: {item}")))
    });
    lines.collect()
}
