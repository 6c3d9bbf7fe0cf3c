//! The configuration as it is printed.

use super::*;

#[test]
fn it_says_where_each_value_comes_from_and_shows_nothing_confidential() {
    let text = "vault: { address: 'https://v:8200', namespace: '${TEAM:-a}' }
secrets:
  db:
    database: { role: app }
    connection: { host: '${DB_HOST:-pg}', dbname: d, sslmode: require }
    grace: 10m
  mail: { kv: { path: m, version: 3 } }
publish:
  directory: /run/app
  files: { a.env: { format: dotenv, secrets: [db, mail], names: { mail.key: KEY } } }
notify:
  - { name: api, http: { url: 'http://${HOOK:-127.0.0.1}/x?token=${T:-canary}' } }
  - { name: pool, secrets: [db], exec: { command: [/bin/reload, canary] } }
";
    let (_directory, path) = file(text);
    let variables = [
        ("VAULT_TOKEN", "canary"),
        ("DB_HOST", "pg.internal"),
        ("LEASEHOLD_SECRETS__DB__GRACE", "1m"),
    ];
    let level = Override { flag: "--log-level", key: "log.level", value: "debug".to_owned() };
    let printed = print(&path, &Environment::new("host-1", variables), &[level]).unwrap();
    let expected = r##"instance: host-1                             # default
vault:
  address: https://v:8200
  namespace: a                               # ${TEAM:-a}
  # auth: [redacted], a token                # VAULT_TOKEN
secrets:
  db:
    database:
      role: app
      mount: database                        # default
      static: false                          # default
    connection:
      host: pg.internal                      # ${DB_HOST:-pg}
      port: 5432                             # default
      dbname: d
      sslmode: require
    confirm: moved                           # default
    grace: 1m                                # LEASEHOLD_SECRETS__DB__GRACE
    unconfirmed_after: never                 # default
    lookup: 30s                              # default
    required: true                           # default
    enabled: true                            # default
  mail:
    kv:
      path: m
      mount: secret                          # default
      engine: 2                              # default
      version: 3
      poll: 5m                               # default
    required: true                           # default
    enabled: true                            # default
publish:
  directory: /run/app
  mode: "0440"                               # default
  allow_disk: false                          # default
  allow_writers: false                       # default
  files:
    a.env:
      format: dotenv
      secrets: [db, mail]
      names:
        mail.key: KEY
notify:
  - name: api
    http:
      url: "http://127.0.0.1/x?[redacted]"   # ${HOOK} ${T}
      timeout: 5s                            # default
  - name: pool
    secrets: [db]
    exec:
      command: [/bin/reload, "[redacted]"]
      timeout: 10s                           # default
state:
  directory: /run/leasehold-state            # default
  allow_disk: false                          # default
on_stop: drain                               # default
stop_timeout: 10s                            # default
init_timeout: 2m                             # default
log:
  level: debug                               # --log-level
  format: json                               # default
"##;
    assert_eq!(printed, expected);
}

#[test]
fn what_is_printed_is_the_same_configuration() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/configs");
    let templates = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/templates");
    let variables = [
        ("VAULT_ADDR", "http://127.0.0.1:8200"),
        ("VAULT_TOKEN", "hvs.x"),
        ("TEMPLATES", templates),
        ("LEASEHOLD_STATE__DIRECTORY", "/run/other-state"),
    ];
    let environment = Environment::new("h", variables);
    let mut compared = 0;
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let printed = print(&path, &environment, &[]).unwrap();
        let masked = printed.contains("[/usr/bin/psql, \"[redacted]\"");
        let (_directory, again) = file(&printed);
        let understood = |path: &Path| {
            let loaded = load(path, &environment, &[]);
            let mut config = loaded.unwrap_or_else(|error| panic!("{printed}\n{error}")).config;
            assert!(config.reads.remove(path));
            config
        };
        let same = understood(&path) == understood(&again);
        assert!(same || masked, "{}:\n{printed}", path.display());
        compared += usize::from(same);
    }
    assert!(compared >= 5, "{compared}");
}
