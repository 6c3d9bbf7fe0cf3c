use super::*;
use crate::bootstrap::wanted::{MountKind, Tables};
use crate::error::chain;

const HEAD: &str = "vault: { address: 'https://v:8200', auth: { token_file: /t } }\n";
const POSTGRES: &str = "postgres: { connection: { host: h, dbname: d, sslmode: disable }, groups: { g: { tables: all } } }\n";
const DATABASE: &str = "database: { connection: pg, url: 'postgresql://{{username}}:{{password}}@h/d', roles: { app: { group: g } } }\n";

fn written(text: &str) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), text).unwrap();
    file
}

fn loaded(text: &str, variables: &[(&str, &str)]) -> Result<Bootstrap, ConfigError> {
    load(written(text).path(), &Environment::new("h", variables.iter().copied()))
}

fn good(text: &str) -> Wanted {
    loaded(text, &[]).unwrap_or_else(|error| panic!("{}", chain(&error))).wanted
}

fn wrong(text: &str) -> String {
    chain(&loaded(text, &[]).unwrap_err())
}

#[test]
fn what_nobody_says_has_its_usual_value() {
    let wanted = good(&format!("{HEAD}{POSTGRES}{DATABASE}"));
    assert_eq!(wanted.postgres.superuser, "postgres");
    assert_eq!(wanted.postgres.schema, "public");
    assert_eq!(wanted.postgres.owners, ["postgres".to_owned()].into());
    let group = &wanted.postgres.groups["g"];
    assert_eq!(group.tables, Tables::All);
    assert_eq!(
        group.privileges,
        ["DELETE", "INSERT", "SELECT", "UPDATE"].map(str::to_owned).into()
    );
    assert_eq!((&*wanted.database.mount, &*wanted.database.admin), ("database", "vault-admin"));
    let role = &wanted.database.roles["app"];
    assert_eq!((role.default_ttl.as_secs(), role.max_ttl.as_secs()), (86_400, 259_200));
    assert_eq!(wanted.mounts.len(), 1);
    assert_eq!((wanted.policies.len(), wanted.objects.len()), (0, 0));
}

#[test]
fn settings_are_vaults_own_and_stand_in_order() {
    let text = format!(
        "{HEAD}{POSTGRES}{DATABASE}
engines: {{ secret: {{ type: kv, version: 2 }} }}
policies: {{ app: {{ database/creds/app: [read] }} }}
auth:
  kubernetes:
    type: kubernetes
    config: {{ kubernetes_host: '${{K8S:-https://k8s}}' }}
    roles: {{ app: {{ bound_service_account_names: [app], token_policies: [app], token_period: 1h }} }}
identity:
  keys: {{ id: {{ allowed_client_ids: [id] }} }}
  roles: {{ id: {{ key: id, client_id: id, ttl: 3600 }} }}
"
    );
    let wanted = good(&text);
    let paths: Vec<&str> = wanted.objects.iter().map(|object| &*object.path).collect();
    assert_eq!(
        paths,
        [
            "auth/kubernetes/config",
            "auth/kubernetes/role/app",
            "identity/oidc/key/id",
            "identity/oidc/role/id",
        ]
    );
    assert_eq!(wanted.objects[0].setting["kubernetes_host"], "https://k8s");
    assert_eq!(wanted.objects[1].setting["token_policies"][0], "app");
    assert_eq!(wanted.objects[3].setting["ttl"], 3600);
    let kinds: Vec<_> = wanted.mounts.iter().map(|mount| (mount.kind, &*mount.path)).collect();
    assert_eq!(
        kinds,
        [
            (MountKind::Engine, "database"),
            (MountKind::Engine, "secret"),
            (MountKind::Method, "kubernetes"),
        ]
    );
    assert_eq!(
        wanted.policies["app"].text(),
        "path \"database/creds/app\" { capabilities = [\"read\"] }\n"
    );
}

#[test]
fn everything_that_is_wrong_is_told_at_once() {
    let text = format!(
        "{HEAD}
postgres:
  connection: {{ host: h, dbname: d, sslmode: disable }}
  superuser: vault-admin
  groups: {{ g: {{ tables: all, may: [read] }}, G: {{ tables: [t] }} }}
  apart: [public]
database:
  url: 'mysql://h/d'
  roles: {{ app: {{ group: other, default_ttl: 2h, max_ttl: 1h }} }}
engines: {{ database: {{ type: kv, version: 3 }} }}
policies: {{ default: {{ x: [read] }}, app: {{ /x: [read], y: [reed], z: read }} }}
auth: {{ jwt: {{ type: jwt, config: {{ oidc_client_secret: x }}, roles: {{ a: {{ token_policies: [none] }} }} }}, x: {{ type: userpass }} }}
"
    );
    let error = wrong(&text);
    for wanted in [
        "auth.jwt.config.oidc_client_secret: a secret has no place in this file",
        "auth.jwt.roles.a: there is no policy `none`",
        "auth.x.type: unknown word: `userpass`",
        "database.admin: `vault-admin` is the superuser: it must stay outside of Vault",
        "database.connection: missing",
        "database.roles.app.group: `other` is none of `postgres.groups`",
        "database.roles.app.max_ttl: shorter than `default_ttl`",
        "database.url: has no place for the login: Vault puts it in",
        "database.url: must begin with `postgresql://`",
        "engines.database: stands in `database` already",
        "engines.database.version: must be 1 or 2",
        "policies.app./x: cannot be a path of a policy",
        "policies.app.y: unknown word: `reed`\n    hint: did you mean `read`?",
        "policies.app.z: must be a list, such as `[read]`",
        "policies.default: is a policy of Vault's own",
        "postgres.apart: `public` is where the tables are",
        "postgres.groups.G: cannot be a name here",
        "postgres.groups.g.may: unknown word: `read`",
    ] {
        assert!(error.contains(wanted), "{wanted}\n{error}");
    }
    let error = wrong("");
    for wanted in ["vault.address: missing", "postgres: missing", "database: missing"] {
        assert!(error.contains(wanted), "{wanted}\n{error}");
    }
}

#[test]
fn the_one_that_is_delivered_is_right() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/vault/bootstrap.yaml");
    let environment = Environment::new("h", [("VAULT_TOKEN", "t")]);
    let found =
        load(Path::new(path), &environment).unwrap_or_else(|error| panic!("{}", chain(&error)));
    assert_eq!(found.warnings, [""; 0]);
    let Wanted { postgres, database, policies, .. } = &found.wanted;
    assert_eq!((postgres.groups.len(), database.roles.len()), (3, 3));
    for policy in ["agent", "signer", "verifier", "controller", "emergency", "audit"] {
        assert!(policies.contains_key(&format!("leasehold-{policy}")), "{policy}");
    }
    // Who only verifies reads no key that signs.
    let verifier = &policies["leasehold-verifier"];
    assert!(verifier.at("secret/data/jwt/version-1").is_empty());
    assert!(!policies["leasehold-controller"].at("secret/metadata/jwt/keyset").contains("delete"));
}
