use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::json;

use super::*;
use crate::bootstrap::policy::Rules;
use crate::bootstrap::wanted::{
    Database, DatabaseRole, Group, Mount, MountKind, Object, Postgres, Tables,
};
use crate::bootstrap::{lines, statements};
use crate::postgres::setup::{Attributes, Grant, LaterGrant, Relation};
use crate::snapshot::{Connection, SslMode};

fn set(words: &[&str]) -> BTreeSet<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

fn setting(value: serde_json::Value) -> Setting {
    let serde_json::Value::Object(setting) = value else { panic!("no object") };
    setting
}

fn group(tables: Tables) -> Group {
    Group { tables, privileges: set(&["SELECT", "INSERT"]), creates: false }
}

fn wanted() -> Wanted {
    let role = DatabaseRole {
        group: "all_role".to_owned(),
        default_ttl: Duration::from_secs(86_400),
        max_ttl: Duration::from_secs(259_200),
    };
    let rules = Rules([("database/creds/all".to_owned(), set(&["read"]))].into());
    Wanted {
        postgres: Postgres {
            connection: Connection {
                hosts: vec!["h".to_owned()],
                port: 5432,
                dbname: "d".to_owned(),
                sslmode: SslMode::Disable,
                sslrootcert: None,
            },
            superuser: "postgres".to_owned(),
            password_file: None,
            schema: "public".to_owned(),
            owners: set(&["postgres"]),
            groups: [
                ("all_role".to_owned(), group(Tables::All)),
                ("some_role".to_owned(), group(Tables::Only(set(&["users", "later"])))),
            ]
            .into(),
            apart: set(&["audit"]),
        },
        database: Database {
            mount: "database".to_owned(),
            name: "pg".to_owned(),
            url: "postgresql://{{username}}:{{password}}@h:5432/d".to_owned(),
            admin: "vault-admin".to_owned(),
            password_file: None,
            roles: [("all".to_owned(), role)].into(),
        },
        mounts: vec![Mount {
            kind: MountKind::Engine,
            path: "secret".to_owned(),
            engine: "kv".to_owned(),
            version: Some(2),
        }],
        policies: [("all".to_owned(), rules)].into(),
        objects: vec![Object {
            what: "login role `all`".to_owned(),
            path: "auth/approle/role/all".to_owned(),
            setting: setting(json!({ "token_policies": ["all"], "token_period": "1h" })),
        }],
    }
}

/// What an empty database and an empty Vault show.
fn nothing() -> Observed {
    let relation = |sequence: bool| Relation { sequence, owner: "postgres".to_owned() };
    let mut found = Observed::default();
    found.standing.roles.insert("postgres".to_owned(), Attributes::default());
    found.standing.schemas.insert("public".to_owned(), true);
    for (name, sequence) in [("users", false), ("memories", false), ("users_id_seq", true)] {
        found.standing.relations.insert(name.to_owned(), relation(sequence));
    }
    found
}

/// What is there once all of it was done.
fn everything(wanted: &Wanted) -> Observed {
    let mut found = nothing();
    let standing = &mut found.standing;
    standing.schemas.insert("audit".to_owned(), false);
    let admin = Attributes {
        login: true,
        createrole: true,
        comment: Some(wanted.database.mark()),
        ..Attributes::default()
    };
    standing.roles.insert("vault-admin".to_owned(), admin);
    for group in ["all_role", "some_role"] {
        standing.roles.insert(group.to_owned(), Attributes::default());
        standing.members.insert((group.to_owned(), "vault-admin".to_owned()), true);
        standing.users.insert(("public".to_owned(), group.to_owned()));
        for privilege in ["SELECT", "USAGE"] {
            grant(&mut standing.grants, group, "users_id_seq", privilege);
            later(&mut standing.later, group, true, privilege);
        }
        for privilege in ["SELECT", "INSERT"] {
            grant(&mut standing.grants, group, "users", privilege);
        }
    }
    for privilege in ["SELECT", "INSERT"] {
        grant(&mut standing.grants, "all_role", "memories", privilege);
        later(&mut standing.later, "all_role", false, privilege);
    }
    let version = Some("2".to_owned());
    found.engines.insert("secret".to_owned(), Mounted { engine: "kv".to_owned(), version });
    found.policies.insert("all".to_owned(), wanted.policies["all"].text());
    let connection = json!({
        "plugin_name": "postgresql-database-plugin", "allowed_roles": ["all"],
        "connection_url": wanted.database.url, "username": "vault-admin", "more": 1,
        "password_authentication": "scram-sha-256",
    });
    found.settings.insert("database/config/pg".to_owned(), setting(connection));
    let role = statements::setting(&wanted.database, &wanted.database.roles["all"]);
    found.settings.insert("database/roles/all".to_owned(), role);
    let login = json!({ "token_policies": ["all"], "token_period": 3600, "bind_secret_id": true });
    found.settings.insert("auth/approle/role/all".to_owned(), setting(login));
    found
}

fn grant(grants: &mut BTreeSet<Grant>, group: &str, relation: &str, privilege: &str) {
    grants.insert(Grant {
        group: group.to_owned(),
        relation: relation.to_owned(),
        privilege: privilege.to_owned(),
    });
}

fn later(grants: &mut BTreeSet<LaterGrant>, group: &str, sequences: bool, privilege: &str) {
    grants.insert(LaterGrant {
        group: group.to_owned(),
        owner: "postgres".to_owned(),
        sequences,
        privilege: privilege.to_owned(),
    });
}

fn on_schema(found: &mut Observed, schema: &str, word: &str) {
    let grant = (schema.to_owned(), "all_role".to_owned(), word.to_owned());
    found.standing.on_schemas.insert(grant);
}

fn shown(plan: &Plan) -> Vec<String> {
    lines::steps(plan)
}

#[test]
fn into_nothing_all_of_it_is_made_and_the_password_goes_last() {
    let plan = plan(&wanted(), &nothing(), false);
    let wanted = [
        "+ role \"all_role\" (holds rights, cannot log in)",
        "+ role \"some_role\" (holds rights, cannot log in)",
        "+ role \"vault-admin\" (Vault's login; no superuser)",
        "+ \"vault-admin\" may make members of",
        "    + \"all_role\"",
        "    + \"some_role\"",
        "+ schema \"audit\" (no group can enter it)",
        "+ rights of \"all_role\" in schema \"public\"",
        "    + INSERT, SELECT on memories, users",
        "    + SELECT, USAGE on users_id_seq",
        "+ rights of \"all_role\" on tables that are made later",
        "    + INSERT, SELECT on those of postgres",
        "+ rights of \"all_role\" on sequences that are made later",
        "    + SELECT, USAGE on those of postgres",
        "+ rights of \"some_role\" in schema \"public\"",
        "    + INSERT, SELECT on users",
        "    + SELECT, USAGE on users_id_seq",
        "+ rights of \"some_role\" on sequences that are made later",
        "    + SELECT, USAGE on those of postgres",
        "+ engine `kv 2` at secret/",
        "+ database role `all`",
        "+ policy `all`",
        "    + path \"database/creds/all\" { capabilities = [\"read\"] }",
        "+ login role `all`",
        "+ connection `pg` to the database",
        "    + a first password for \"vault-admin\"",
        "! the password of \"vault-admin\" becomes Vault's alone: the one before no longer works",
    ];
    assert_eq!(shown(&plan), wanted);
    assert_eq!(plan.waiting.len(), 1, "{:?}", plan.waiting);
    assert!(plan.waiting[0].contains("\"public\".\"later\""), "{:?}", plan.waiting);
    assert_eq!(plan.conflicts, [""; 0]);
}

#[test]
fn of_what_is_done_nothing_is_done_again() {
    let wanted = wanted();
    let plan = plan(&wanted, &everything(&wanted), false);
    assert_eq!(shown(&plan), [""; 0]);
}

/// Drift: what somebody did to what was made, and what the plan says of it.
#[test]
fn drift_is_named() {
    type Hand = fn(&mut Observed);
    let cases: [(Hand, &[&str]); 14] = [
        (
            |found| drop(found.standing.grants.pop_first()),
            &["~ rights of \"all_role\" in schema \"public\"", "    + INSERT on memories"],
        ),
        (
            |found| grant(&mut found.standing.grants, "some_role", "memories", "DELETE"),
            &["~ rights of \"some_role\" in schema \"public\"", "    - DELETE on memories"],
        ),
        (
            |found| later(&mut found.standing.later, "some_role", false, "SELECT"),
            &[
                "~ rights of \"some_role\" on tables that are made later",
                "    - SELECT on those of postgres",
            ],
        ),
        // What somebody else made is left alone.
        (|found| grant(&mut found.standing.grants, "other", "memories", "DELETE"), &[]),
        (
            |found| {
                let login = Attributes { login: true, ..Attributes::default() };
                found.standing.roles.insert("all_role".to_owned(), login);
            },
            &["~ role \"all_role\" (holds rights, cannot log in)", "    + NOLOGIN"],
        ),
        (
            |found| {
                found.standing.users.insert(("audit".to_owned(), "all_role".to_owned()));
                on_schema(found, "audit", "USAGE");
            },
            &["~ schema \"audit\" (no group can enter it)", "    - \"all_role\" may enter it"],
        ),
        (
            |found| {
                found.standing.schemas.insert("audit".to_owned(), true);
            },
            &["~ schema \"audit\" (no group can enter it)", "    - everybody may enter it"],
        ),
        (
            |found| on_schema(found, "public", "CREATE"),
            &["~ role \"all_role\" in schema \"public\"", "    - CREATE"],
        ),
        (
            |found| {
                let pair = ("some_role".to_owned(), "vault-admin".to_owned());
                found.standing.members.insert(pair, false);
            },
            &["~ \"vault-admin\" may make members of", "    + \"some_role\""],
        ),
        (
            |found| {
                let role = found.settings.get_mut("database/roles/all").unwrap();
                role["max_ttl"] = json!(3600);
                role["revocation_statements"] = json!(["DROP ROLE \"{{name}}\";"]);
            },
            &[
                "~ database role `all`",
                "    - max_ttl: 1h",
                "    + max_ttl: 72h",
                "    - revocation_statements: DROP ROLE \"{{name}}\";",
                "    + revocation_statements: SET LOCAL lock_timeout = '5s';",
            ],
        ),
        (
            |found| {
                let text = found.policies.get_mut("all").unwrap();
                text.push_str("path \"sys/*\" { capabilities = [\"sudo\"] }\n");
            },
            &["~ policy `all`", "    - path \"sys/*\" { capabilities = [\"sudo\"] }"],
        ),
        (
            |found| {
                let connection = found.settings.get_mut("database/config/pg").unwrap();
                connection["allowed_roles"] = json!(["*"]);
            },
            &[
                "~ connection `pg` to the database",
                "    - allowed_roles: *",
                "    + allowed_roles: all",
            ],
        ),
        (
            |found| drop(found.engines.insert("other".to_owned(), found.engines["secret"].clone())),
            &[],
        ),
        (|found| drop(found.policies.insert("other".to_owned(), "x".to_owned())), &[]),
    ];
    let wanted = wanted();
    for (hand, lines) in cases {
        let mut found = everything(&wanted);
        hand(&mut found);
        let shown = shown(&plan(&wanted, &found, false));
        assert_eq!(shown[..lines.len().min(shown.len())], *lines);
        assert_eq!(shown.is_empty(), lines.is_empty(), "{shown:?}");
        let steps = shown.iter().filter(|line| !line.starts_with(' ')).count();
        assert!(steps <= 1, "{shown:?}");
    }
}

/// Only the mark tells that nobody but Vault has the password; and it stands for one connection.
#[test]
fn the_password_is_made_vaults_own_until_the_mark_says_so() {
    let rotates = |found: &Observed, reset: bool| {
        let plan = plan(&wanted(), found, reset);
        let connects = plan.steps.iter().any(|step| matches!(step.action, Action::Connect { .. }));
        let last = plan.steps.last().map(|step| step.action.clone());
        assert_eq!(connects, last == Some(Action::Rotate));
        connects
    };
    let whole = everything(&wanted());
    assert!(!rotates(&whole, false));
    assert!(rotates(&whole, true));
    let mut killed = whole.clone();
    killed.standing.roles.get_mut("vault-admin").unwrap().comment = None;
    assert!(rotates(&killed, false));
    let mut other = whole.clone();
    other.standing.roles.get_mut("vault-admin").unwrap().comment =
        Some("leasehold: the password is Vault's alone, by elsewhere/config/pg".to_owned());
    assert!(rotates(&other, false));
    let mut restored = whole.clone();
    restored.settings.remove("database/config/pg");
    assert!(rotates(&restored, false));
}

/// A run may be killed behind each of its steps; the next one has exactly the others to do.
#[test]
fn after_a_kill_the_rest_is_planned() {
    let wanted = wanted();
    let whole = plan(&wanted, &nothing(), false);
    let done = everything(&wanted);
    // What each step leaves behind, in the order of the plan.
    let leaves: [fn(&mut Observed, &Observed); 4] = [
        |found, done| {
            found.standing.roles = done.standing.roles.clone();
            // As everybody, and so without a step.
            found.standing.users = done.standing.users.clone();
        },
        |found, done| found.standing = done.standing.clone(),
        |found, done| found.engines = done.engines.clone(),
        |found, done| found.policies = done.policies.clone(),
    ];
    let mut found = nothing();
    let mut left = whole.steps.len();
    for leave in leaves {
        leave(&mut found, &done);
        // Without the connection the mark means nothing.
        let plan = plan(&wanted, &found, false);
        assert!(plan.steps.len() < left, "{:?}", shown(&plan));
        assert!(plan.steps.iter().all(|step| whole.steps.iter().any(|one| one.what == step.what)));
        left = plan.steps.len();
    }
}

#[test]
fn what_is_in_the_way_is_told_and_stays() {
    let wanted = wanted();
    for (engine, version, text) in [
        ("transit", None, "the engine at secret/ is `transit`, not `kv`"),
        ("kv", Some("1"), "the engine at secret/ is version 1 of `kv`, not 2"),
    ] {
        let mut found = everything(&wanted);
        let version = version.map(str::to_owned);
        let mounted = Mounted { engine: engine.to_owned(), version };
        found.engines.insert("secret".to_owned(), mounted);
        let plan = plan(&wanted, &found, false);
        assert!(plan.conflicts[0].contains(text), "{:?}", plan.conflicts);
        assert_eq!(plan.steps, []);
    }
    let mut found = everything(&wanted);
    found.standing.schemas.remove("public");
    assert!(plan(&wanted, &found, false).conflicts[0].contains("schema \"public\" is not there"));
}

/// What a person has to do keeps the plan from being done, and is no step.
#[test]
fn a_membership_is_left_to_a_person() {
    let wanted = wanted();
    let mut found = everything(&wanted);
    let before = plan(&wanted, &found, false).waiting.len();
    found.standing.above.insert(("all_role".to_owned(), "migrator".to_owned()));
    found.standing.users.insert(("audit".to_owned(), "all_role".to_owned()));
    let plan = plan(&wanted, &found, false);
    assert_eq!((plan.steps.len(), plan.waiting.len(), plan.is_done()), (0, before + 2, false));
    assert!(plan.waiting.iter().any(|text| text.contains("member of \"migrator\"")));
}

/// Vault makes the settings of a login method anew: what the file does not name is written again,
/// and where Vault does not show it, nothing is.
#[test]
fn what_a_method_has_beside_the_file_is_kept() {
    let mut wanted = wanted();
    wanted.objects = vec![Object {
        what: "settings of the login method `jwt`".to_owned(),
        path: "auth/jwt/config".to_owned(),
        setting: setting(json!({ "jwks_url": "https://new" })),
    }];
    let mut found = everything(&wanted);
    let present = json!({
        "jwks_url": "", "oidc_discovery_url": "https://old", "bound_issuer": "us", "empty": [],
    });
    found.settings.insert("auth/jwt/config".to_owned(), setting(present));
    let plan_of = |found: &Observed| plan(&wanted, found, false);
    let Action::Write { setting, .. } = &plan_of(&found).steps[0].action else {
        panic!("no write")
    };
    assert_eq!(
        serde_json::Value::Object(setting.clone()),
        json!({ "jwks_url": "https://new", "bound_issuer": "us" })
    );
    for hidden in ["token_reviewer_jwt_set", "oidc_client_id"] {
        let mut found = found.clone();
        let present = found.settings.get_mut("auth/jwt/config").unwrap();
        present.insert(hidden.to_owned(), json!(true));
        let plan = plan_of(&found);
        assert_eq!((plan.steps.len(), plan.conflicts.len()), (0, 1), "{hidden}");
    }
}
