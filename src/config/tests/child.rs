//! What `exec` adds to a configuration, and what it leaves as it is said.

use super::*;
use crate::render::Format;

const DATABASE: &str =
    "db: { database: { role: r }, connection: { host: h, dbname: d, sslmode: disable } }";

fn child(text: &str, told: bool) -> Result<Loaded, ConfigError> {
    let (_directory, path) = file(text);
    let child = ForChild { private: Path::new("/dev/shm/private"), told };
    load_for_child(&path, &Environment::new("host-1", [("VAULT_TOKEN", "t")]), &[], child)
}

fn confirm(config: &Config, secret: &str) -> Confirm {
    match &config.policy.secrets[secret] {
        SecretPolicy::Leased(leased) => leased.confirm,
        SecretPolicy::Polled(_) => panic!("{secret} is polled"),
    }
}

#[test]
fn where_nothing_is_said_all_is_private_and_in_the_environment() {
    let text = format!(
        "{VAULT}secrets: {{ {DATABASE}, mail: {{ kv: {{ path: p }} }}, \
         off: {{ kv: {{ path: q }}, enabled: false }} }}\n"
    );
    let config = child(&text, true).unwrap().config;
    assert_eq!(config.publish.directory, Path::new("/dev/shm/private/files"));
    assert_eq!(config.state.directory, Path::new("/dev/shm/private/state"));
    assert_eq!(config.policy.on_stop, OnStop::Revoke);
    assert_eq!((config.log.level.as_str(), config.log.json), ("warn", false));
    let [file] = config.files.as_slice() else { panic!("{:?}", config.files) };
    let Format::Dotenv { secrets, .. } = &file.format else { panic!("{file:?}") };
    assert_eq!(secrets.iter().map(|name| &**name).collect::<Vec<_>>(), ["db", "mail"]);
    assert_eq!(config.targets["exec"].channel, Channel::Child);
    assert_eq!(config.policy.targets["exec"].len(), 2);
    // One that is told of nothing is no target.
    let config = child(&text, false).unwrap().config;
    assert!(config.targets.is_empty() && config.policy.targets.is_empty());
}

#[test]
fn the_child_is_evidence_where_sessions_cannot_be_counted() {
    let text = format!("{VAULT}secrets: {{ {DATABASE}, other: {{ database: {{ role: r }} }} }}\n");
    let config = child(&text, true).unwrap().config;
    assert_eq!(confirm(&config, "db"), Confirm::Moved);
    assert_eq!(confirm(&config, "other"), Confirm::Told);
    let config = child(&text, false).unwrap().config;
    assert_eq!(confirm(&config, "other"), Confirm::None);
}

#[test]
fn what_is_said_stays() {
    let text = format!(
        "{VAULT}{DB}{PUBLISH}state: {{ directory: /run/state }}\non_stop: drain\n\
         log: {{ level: debug }}\n"
    );
    let config = child(&text, true).unwrap().config;
    assert_eq!(config.publish.directory, Path::new("/run/app"));
    assert_eq!(config.state.directory, Path::new("/run/state"));
    assert_eq!(config.policy.on_stop, OnStop::Drain);
    assert_eq!((config.log.level.as_str(), config.log.json), ("debug", false));
    assert_eq!(config.files.len(), 1);
}

#[test]
fn a_target_cannot_have_the_childs_name() {
    let text = format!(
        "{VAULT}{DB}{PUBLISH}notify: [{{ name: exec, http: {{ url: 'http://127.0.0.1/' }} }}]\n"
    );
    assert_eq!(problems(&text, &[]), "");
    let Err(ConfigError::Invalid { problems, .. }) = child(&text, true) else {
        panic!("no problem")
    };
    let told = problem::report(&problems);
    assert!(told.contains("notify[0].name: `exec` is the name of another target"), "{told}");
}
