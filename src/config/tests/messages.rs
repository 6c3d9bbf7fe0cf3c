//! What a person is told, word by word.

use super::*;

#[test]
fn all_problems_are_told_at_once() {
    check(
        "instnce: x
vault: { adress: 'https://v', auth: { approle: { role_id_file: relative } } }
secrets:
  db: { databse: { role: r }, grace: 300 }
  kv: { kv: { path: ../x, engine: 3 }, grace: 5m, required: maybe }
  key: { keyset: { path: jwt } }
publish:
  directory: run
  mode: 0440
  files:
    ../out: { format: dotenv, secrets: [bd] }
    current/x: { format: dotnev, secrets: [db] }
    jwks.json: { format: jwks, secret: key }
notify: { api: x }
listen: { api: 'unix:/x', metrics: localhost }
log: { level: verbose }
",
        &[
            "  instnce: unknown key",
            "    hint: did you mean `instance`?",
            "  listen.metrics: not an address and a port: `localhost`",
            "    hint: write it as `127.0.0.1:9100`, or with port 0 to pick one",
            "  log.level: unknown word: `verbose`",
            "    hint: one of error, warn, info, debug, trace",
            "  notify: must be a list, not a map",
            "    hint: write `- { name: …, http: … }`, one for each target",
            "  publish.directory: must be an absolute path without `..`\n    hint: write it as `/etc/leasehold/name`",
            "  publish.files.../out: not a path that can be published",
            "    hint: relative to `publish.directory`, such as `db/pgpass`, without `..`",
            "  publish.files.../out.secrets: there is no secret `bd`",
            "    hint: did you mean `db`?",
            "  publish.files.current/x: the directory needs `current` for itself\n    hint: choose another name",
            "  publish.files.current/x.format: unknown word: `dotnev`",
            "    hint: did you mean `dotenv`?",
            "  publish.files.jwks.json.format: not in this version: `jwks`\n    hint: one of dotenv, json, yaml, raw, pg_service, pgpass, dsn, pgbouncer, userlist",
            "  publish.mode: must be in quotes",
            "    hint: write it as \"0440\": without quotes YAML reads a number in base ten",
            "  secrets.db.database: missing: the secret has no source",
            "    hint: give one of `database`, `kv`, `read`, `pki`, `file`",
            "  secrets.db.databse: unknown key",
            "    hint: did you mean `database`?",
            "  secrets.key.keyset: not in this version\n    hint: leave it out",
            "  secrets.kv.grace: only a leased secret has it",
            "    hint: leave it out; a path of `read` whose answers are leases wants `leased: true`",
            "  secrets.kv.kv.engine: must be 1 or 2\n    hint: as `vault secrets list -detailed` shows it",
            "  secrets.kv.kv.path: not a path in Vault: `../x`",
            "    hint: parts with `/` between, none empty or `..`",
            "  secrets.kv.required: must be `true` or `false`, not text\n    hint: write it without quotes",
            "  vault.address: missing",
            "    hint: give it here or in `VAULT_ADDR`",
            "  vault.adress: unknown key",
            "    hint: did you mean `address`?",
            "  vault.auth.approle.role_id_file: must be an absolute path without `..`\n    hint: write it as `/etc/leasehold/name`",
            "  vault.auth.approle.secret_id_file: missing\n    hint: it is: file with the secret id; looked at again at each login",
        ],
    );
}

#[test]
fn an_empty_file_says_what_is_needed() {
    check(
        "",
        &[
            "  publish.directory: missing\n    hint: it is: where the files appear; must be memory-backed, and no link",
            "  secrets: there is none",
            "    hint: name at least one that is enabled",
            "  vault.address: missing",
            "    hint: give it here or in `VAULT_ADDR`",
            "  vault.auth: missing",
            "    hint: give one of `kubernetes`, `approle`, `jwt`, `cert`, `token_file`, or `VAULT_TOKEN` in the environment",
        ],
    );
}

#[test]
fn rules_between_keys() {
    let secret = |more: &str| {
        format!("{VAULT}secrets: {{ db: {{ database: {{ role: r }}{more} }} }}\n{PUBLISH}")
    };
    let other = |secret: &str| format!("{VAULT}secrets: {{ db: {{ {secret} }} }}\n{PUBLISH}");
    let file = |file: &str| {
        let publish = format!("publish: {{ directory: /run/app, files: {{ {file} }} }}\n");
        format!(
            "{VAULT}secrets: {{ db: {{ database: {{ role: r }} }}, m: {{ kv: {{ path: p }} }} }}\n{publish}"
        )
    };
    let notify = |target: &str| format!("{VAULT}{DB}{PUBLISH}notify: [{target}]\n");
    let vault = |vault: &str| format!("vault: {{ {vault} }}\n{DB}{PUBLISH}");
    for (text, expected) in [
        (
            secret(", confirm: moved"),
            "  secrets.db.confirm: `moved` needs a `connection`\n    hint: sessions are counted there",
        ),
        (
            secret(", confirm: told"),
            "  secrets.db.confirm: `told` needs a target\n    hint: name this secret in an entry of `notify`",
        ),
        (
            secret(", grace: 500ms"),
            "  secrets.db.grace: must be at least 1s\n    hint: write a longer one",
        ),
        (
            secret(", grace: 1500ms"),
            "  secrets.db.grace: must be whole seconds\n    hint: write it as `90s` or `5m`: Vault counts in seconds",
        ),
        (
            secret(", grace: 5 minutes"),
            "  secrets.db.grace: not a duration: `5 minutes`\n    hint: write it as `500ms`, `90s`, `5m` or `24h`",
        ),
        (
            secret(", unconfirmed_after: nevr"),
            "  secrets.db.unconfirmed_after: not a duration: `nevr`\n    hint: write it as `500ms`, `90s`, `5m` or `24h`",
        ),
        (
            secret(", kv: { path: p }"),
            "  secrets.db.kv: must not stand beside `database`: a secret has one source\n    hint: leave out one of the two",
        ),
        (
            other("kv: { path: p, engine: 1, version: 3 }"),
            "  secrets.db.kv.version: engine 1 keeps no versions\n    hint: leave out one of the two",
        ),
        (
            other("kv: { path: p, version: 0 }"),
            "  secrets.db.kv.version: must be at least 1: versions are counted from there\n    hint: leave it out for the newest",
        ),
        (
            other("kv: { path: p }, connection: { host: h, dbname: d }"),
            "  secrets.db.connection: only a `database` secret has it\n    hint: leave it out",
        ),
        (
            other("read: { path: v1/aws/creds/deploy }"),
            "  secrets.db.read.path: must begin with the mount, without `v1/`\n    hint: write it as `aws/creds/deploy`",
        ),
        (
            other("read: { path: aws/creds/deploy, leased: true, poll: 5s }"),
            "  secrets.db.read.poll: a leased path is not polled\n    hint: `lookup` of the secret says how often its lease is looked at",
        ),
        (
            other("read: { path: aws/creds/deploy, leased: true }, confirm: moved"),
            "  secrets.db.confirm: `moved` needs a `connection`\n    hint: sessions are counted there",
        ),
        (
            other("read: { path: cubbyhole/x }, rotate_every: 1h"),
            "  secrets.db.rotate_every: only a leased secret has it\n    hint: leave it out; a path of `read` whose answers are leases wants `leased: true`",
        ),
        (
            secret(", connection: { host: 'a,,b', dbname: d, port: 0, sslmode: require }"),
            "  secrets.db.connection.host: not a host, or several with commas: `a,,b`\n    hint: write it as `postgres.internal`, several as `pg-1,pg-2`\n  secrets.db.connection.port: must be from 1 to 65535\n    hint: leave it out for 5432",
        ),
        (
            secret(", connection: { host: '${NO}', dbname: d }"),
            "  secrets.db.connection.host: the variable `NO` is not set\n    hint: set it, or give a default: `${NO:-…}`",
        ),
        (
            secret(", connection: { host: 'h,/run/pg', dbname: d }"),
            "  secrets.db.connection.sslrootcert: missing: with sslmode `verify-full` the database's certificate is checked\n    hint: write `sslrootcert: /…/ca.pem`, or choose another `sslmode`",
        ),
        (
            secret(
                ", connection: { host: h, dbname: d, sslmode: verify-ca, sslrootcert: '${NO:-}' }",
            ),
            "  secrets.db.connection.sslrootcert: missing: with sslmode `verify-ca` the database's certificate is checked\n    hint: write `sslrootcert: /…/ca.pem`, or choose another `sslmode`",
        ),
        (
            secret(", connection: { host: h, dbname: d, sslmode: '${NO:-verify_full}' }"),
            "  secrets.db.connection.sslmode: unknown word: `verify_full`\n    hint: did you mean `verify-full`?",
        ),
        (
            secret(", connection: { host: h, dbname: d, sslrootcert: ca.pem }"),
            "  secrets.db.connection.sslrootcert: must be an absolute path without `..`\n    hint: write it as `/etc/leasehold/name`",
        ),
        (
            secret(", enabled: false"),
            "  secrets: there is none\n    hint: name at least one that is enabled",
        ),
        (
            file("p: { format: pgpass, secret: m }"),
            "  publish.files.p.secret: `m` is no `database` secret with a `connection`\n    hint: this format names host, port and database",
        ),
        (
            file("p: { format: pgpass, secret: db, mode: \"0440\" }"),
            "  publish.files.p.mode: libpq ignores a password file that others may read\n    hint: leave it out, or write \"0600\"\n  publish.files.p.secret: `db` is no `database` secret with a `connection`\n    hint: this format names host, port and database",
        ),
        (
            file("a: { format: json, secrets: [db] }, a/b: { format: json, secrets: [db] }"),
            "  publish.files.a: is a file here and a directory in the path of another file\n    hint: choose another name for one of them",
        ),
        (
            file("status.json: { format: json, secrets: [db] }"),
            "  publish.files.status.json: the directory needs `status.json` for itself\n    hint: choose another name",
        ),
        (
            file(".new-a/b: { format: json, secrets: [db] }"),
            "  publish.files..new-a/b: the directory needs names with `.new-` for itself\n    hint: choose another name",
        ),
        (
            file(&format!("{}x: {{ format: json, secrets: [db] }}", "d/".repeat(16))),
            "  publish.files.d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/x: has more than 16 parts\n    hint: choose a shorter path",
        ),
        (
            file("a: { format: raw, secret: m }"),
            "  publish.files.a.field: missing\n    hint: it is: of `raw`, which field",
        ),
        (
            file("a: { format: json, secrets: [db, db], alias: x }"),
            "  publish.files.a.alias: this format has no use for it\n    hint: leave it out\n  publish.files.a.secrets: names `db` twice\n    hint: leave one of them out",
        ),
        (
            file("a: { format: json, secrets: [db], mode: \"0422\" }"),
            "  publish.files.a.mode: nobody but its owner may write it\n    hint: write \"0440\", or \"0640\" where its owner writes",
        ),
        (
            notify("{ name: a, http: { url: 'https://127.0.0.1/' } }"),
            "  notify[0].http.url: must begin with `http://`: `https://127.0.0.1/`\n    hint: write it as `http://127.0.0.1:8000/path`: a notice stays on this machine",
        ),
        (
            notify("{ name: a, pgbouncer: { host: db.internal, port: 0, user: '${NO}' } }"),
            "  notify[0].pgbouncer.host: must be on this machine: `db.internal`\n    hint: write `127.0.0.1`, or the directory of PgBouncer's socket\n  notify[0].pgbouncer.port: must be from 1 to 65535\n    hint: leave it out for 6432\n  notify[0].pgbouncer.user: the variable `NO` is not set\n    hint: set it, or give a default: `${NO:-…}`",
        ),
        (
            notify("{ name: a, http: { url: 'http://10.0.0.1/' } }"),
            "  notify[0].http.url: must be on this machine: `http://10.0.0.1/`\n    hint: write it as `http://127.0.0.1:8000/path`",
        ),
        (
            notify("{ name: a, http: { url: 'https://127.0.0.1/?token=canary#canary' } }"),
            "  notify[0].http.url: must begin with `http://`: `https://127.0.0.1/`\n    hint: write it as `http://127.0.0.1:8000/path`: a notice stays on this machine",
        ),
        (
            notify("{ name: a, secrets: [], http: { url: 'http://127.0.0.1/' } }"),
            "  notify[0].secrets: names no secret\n    hint: leave it out to hear of all",
        ),
        (
            notify("{ name: a, signal: { pid_file: /p, signal: KILL } }"),
            "  notify[0].signal.signal: not a signal that can tell a process: `KILL`\n    hint: one of HUP, USR1, USR2, INT, QUIT, TERM, WINCH, CONT",
        ),
        (
            notify("{ name: a, signal: { signal: HUP } }"),
            "  notify[0].signal.pid_file: missing\n    hint: give one of `pid_file`, `process`",
        ),
        (
            notify("{ name: a, signal: { pid_file: /p, process: gunicorn, signal: HUP } }"),
            "  notify[0].signal.process: must not stand beside `pid_file`: one says which process\n    hint: leave one of them out",
        ),
        (
            notify("{ name: a, signal: { process: /usr/bin/gunicorn, signal: HUP } }"),
            "  notify[0].signal.process: not a name: `/usr/bin/gunicorn`\n    hint: the last part of the path of its program or script, such as `gunicorn`",
        ),
        (
            notify("{ name: a }"),
            "  notify[0].http: missing\n    hint: give one of `http`, `signal`, `exec`, `pgbouncer`",
        ),
        (
            notify("{ name: a, signal: { process: x, signal: HUP }, exec: { command: [/x] } }"),
            "  notify[0].exec: must not stand beside `signal`: a target has one channel\n    hint: leave one out, or make two targets of it",
        ),
        (
            notify("{ name: a, exec: { timeout: 5s } }"),
            "  notify[0].exec.command: missing\n    hint: it is: an absolute path and arguments; no shell",
        ),
        (
            notify("{ name: a, exec: { command: [] } }"),
            "  notify[0].exec.command: is empty\n    hint: write `[/usr/bin/psql, -c, RELOAD]`; no shell is used",
        ),
        (
            notify("{ name: a, exec: { command: [psql, canary], timeout: 5s } }"),
            "  notify[0].exec.command: must begin with an absolute path, not `psql`\n    hint: write `[/usr/bin/psql, -c, RELOAD]`; no shell is used",
        ),
        (
            notify("{ name: a, exec: { command: [/usr/bin/psql, -p, 6432] } }"),
            "  notify[0].exec.command: must list texts, not a number\n    hint: put it in quotes",
        ),
        (
            notify("{ name: a, exec: { command: [/x, \"a\\0b\"] } }"),
            "  notify[0].exec.command: has a zero byte in it\n    hint: no command takes one: leave it out",
        ),
        (
            notify("{ name: a, exec: { command: /bin/true } }"),
            "  notify[0].exec.command: must be a list, such as `[db, mail]`\n    hint: write the dashes or the brackets also around a single one",
        ),
        (
            vault("address: 'https://user:pw@v', auth: { token_file: /t }"),
            "  vault.address: must not have a user or password in it\n    hint: write it as `https://vault.internal:8200`, and how to log in under `auth`",
        ),
        (
            vault("address: 'https://v/v1', auth: { token_file: /t }"),
            "  vault.address: must have no path and no query: `https://v/v1`\n    hint: write it as `https://vault.internal:8200`",
        ),
        (
            vault("address: 'https://v?token=canary', auth: { token_file: /t }"),
            "  vault.address: must have no path and no query: `https://v`\n    hint: write it as `https://vault.internal:8200`",
        ),
        (
            vault("address: 'v:8200', auth: { token_file: /t }"),
            "  vault.address: must begin with `https://` or `http://`: `v:8200`\n    hint: write it as `https://vault.internal:8200`",
        ),
        (
            vault("address: 'https://v', client_cert: /c, auth: { token_file: /t }"),
            "  vault.client_key: missing: there is a `client_cert`\n    hint: a certificate and its key go together",
        ),
        (
            vault("address: 'https://v', client_key: /k, auth: { token_file: /t }"),
            "  vault.client_cert: missing: there is a `client_key`\n    hint: a certificate and its key go together",
        ),
        (
            format!("{VAULT}{DB}{PUBLISH}state: {{ directory: /run/app/state }}"),
            "  state.directory: must not be inside `publish.directory`\n    hint: every secret is in the state: keep it where the app cannot look",
        ),
        (
            format!("{VAULT}{DB}{PUBLISH}state: {{ directory: /run }}"),
            "  publish.directory: must not be inside `state.directory`\n    hint: every secret is in the state: keep it where the app cannot look",
        ),
        (
            format!("{VAULT}{DB}{PUBLISH}init_timeout: 500ms"),
            "  init_timeout: must be at least 1s\n    hint: write a longer one",
        ),
    ] {
        check(&text, &[expected]);
    }
}

#[test]
fn a_value_that_its_variables_leave_empty_is_told() {
    let secret = |connection: &str| {
        format!("secrets: {{ db: {{ database: {{ role: r }}, {connection} }} }}\n")
    };
    let vault = |vault: &str| format!("vault: {{ {vault} }}\n{DB}{PUBLISH}");
    let connection =
        |keys: &str| format!("{VAULT}{}{PUBLISH}", secret(&format!("connection: {{ {keys} }}")));
    let target =
        |channel: &str| format!("{VAULT}{DB}{PUBLISH}notify: [{{ name: a, {channel} }}]\n");
    for (key, text) in [
        ("vault.address", vault("address: '${NO:-}', auth: { token_file: /t }")),
        ("vault.auth.token_file", vault("address: 'https://v', auth: { token_file: '${NO:-}' }")),
        ("publish.directory", format!("{VAULT}{DB}{}", PUBLISH.replace("/run/app", "'${NO:-}'"))),
        ("state.directory", format!("{VAULT}{DB}{PUBLISH}state: {{ directory: '${{NO:-}}' }}")),
        ("listen.probes", format!("{VAULT}{DB}{PUBLISH}listen: {{ probes: '${{NO:-}}' }}")),
        ("secrets.db.connection.host", connection("host: '${NO:-}', dbname: d")),
        ("secrets.db.connection.port", connection("host: /h, dbname: d, port: '${NO:-}'")),
        ("secrets.db.connection.dbname", connection("host: /h, dbname: '${NO:-}'")),
        ("secrets.db.connection.sslmode", connection("host: h, dbname: d, sslmode: '${NO:-}'")),
        ("notify[0].http.url", target("http: { url: '${NO:-}' }")),
        ("notify[0].signal.pid_file", target("signal: { pid_file: '${NO:-}', signal: HUP }")),
    ] {
        let expected = format!(
            "  {key}: is empty once its variables are put in\n    hint: set its variable, or give a default: `${{NAME:-…}}`"
        );
        check(&text, &[&expected]);
    }
}

#[test]
fn what_need_not_be_there_may_come_out_empty() {
    let text = "vault: { address: 'https://v', namespace: '${NO:-}', ca_cert: '${NO:-}', auth: { token_file: /t } }
secrets: { db: { database: { role: r }, connection: { host: '/run/a,/run/b', dbname: d, sslrootcert: '${NO:-}' } } }
notify: [{ name: a, http: { url: 'http://127.0.0.1/', signing_key_file: '${NO:-}' } }]
";
    let text = format!("{text}{PUBLISH}");
    let config = good(&text, &[]);
    assert_eq!((vault(&config).namespace.as_str(), &vault(&config).ca_cert), ("", &None));
    let connection = leased(&config, "db").connection.unwrap();
    assert_eq!((connection.sslmode, &connection.sslrootcert), (SslMode::VerifyFull, &None));

    let config = good(&text, &[("NO", "/set")]);
    assert_eq!(vault(&config).namespace, "/set");
    assert_eq!(vault(&config).ca_cert, Some(PathBuf::from("/set")));
    let connection = leased(&config, "db").connection.unwrap();
    assert_eq!(connection.sslrootcert.as_deref(), Some("/set"));
}

#[test]
fn the_whole_message_for_a_person() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("c.yaml");
    let message = || {
        let error = load(&path, &Environment::default(), &[]).unwrap_err();
        crate::error::chain(&error).replace(directory.path().to_str().unwrap(), "")
    };
    assert_eq!(message(), "read configuration `/c.yaml`: No such file or directory (os error 2)");
    std::fs::write(&path, "a: [\n").unwrap();
    assert!(message().starts_with("configuration `/c.yaml` is not YAML: line "), "{}", message());
    std::fs::write(&path, format!("{VAULT}{DB}{PUBLISH}logs: {{}}\n")).unwrap();
    assert_eq!(
        message(),
        "configuration `/c.yaml` has a problem:\n  logs: unknown key\n    hint: did you mean `log`?"
    );
    std::fs::write(&path, vec![b'#'; 2 << 20]).unwrap();
    assert_eq!(message(), "configuration `/c.yaml` is longer than 1048576 bytes");
}

#[test]
fn what_is_too_much_is_told() {
    let files = (0..1025).map(|number| format!("f{number}: {{ format: json, secrets: [db] }}"));
    let files = files.collect::<Vec<_>>().join(", ");
    let publish = format!("publish: {{ directory: /run/app, files: {{ {files} }} }}\n");
    let expected =
        ["  publish.files: more than 1024", "    hint: put several secrets into one file"];
    check(&format!("{VAULT}{DB}{publish}"), &expected);
    let target = |number| format!("{{ name: t{number}, exec: {{ command: [/bin/true] }} }}");
    let targets = (0..65).map(target).collect::<Vec<_>>().join(", ");
    let expected = ["  notify: more than 64", "    hint: tell several services by one command"];
    check(&format!("{VAULT}{DB}{PUBLISH}notify: [{targets}]\n"), &expected);
}
