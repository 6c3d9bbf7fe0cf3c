//! What a person is told about `publish.files`, word by word.

use super::*;

/// A configuration with one more file.
fn published(file: &str) -> String {
    let connection = "connection: { host: h, dbname: d, sslmode: require }";
    format!(
        "{VAULT}secrets: {{ db: {{ database: {{ role: r }}, {connection} }}, m: {{ kv: {{ path: p }} }}, off: {{ kv: {{ path: p }}, enabled: false }} }}
publish: {{ directory: /run/app, files: {{ {file} }} }}
"
    )
}

#[test]
fn what_is_in_a_file() {
    let dotenv = |more: &str| format!("a: {{ format: dotenv, secrets: [db, m], {more} }}");
    for (file, expected) in [
        (
            "a: { secret: db }".to_owned(),
            "  publish.files.a.format: missing\n    hint: it is: what is in it",
        ),
        (
            "a: { format: userlst, secret: db }".to_owned(),
            "  publish.files.a.format: unknown word: `userlst`\n    hint: did you mean `userlist`?",
        ),
        (
            "a: { format: pem, secret: db }".to_owned(),
            "  publish.files.a.format: not in this version: `pem`\n    hint: one of dotenv, json, yaml, raw, pg_service, pgpass, dsn, pgbouncer, userlist",
        ),
        (
            "a: { format: template, secret: db }".to_owned(),
            "  publish.files.a.format: a template is named by a key of its own\n    hint: write `template: /path/of/the/template` instead",
        ),
        (
            "a: { format: dsn }".to_owned(),
            "  publish.files.a.secret: missing\n    hint: it is: the secret that it is about",
        ),
        (
            "a: { format: dsn, secret: m }".to_owned(),
            "  publish.files.a.secret: `m` is no `database` secret with a `connection`\n    hint: this format names host, port and database",
        ),
        (
            "a: { format: pgbouncer, secret: db, alias: pgbouncer }".to_owned(),
            "  publish.files.a.alias: PgBouncer keeps `pgbouncer` for its console\n    hint: choose another name, which clients then connect to",
        ),
        (
            "a: { format: pgbouncer, secret: db, alias: 'a b' }".to_owned(),
            "  publish.files.a.alias: not a database's name: `a b`\n    hint: letters, digits, `_`, `-` and `.`",
        ),
        (
            "a: { format: userlist, secret: m }".to_owned(),
            "  publish.files.a.secret: `m` is no `database` secret\n    hint: name one: users and passwords are what is in this file",
        ),
        (
            "a: { format: yaml, secrets: [db], prefix: X, names: { db.host: Y } }".to_owned(),
            "  publish.files.a.names: this format has no use for it\n    hint: leave it out\n  publish.files.a.prefix: this format has no use for it\n    hint: leave it out",
        ),
        (
            "a: { format: raw, secret: db, field: pasword }".to_owned(),
            "  publish.files.a: secret `db` has no field `pasword`\n    hint: it has: username, password, host, port, dbname, sslmode",
        ),
        (
            dotenv("prefix: 2A-"),
            "  publish.files.a.prefix: no variable's name begins so: `2A-`\n    hint: letters, digits and `_`, no digit first",
        ),
        (
            dotenv("names: { m.key: A-B, m: C, x.key: D, db.host: [E] }"),
            "  publish.files.a.names.db.host: must be text, not a list\n    hint: write one line of text\n  publish.files.a.names.m: must be a secret and its field\n    hint: write it as `mail.api_key: SENDGRID_API_KEY`\n  publish.files.a.names.m.key: not a variable's name: `A-B`\n    hint: letters, digits and `_`, no digit first\n  publish.files.a.names.x.key: there is no secret `x`\n    hint: did you mean `m`?",
        ),
        (
            "a: { format: dotenv, secrets: [m], names: { db.host: H, off.key: K } }".to_owned(),
            "  publish.files.a.names.db.host: `db` is not in `secrets` of this file\n    hint: add it there, or leave this name out",
        ),
        (
            dotenv("names: { db.pasword: P }"),
            "  publish.files.a: secret `db` has no field `pasword`\n    hint: it has: username, password, host, port, dbname, sslmode",
        ),
        (
            dotenv("names: { db.host: X, db.port: X }"),
            "  publish.files.a: field `port` of secret `db` and field `host` of secret `db` are both `X`\n    hint: give one of them another name with `names`",
        ),
        (
            dotenv("prefix: A_, names: { db.sslmode: A_DB_NAME }"),
            "  publish.files.a: field `sslmode` of secret `db` and field `dbname` of secret `db` are both `A_DB_NAME`\n    hint: give one of them another name with `names`",
        ),
        (dotenv("prefix: A_, names: { m.key: K, off.key: X, db.port: PGPORT }"), ""),
    ] {
        check(&published(&file), &[expected]);
    }
}

#[test]
fn what_is_wrong_with_a_template() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("t.j2");
    let shown = |file: &str| {
        let file = file.replace("PATH", path.to_str().unwrap());
        problems(&published(&file), &[]).replace(path.to_str().unwrap(), "/t.j2")
    };
    let file = "a: { template: PATH }";
    let read = "  publish.files.a.template: read `/t.j2`:";
    let hint = "    hint: name a file that the agent may read";
    assert_eq!(shown(file), format!("{read} No such file or directory (os error 2)\n{hint}"));
    std::fs::create_dir(&path).unwrap();
    assert_eq!(shown(file), format!("{read} not a file\n{hint}"));
    std::fs::remove_dir(&path).unwrap();
    for (source, file, expected) in [
        (
            "x".repeat(300_000).as_str(),
            file,
            "  publish.files.a.template: read `/t.j2`: longer than 262144 bytes\n    hint: name a file that the agent may read",
        ),
        (
            "\n{{ db.",
            file,
            "  publish.files.a.template: `/t.j2`, line 2: unexpected end of input, expected identifier or integer\n    hint: mend it there",
        ),
        (
            "{{ bd.password }}",
            file,
            "  publish.files.a.template: `/t.j2`: there is no secret `bd`\n    hint: there is: db, m",
        ),
        (
            "\n{{ db.pasword }}",
            file,
            "  publish.files.a: template `/t.j2`, line 2: secret `db` has no field `pasword`\n    hint: it has: dbname, host, password, port, sslmode, username",
        ),
        (
            "",
            "a: { template: PATH, format: json, secrets: [db] }",
            "  publish.files.a.format: must not stand beside `template`\n    hint: a template says itself what the file is: leave one of them out\n  publish.files.a.secrets: this format has no use for it\n    hint: leave it out",
        ),
        (
            "",
            "a: { template: t.j2 }",
            "  publish.files.a.template: must be an absolute path without `..`\n    hint: write it as `/etc/leasehold/name`",
        ),
        ("{{ db.password }} {{ m.any.thing }}", file, ""),
    ] {
        std::fs::write(&path, source).unwrap();
        assert_eq!(shown(file), expected);
    }
}
