//! What is fuzzed: each function takes any bytes, and must neither panic nor hang nor let a secret
//! into a message.
//!
//! `make fuzz` calls them with what libFuzzer thinks up, a plain test with every file of `corpus`.

#[path = "targets/state.rs"]
mod state;
#[path = "targets/vault.rs"]
mod vault;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, LazyLock};

use leasehold::config::environment::Environment;
use leasehold::config::{self, ConfigError, Loaded};
use leasehold::error;
use leasehold::render;
use leasehold::secret::{Credential, Secret};
use leasehold::snapshot::{Connection, Content, Field, Generation, Snapshot, SslMode, Value};

pub(crate) type Target = (&'static str, fn(&[u8]));

/// By the name of their folder below `corpus`.
pub(crate) const ALL: &[Target] = &[
    ("config", config),
    ("hook", vault::hook),
    ("render", render),
    ("state", state::state),
    ("template", template),
    ("vault", vault::vault),
];

/// Stands in messages only where something leaks.
pub(crate) const CANARY: &str = "canary-7f3a-never-shown";

fn root() -> PathBuf {
    std::env::temp_dir().join(format!("leasehold-fuzz-{}", std::process::id()))
}

/// A path that is this process's own.
pub(crate) fn scratch(name: &str) -> PathBuf {
    let root = root();
    std::fs::create_dir_all(&root).expect("a directory");
    root.join(name)
}

/// Takes away what was written.
#[allow(dead_code, reason = "under libFuzzer nobody is there to call it")]
pub(crate) fn sweep() {
    let _ = std::fs::remove_dir_all(root());
}

pub(crate) fn no_canary_in(shown: &str) {
    assert!(!shown.contains(CANARY), "a secret is shown");
}

fn load(text: &[u8], variables: &[(&str, &str)]) -> Result<Loaded, ConfigError> {
    let path = scratch("config.yaml");
    std::fs::write(&path, text).expect("a file");
    let token = [("VAULT_TOKEN", CANARY)];
    let variables = token.iter().chain(variables).copied();
    config::load(&path, &Environment::new("host-1", variables), &[])
}

/// A configuration; behind a NUL byte `NAME=value` lines for the environment.
fn config(data: &[u8]) {
    let mut parts = data.splitn(2, |byte| *byte == 0);
    let text = parts.next().unwrap_or_default();
    let lines = std::str::from_utf8(parts.next().unwrap_or_default()).unwrap_or_default();
    let variables: Vec<(&str, &str)> =
        lines.lines().filter_map(|line| line.split_once('=')).collect();
    match load(text, &variables) {
        Ok(loaded) => no_canary_in(&format!("{loaded:?}")),
        Err(error) => {
            no_canary_in(&error::chain(&error));
            no_canary_in(&format!("{error:?}"));
        }
    }
}

/// Every format that there is; templates are a target of their own.
const FILES: &str = "
vault: { address: https://vault.internal:8200 }
secrets:
  db:
    database: { role: app }
    connection: { host: \"db-1,db-2\", dbname: novacore, sslmode: require }
  mail: { kv: { path: mail }, required: false }
publish:
  directory: /run/leasehold/app
  files:
    app.env: { format: dotenv, secrets: [db, mail] }
    app.json: { format: json, secrets: [db, mail] }
    app.yaml: { format: yaml, secrets: [db, mail] }
    db.url: { format: dsn, secret: db }
    databases.ini: { format: pgbouncer, secret: db, alias: novacore }
    userlist.txt: { format: userlist, secret: db }
    mail.txt: { format: raw, secret: mail, field: key }
    pg_service.conf: { format: pg_service, secret: db, alias: novacore }
    pgpass: { format: pgpass, secret: db, mode: \"0600\" }
";

/// Values, as lines: user, password, then name and value of each field.
fn render(data: &[u8]) {
    static FORMATS: LazyLock<Vec<render::File>> =
        LazyLock::new(|| load(FILES.as_bytes(), &[]).expect("a configuration").config.files);
    let text = String::from_utf8_lossy(data);
    let mut lines = text.split('\n');
    let mut next = || lines.next().unwrap_or_default().replace('\u{1}', "\n");
    let credential = Credential { username: next(), password: secret(next()) };
    let mut fields = BTreeMap::new();
    loop {
        let (name, value) = (next(), next());
        if name.is_empty() {
            break;
        }
        fields.insert(name, Field::Text(secret(value)));
    }
    let snapshot = snapshot(credential, fields);
    // Each by itself: one that refuses a value must not hide the next.
    for file in FORMATS.iter() {
        if let Err(failure) = render::render(std::slice::from_ref(file), &snapshot) {
            no_canary_in(&format!("{failure} {failure:?}"));
        }
    }
}

fn secret(value: String) -> Secret {
    // Whatever a format refuses, it must not say what it refused.
    Secret::new(format!("{CANARY}{value}"))
}

fn snapshot(credential: Credential, fields: BTreeMap<String, Field>) -> Snapshot {
    let connection = Connection {
        hosts: vec!["db-1".into(), "db-2".into()],
        port: 5432,
        dbname: "novacore".into(),
        sslmode: SslMode::Require,
        sslrootcert: None,
    };
    let database = Content::Database {
        previous: vec![credential.clone()],
        credential,
        connection: Some(Arc::new(connection)),
    };
    let value =
        |content| Value { version: "1".into(), expires: None, previous_ends: None, content };
    let secrets = BTreeMap::from([
        ("db".into(), value(database)),
        ("mail".into(), value(Content::Fields(Arc::new(fields)))),
    ]);
    Snapshot { generation: Generation(1), secrets }
}

/// A template's text. What it renders may show a value, what it says of a failure may not.
fn template(data: &[u8]) {
    let source = String::from_utf8_lossy(data).into_owned();
    if source.contains(CANARY) {
        return;
    }
    let names = vec!["db".into(), "mail".into()];
    let compiled = match render::Template::compile("app.j2".into(), source, names) {
        Ok(compiled) => compiled,
        Err(failure) => return no_canary_in(&format!("{failure} {failure:?}")),
    };
    let format = render::Format::Template(compiled);
    let file = render::File { path: "app.toml".into(), mode: 0o440, format };
    let credential = Credential { username: CANARY.into(), password: secret("'\"".into()) };
    let nested = Secret::new(format!("{{\"a\": [\"{CANARY}\", null, 1.5]}}"));
    let fields = [
        ("key".to_owned(), Field::Text(secret("7".into()))),
        ("nested".to_owned(), Field::Json(nested)),
    ];
    let whole = snapshot(credential, BTreeMap::from(fields));
    let mut part = whole.clone();
    part.secrets.remove("mail");
    for result in [
        render::render(std::slice::from_ref(&file), &whole).map(drop),
        render::render(std::slice::from_ref(&file), &part).map(drop),
        render::try_file(&file, &part),
    ] {
        if let Err(failure) = result {
            no_canary_in(&format!("{failure} {failure:?}"));
        }
    }
}
