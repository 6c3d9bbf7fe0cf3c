//! The file that is delivered, on servers that are empty.

use std::collections::BTreeMap;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use serde_json::json;

use crate::support::agent::{Agent, Journal};
use crate::support::bao::Bao;
use crate::support::bootstrap::{Bootstrap, hand_over};
use crate::support::keeper::Keeper;
use crate::support::postgres::{Login, Postgres};
use crate::support::world::login_in;
use crate::support::{eventually, secs};

const TABLES: &str = include_str!("../../../examples/demo/tables.sql");

const PAGE: &str = include_str!("../../../deploy/vault/README.md");

/// What the audit schema holds.
const AUDIT: &str = "CREATE TABLE audit.events (id bigserial PRIMARY KEY, what text)";

const WORDS: [&str; 7] =
    ["SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE", "REFERENCES", "TRIGGER"];

/// What each service may do, as the rotation guide has it: nothing, or the first four words.
const MAY: [(&str, &[&str]); 3] = [
    (
        "intelligence-service",
        &["later", "memories", "memory_contexts", "sessions", "user_progress", "users"],
    ),
    ("auth-service", &["sessions", "user_progress", "users"]),
    ("memory-service", &["memories", "memory_contexts"]),
];

#[tokio::test]
async fn empty_servers_become_what_the_guide_describes() {
    let vault = Keeper::start(&["raft", "1", "0", "0"]).await;
    let bao = vault.bao(vault.text("/nodes/0/address"));
    let database = Keeper::start(&["postgres", "50"]).await;
    let postgres = database.postgres();
    postgres.run("postgres", "CREATE DATABASE novacore").await;
    postgres.run("novacore", TABLES).await;

    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/vault/bootstrap.yaml");
    let mut bootstrap = Bootstrap::new(&bao, &postgres, file.into());
    let ca = std::fs::read_to_string(bao.ca.as_ref().unwrap()).unwrap();
    bootstrap.environment = vec![
        ("VAULT_ADDR", bao.address.clone()),
        ("VAULT_CACERT", bao.ca.clone().unwrap()),
        ("DB_HOST", postgres.host.clone()),
        ("DB_PORT", postgres.port.to_string()),
        ("DB_SSLMODE", "disable".to_owned()),
        ("JWT_JWKS_CA_PEM", ca.clone()),
        ("KUBERNETES_CA_PEM", ca),
        ("KUBERNETES_OUTSIDE", "true".to_owned()),
        ("JWT_JWKS_URL", format!("{}/v1/identity/oidc/.well-known/keys", bao.address)),
    ];
    as_the_page_says(&bootstrap);
    assert!(bootstrap.run(&["bootstrap", "apply", "--yes"], 0).contains("no change"));
    postgres.run("novacore", &format!("{AUDIT}; CREATE TABLE later (id bigserial)")).await;
    let proved = bootstrap.run(&["doctor"], 0);
    for (service, _) in MAY {
        let row = format!("policy {service}");
        assert!(proved.lines().any(|line| line.contains(&row)), "{proved}");
        matrix(&bao, &postgres, service).await;
    }
    only_its_own(&bao).await;
    an_agent_works(&bao, &postgres).await;
}

/// Runs the commands of deploy/vault/README.md, one block after the other.
fn as_the_page_says(bootstrap: &Bootstrap) {
    let place = tempfile::tempdir().unwrap();
    symlink(concat!(env!("CARGO_MANIFEST_DIR"), "/deploy"), place.path().join("deploy")).unwrap();
    let commands = place.path().join("bin");
    std::fs::create_dir(&commands).unwrap();
    symlink(env!("CARGO_BIN_EXE_leasehold"), commands.join("leasehold")).unwrap();
    let blocks: Vec<&str> =
        PAGE.split("```sh\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    assert_eq!(blocks.len(), 3);
    for block in blocks {
        let path = format!("{}:/usr/bin:/bin", commands.display());
        let mut shell = std::process::Command::new("sh");
        shell.args(["-eu", "-c", block]).current_dir(place.path());
        let done = shell.envs(bootstrap.variables()).env("PATH", path).output().unwrap();
        let (said, told) = (done.stdout, done.stderr);
        let texts = [said, told].map(|text| String::from_utf8_lossy(&text).into_owned());
        assert!(done.status.success(), "{block}\n{}", texts.join("\n"));
    }
}

/// Every right on every table, as the database sees it.
async fn matrix(bao: &Bao, postgres: &Postgres, service: &str) {
    let (_, tables) = MAY.iter().find(|(name, _)| *name == service).unwrap();
    let answer = bao.must("GET", &format!("database/creds/{service}"), None).await;
    let text = |field: &str| answer["data"][field].as_str().unwrap().to_owned();
    let login = Login { user: text("username"), password: text("password") };
    let session = postgres.connect(&login, "novacore").await.unwrap();
    let rows = session
        .query(
            "SELECT n.nspname || '.' || c.relname, p, has_table_privilege(c.oid, p) \
             AND has_schema_privilege(n.oid, 'USAGE') \
             FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace, unnest($1::text[]) p \
             WHERE n.nspname IN ('public', 'audit') AND c.relkind = 'r'",
            &[&WORDS.as_slice()],
        )
        .await
        .unwrap();
    let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for row in &rows {
        let may: bool = row.get(2);
        let words = found.entry(row.get(0)).or_default();
        words.extend(may.then(|| row.get(1)));
    }
    assert_eq!(found.len(), 7, "{found:?}");
    for (table, mut words) in found {
        words.sort();
        let named = table.strip_prefix("public.").is_some_and(|table| tables.contains(&table));
        let wanted: &[&str] = if named { &["DELETE", "INSERT", "SELECT", "UPDATE"] } else { &[] };
        assert_eq!(words, wanted, "{service} on {table}");
    }
    let refused = session.batch_execute("SELECT * FROM audit.events").await.unwrap_err();
    assert_eq!(refused.code().unwrap().code(), "42501");
}

/// By real requests what a service's token may do, beside what its policy's row in `doctor` says.
async fn only_its_own(bao: &Bao) {
    let body = json!({
        "policies": ["leasehold-agent", "intelligence-service", "leasehold-verifier"],
    });
    let made = bao.must("POST", "auth/token/create", Some(body)).await;
    let token = made["auth"]["client_token"].as_str().unwrap();
    let service = bao.with_token(token);
    let (own, _) = service.ask("GET", "database/creds/intelligence-service", None).await;
    assert_eq!(own, 200);
    for (method, path) in [
        ("GET", "database/creds/auth-service"),
        ("GET", "database/creds/memory-service"),
        ("GET", "database/config/novacore-postgres"),
        ("LIST", "database/roles"),
        ("LIST", "sys/leases/lookup/database/creds/intelligence-service"),
        ("GET", "secret/data/jwt/version-1"),
        ("LIST", "secret/metadata"),
        ("GET", "sys/policies/acl/intelligence-service"),
        ("GET", "sys/mounts"),
        ("GET", "auth/approle/role/auth-service/role-id"),
        ("POST", "database/rotate-root/novacore-postgres"),
    ] {
        let body = (method == "POST").then(|| json!({}));
        let (status, _) = service.ask(method, path, body).await;
        assert_eq!(status, 403, "{method} {path}");
    }
}

async fn an_agent_works(bao: &Bao, postgres: &Postgres) {
    let place = tempfile::tempdir_in("/dev/shm").unwrap();
    let directory = place.path();
    hand_over(bao, "auth/approle/role/intelligence-service", directory).await;
    for name in ["run", "state"] {
        std::fs::create_dir(directory.join(name)).unwrap();
        let mode = PermissionsExt::from_mode(0o700);
        std::fs::set_permissions(directory.join(name), mode).unwrap();
    }
    let mut vault = bao.settings();
    vault["auth"] = json!({ "approle": {
        "role_id_file": directory.join("role_id"),
        "secret_id_file": directory.join("secret_id"),
    } });
    let config = json!({
        "vault": vault,
        "secrets": { "db": {
            "database": { "role": "intelligence-service" },
            "connection": {
                "host": postgres.host, "port": postgres.port, "dbname": "novacore",
                "sslmode": "disable",
            },
        } },
        "publish": {
            "directory": directory.join("run"),
            "files": { "db/pg_service.conf": { "format": "pg_service", "secret": "db" } },
        },
        "state": { "directory": directory.join("state") },
        "listen": { "probes": "127.0.0.1:0", "metrics": "127.0.0.1:0" },
        "on_stop": "revoke",
        "log": { "format": "json" },
    });
    let file = directory.join("leasehold.yaml");
    std::fs::write(&file, config.to_string()).unwrap();
    let agent = Agent::start(&file, Journal::default());
    let published = directory.join("run/db/pg_service.conf");
    let login = published_login(&published).await;
    postgres.try_login(&login, "novacore").await.unwrap();
    assert!(agent.terminate(secs(20)).await.success());
    assert!(postgres.try_login(&login, "novacore").await.is_err());
}

async fn published_login(file: &Path) -> Login {
    eventually("a login is published", secs(15), async || login_in(file)).await
}
