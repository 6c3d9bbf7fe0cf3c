mod auth;
mod child;
mod files;
mod golden;
mod keys;
mod listen;
mod messages;
mod print;
mod sources;
mod told;

use std::time::Duration;

use super::*;
use crate::agent::{Confirm, Gives, LeasedPolicy, OnStop, PolledPolicy, Refresh, SecretPolicy};
use crate::notice::Channel;
use crate::secret::Secret;
use crate::snapshot::SslMode;
use crate::vault::{Auth, Source};

const VAULT: &str = "vault: { address: 'https://v:8200', auth: { token_file: /t } }\n";
const DB: &str = "secrets: { db: { database: { role: r } } }\n";
const PUBLISH: &str =
    "publish: { directory: /run/app, files: { a.env: { format: dotenv, secrets: [db] } } }\n";

/// A file with `text`; it goes with the directory.
fn file(text: &str) -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("c.yaml");
    std::fs::write(&path, text).unwrap();
    (directory, path)
}

fn loaded(text: &str, variables: &[(&str, &str)]) -> Result<Loaded, ConfigError> {
    let (_directory, path) = file(text);
    load(&path, &Environment::new("host-1", variables.iter().copied()), &[])
}

fn good(text: &str, variables: &[(&str, &str)]) -> Config {
    loaded(text, variables).unwrap_or_else(|error| panic!("{}", crate::error::chain(&error))).config
}

/// Every problem as the person sees it, without the first line.
fn problems(text: &str, variables: &[(&str, &str)]) -> String {
    match loaded(text, variables) {
        Err(ConfigError::Invalid { problems, .. }) => {
            problem::report(&problems).trim_start_matches('\n').to_owned()
        }
        Err(other) => panic!("{}", crate::error::chain(&other)),
        Ok(_) => String::new(),
    }
}

fn check(text: &str, expected: &[&str]) {
    assert_eq!(problems(text, &[]), expected.join("\n"), "{text}");
}

fn vault(config: &Config) -> &vault::Settings {
    config.vault.as_ref().expect("a vault")
}

fn polled(config: &Config, name: &str) -> PolledPolicy {
    match &config.policy.secrets[name] {
        SecretPolicy::Polled(policy) => policy.clone(),
        SecretPolicy::Leased(_) => panic!("leased"),
    }
}

fn leased(config: &Config, name: &str) -> LeasedPolicy {
    match &config.policy.secrets[name] {
        SecretPolicy::Leased(policy) => policy.clone(),
        SecretPolicy::Polled(_) => panic!("polled"),
    }
}

#[test]
fn the_least_gets_the_defaults() {
    let config = good(&format!("{VAULT}{DB}{PUBLISH}"), &[]);
    let db = leased(&config, "db");
    assert_eq!(config.instance, "host-1");
    assert_eq!(db.source, "database/creds/r");
    assert_eq!((db.required, db.confirm), (true, Confirm::None));
    assert_eq!((db.grace, db.lookup), (Duration::from_secs(300), Duration::from_secs(30)));
    assert_eq!((db.unconfirmed_after, db.rotate_every), (None, None));
    assert_eq!(config.policy.on_stop, OnStop::Drain);
    assert_eq!(config.policy.stop_timeout, Duration::from_secs(10));
    assert_eq!(config.publish.keep, Duration::from_secs(300));
    assert_eq!(config.files[0].mode, 0o440);
    assert_eq!(config.state.directory, PathBuf::from("/run/leasehold-state"));
    assert_eq!(config.listen, Listen::default());
    assert_eq!(config.log, Log { level: "info".to_owned(), json: true });
}

#[test]
fn confirm_is_the_strongest_that_can_be_had() {
    let with = |secret: &str, notify: &str| {
        let secrets = format!("secrets: {{ db: {{ database: {{ role: r }}{secret} }} }}\n");
        leased(&good(&format!("{VAULT}{secrets}{PUBLISH}{notify}"), &[]), "db").confirm
    };
    let target = "notify: [{ name: a, signal: { pid_file: /p, signal: HUP } }]\n";
    let connection = ", connection: { host: h, dbname: d, sslmode: require }";
    assert_eq!(with("", ""), Confirm::None);
    assert_eq!(with("", target), Confirm::Told);
    assert_eq!(with(connection, target), Confirm::Moved);
    assert_eq!(with(connection, ""), Confirm::Moved);
    assert_eq!(with(", confirm: none", target), Confirm::None);
}

#[test]
fn examples_are_valid() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/configs");
    let templates = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/templates");
    let variables = [
        ("VAULT_ADDR", "http://127.0.0.1:8200"),
        ("VAULT_TOKEN", "hvs.x"),
        ("TEMPLATES", templates),
    ];
    let mut seen = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let loaded = load(&path, &Environment::new("h", variables), &[])
            .unwrap_or_else(|error| panic!("{}", crate::error::chain(&error)));
        seen.push((path.file_stem().unwrap().to_owned(), loaded));
    }
    seen.sort_by(|left, right| left.0.cmp(&right.0));
    let names: Vec<_> = seen.iter().map(|(name, _)| name.to_str().unwrap()).collect();
    assert_eq!(
        names,
        [
            "development",
            "files",
            "formats",
            "kubernetes",
            "minimal",
            "postgres",
            "quickstart",
            "signal",
            "sources"
        ]
    );

    let Loaded { config, warnings } = &seen[0].1;
    assert!(matches!(vault(config).auth, Auth::Token(_)));
    assert_eq!(warnings.len(), 1, "{warnings:?}");

    let Loaded { config, warnings } = &seen[1].1;
    assert!(config.vault.is_none() && warnings.is_empty(), "{warnings:?}");
    assert_eq!(config.local.len(), 2);

    let Loaded { config, warnings: _ } = &seen[2].1;
    assert_eq!(config.files.len(), 6);

    let Auth::Kubernetes(login) = &vault(&seen[3].1.config).auth else { panic!("another login") };
    assert_eq!(login.role, "intelligence-service");
    assert!(seen[3].1.config.reads.contains(&login.token_file), "it could not be read anew");

    let Loaded { config, warnings } = &seen[5].1;
    let db = leased(config, "db");
    let connection = db.connection.unwrap();
    assert_eq!((connection.hosts[0].as_str(), connection.port), ("postgres.internal", 5432));
    assert_eq!(connection.sslmode, SslMode::VerifyFull);
    assert_eq!(db.confirm, Confirm::Moved);
    let modes: Vec<_> = config.files.iter().map(|file| (file.path.as_str(), file.mode)).collect();
    assert_eq!(
        modes,
        [
            ("app.env", 0o440),
            ("db/pg_service.conf", 0o440),
            ("db/pgpass", 0o600),
            ("mail/api_key", 0o440)
        ]
    );
    assert_eq!(
        config.sources["mail"],
        Source::Kv {
            mount: "secret".to_owned(),
            path: "sendgrid/current".to_owned(),
            version: None
        }
    );
    assert_eq!(warnings.as_slice(), ["vault.auth: `VAULT_TOKEN` in the environment is not used"]);

    assert_eq!(leased(&seen[7].1.config, "db").connection.unwrap().hosts.len(), 2);

    let config = &seen[8].1.config;
    let path = |path: &str| path.to_owned();
    assert_eq!(config.sources["deploy"], Source::Leased { path: path("aws/creds/deploy") });
    assert_eq!(config.sources["signing"], Source::Plain { path: path("transit/keys/app") });
    assert_eq!(config.sources["mail"], Source::Plain { path: path("kv-old/sendgrid") });
    let version = Some(3);
    let licence = Source::Kv { mount: path("secret"), path: path("licence"), version };
    assert_eq!(config.sources["licence"], licence);
    let deploy = leased(config, "deploy");
    assert_eq!((deploy.gives, deploy.confirm), (Gives::Fields, Confirm::Told));
    let polls = ["signing", "mail", "licence"].map(|name| polled(config, name).refresh);
    assert_eq!(polls, [60, 15, 300].map(|poll| Refresh::Asked(Duration::from_secs(poll))));
    assert!(matches!(vault(config).auth, Auth::AppRole { wrapped: true, .. }));
    assert!(vault(config).client.is_some());
}

#[test]
fn the_environment_names_a_certificate_of_ours() {
    let text = format!("{VAULT}{DB}{PUBLISH}");
    let variables = [("VAULT_CLIENT_CERT", "/c"), ("BAO_CLIENT_KEY", "/k")];
    let client = vault(&good(&text, &variables)).client.clone().unwrap();
    assert_eq!((client.cert, client.key), (PathBuf::from("/c"), PathBuf::from("/k")));
    assert_eq!(vault(&good(&text, &[("BAO_NAMESPACE", "team/a")])).namespace, "team/a");
}

#[test]
fn another_source_is_another_value() {
    let sources = |secret: &str| {
        let secrets = format!("secrets: {{ db: {{ {secret} }} }}\n");
        match &good(&format!("{VAULT}{secrets}{PUBLISH}"), &[]).policy.secrets["db"] {
            SecretPolicy::Leased(policy) => policy.source.clone(),
            SecretPolicy::Polled(policy) => policy.source.clone(),
        }
    };
    let all = [
        "database: { mount: m, role: p }",
        "read: { path: m/creds/p, leased: true }",
        "kv: { mount: m, path: p }",
        "kv: { mount: m, path: p, version: 1 }",
        "kv: { mount: m, path: p, version: 2 }",
        "database: { mount: m, role: p, static: true }",
        "pki: { mount: m, role: p, common_name: a }",
        "pki: { mount: m, role: p, common_name: b }",
        "pki: { mount: m, role: p, common_name: a, alt_names: [b] }",
        "pki: { mount: m, role: p, common_name: a, ip_sans: [10.0.0.1] }",
        "pki: { mount: m, role: p, common_name: a, ttl: 1h }",
        "file: { path: /m/p }",
    ];
    let seen: std::collections::BTreeSet<String> = all.into_iter().map(sources).collect();
    assert_eq!(seen.len(), all.len());
}

#[test]
fn the_readme_shows_a_valid_file() {
    let (_, rest) = include_str!("../../README.md").split_once("```yaml\n").unwrap();
    let (text, _) = rest.split_once("```").unwrap();
    let config = good(text, &[]);
    assert_eq!(config.policy.secrets.len(), 2);
    assert!(config.listen.metrics.is_some());
}

#[test]
fn later_layers_win() {
    let text = format!("{VAULT}{DB}{PUBLISH}");
    let address = |variables: &[(&str, &str)]| vault(&good(&text, variables)).address.clone();
    let file = ("VAULT_ADDR", "https://vault-addr");
    let bao = ("BAO_ADDR", "https://bao-addr");
    let ours = ("LEASEHOLD_VAULT__ADDRESS", "https://ours");
    assert_eq!(address(&[]), "https://v:8200");
    assert_eq!(address(&[file]), "https://vault-addr");
    assert_eq!(address(&[bao, file]), "https://bao-addr");
    assert_eq!(address(&[ours, bao, file]), "https://ours");

    let config = good(
        &text,
        &[
            ("LEASEHOLD_SECRETS__DB__GRACE", "10m"),
            ("LEASEHOLD_SECRETS__DB__REQUIRED", "false"),
            ("LEASEHOLD_ON_STOP", "keep"),
            ("LEASEHOLD_PORT", "tcp://10.0.0.1:80"),
            ("POD_NAME", "pod-7"),
        ],
    );
    assert_eq!(leased(&config, "db").grace, Duration::from_secs(600));
    assert!(!leased(&config, "db").required);
    assert_eq!(config.policy.on_stop, OnStop::Keep);
    assert_eq!(config.instance, "pod-7");
    assert_eq!(config.publish.keep, Duration::from_secs(600));

    let wrong = [
        ("LEASEHOLD_VAULT__ADRESS", "x"),
        ("LEASEHOLD_SECRETS", "y"),
        ("LEASEHOLD_NOTIFY__0__NAME", "z"),
    ];
    let expected = "  notify: must be a list, not a map\n    hint: write `- { name: …, http: … }`, one for each target\n  vault.adress: unknown key\n    hint: did you mean `address`?";
    assert_eq!(problems(&text, &wrong), expected);
}

#[test]
fn a_variable_finds_a_name_that_it_cannot_spell() {
    let text =
        format!("{VAULT}{}{PUBLISH}", DB.replace("db:", "db: { database: { role: r } }, my-db:"));
    let config = good(&text, &[("LEASEHOLD_SECRETS__MY_DB__GRACE", "7s")]);
    assert_eq!(leased(&config, "my-db").grace, Duration::from_secs(7));
    assert_eq!(leased(&config, "db").grace, Duration::from_secs(300));
}

#[test]
fn flags_win_over_everything() {
    let (_directory, path) = file(&format!("{VAULT}{DB}{PUBLISH}log: {{ level: warn }}"));
    let environment = Environment::new("h", [("LEASEHOLD_LOG__LEVEL", "error")]);
    let flag = Override { flag: "--log-level", key: "log.level", value: "debug".to_owned() };
    assert_eq!(load(&path, &environment, &[]).unwrap().config.log.level, "error");
    assert_eq!(load(&path, &environment, &[flag]).unwrap().config.log.level, "debug");
}

#[test]
fn a_server_that_is_not_verified_is_refused() {
    let text = format!("{VAULT}{DB}{PUBLISH}");
    for name in ["VAULT_SKIP_VERIFY", "BAO_SKIP_VERIFY"] {
        for refused in ["true", "1", "T", "yes", "what"] {
            assert!(problems(&text, &[(name, refused)]).contains("not checked"), "{refused}");
        }
        for fine in ["false", "0", "F", ""] {
            assert_eq!(problems(&text, &[(name, fine)]), "", "{fine}");
        }
    }
}

#[test]
fn a_token_of_the_environment_never_shows() {
    let text = format!("vault: {{ address: 'https://v' }}\n{DB}{PUBLISH}");
    let loaded = loaded(&text, &[("VAULT_TOKEN", "hvs.canary\n")]).unwrap();
    assert!(!format!("{loaded:?}").contains("canary"));
    assert!(loaded.warnings[0].starts_with("vault.auth: the token comes from `VAULT_TOKEN`"));
    let Auth::Token(token) = vault(&loaded.config).auth.clone() else {
        panic!("another way to log in")
    };
    assert_eq!(token, Secret::new("hvs.canary".to_owned()));
}

#[test]
fn a_command_gets_three_variables_and_no_other() {
    let text = format!(
        "{VAULT}{DB}{PUBLISH}notify: [{{ name: a, exec: {{ command: [/bin/x, '', \"6432\", '6432'] }} }}]"
    );
    let variables = [("PATH", "/p"), ("LANG", "C"), ("VAULT_TOKEN", "hvs.x"), ("HOME", "")];
    let exec = |variables: &[(&str, &str)]| match &good(&text, variables).targets["a"].channel {
        Channel::Exec { command, environment } => (command.clone(), environment.clone()),
        Channel::Http { .. } | Channel::Signal { .. } | Channel::Pgbouncer(_) | Channel::Child => {
            panic!("another channel")
        }
    };
    let (command, environment) = exec(&variables);
    assert_eq!(command, ["/bin/x", "", "6432", "6432"]);
    let environment: Vec<_> =
        environment.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert_eq!(environment, [("LANG", "C"), ("PATH", "/p")]);
    assert_eq!(exec(&[]).1.into_keys().collect::<Vec<_>>(), ["PATH"]);
}

#[test]
fn a_disabled_secret_is_left_out_everywhere() {
    let text = format!(
        "{VAULT}secrets: {{ db: {{ database: {{ role: r }} }}, m: {{ kv: {{ path: p }}, enabled: false }} }}
publish: {{ directory: /run/app, files: {{ a: {{ format: json, secrets: [db, m] }}, b: {{ format: raw, secret: m, field: f }} }} }}
notify: [{{ name: t, secrets: [db, m], signal: {{ pid_file: /p, signal: HUP }} }}]
"
    );
    let config = good(&text, &[]);
    assert_eq!(config.policy.secrets.len(), 1);
    assert_eq!(config.sources.len(), 1);
    assert_eq!(config.files.len(), 1);
    assert_eq!(config.policy.targets["t"].len(), 1);
}
