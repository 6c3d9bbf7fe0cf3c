//! Static database roles, certificates, files: what a configuration may say of them.

use super::*;

const NO_VAULT: &str = "secrets: { db: { file: { path: /dev/secrets.yaml } } }\n";

fn with(secret: &str) -> String {
    format!("{VAULT}secrets: {{ db: {{ {secret} }} }}\n{PUBLISH}")
}

#[test]
fn a_static_role_is_a_login_that_is_polled() {
    let connection = "connection: { host: h, dbname: d, sslmode: require }";
    let text = with(&format!("database: {{ role: r, static: true }}, {connection}"));
    let text = text.replace("format: dotenv, secrets: [db]", "format: dsn, secret: db");
    let config = good(&text, &[]);
    let db = polled(&config, "db");
    assert_eq!(db.refresh, Refresh::Asked(Duration::from_secs(15)));
    assert_eq!(
        (db.gives, db.source.as_str()),
        (Gives::Login, "database/static-creds/r (static role)")
    );
    assert_eq!(db.connection.unwrap().hosts, ["h"]);
    let source = Source::Static { mount: "database".to_owned(), role: "r".to_owned() };
    assert_eq!(config.sources["db"], source);
}

#[test]
fn what_a_certificate_is_to_say() {
    let text = with(
        "pki: { mount: ca, role: web, common_name: '${POD}.svc', alt_names: ['${POD}', a@b.c], \
         ip_sans: ['${IP}', '::1'], ttl: 24h }",
    );
    let config = good(&text, &[("POD", "api"), ("IP", "10.0.0.1")]);
    let Source::Certificate(request) = &config.sources["db"] else { panic!("another source") };
    assert_eq!((request.mount.as_str(), request.role.as_str()), ("ca", "web"));
    assert_eq!(request.common_name, "api.svc");
    assert_eq!(request.alt_names, ["api", "a@b.c"]);
    assert_eq!(request.ip_sans, ["10.0.0.1", "::1"]);
    assert_eq!(request.ttl, Some(Duration::from_secs(86_400)));
    let db = polled(&config, "db");
    assert_eq!((db.gives, db.refresh), (Gives::Fields, Refresh::Made));
    assert_eq!(db.source, "ca/issue/web (api.svc api a@b.c 10.0.0.1 ::1, for 1d)");
}

#[test]
fn where_every_secret_is_a_file_no_vault_is_needed() {
    let text = format!("{NO_VAULT}{PUBLISH}");
    let config = good(&text, &[]);
    assert!(config.vault.is_none());
    assert_eq!(config.local["db"], PathBuf::from("/dev/secrets.yaml"));
    assert_eq!(polled(&config, "db").refresh, Refresh::Local(Duration::from_secs(5)));
    // What happens to be in the environment asks for nothing.
    let variables = [("VAULT_ADDR", "nonsense"), ("VAULT_TOKEN", "hvs.x")];
    assert!(good(&text, &variables).vault.is_none());
    // A secret of Vault that is switched off needs none.
    let off = "off: { kv: { path: p }, enabled: false }";
    let text = text.replace("secrets: { db", &format!("secrets: {{ {off}, db"));
    assert!(good(&text, &[]).vault.is_none());
    // A section that the file has is read all the same.
    let vault = "vault: { address: 'https://v', adress: x, auth: { token_file: /t } }\n";
    let expected = ["  vault.adress: unknown key", "    hint: did you mean `address`?"];
    check(&format!("{vault}{text}"), &expected);
    assert!(good(&format!("{VAULT}{text}"), &[]).vault.is_some());
}

#[test]
fn what_is_wrong_is_told_with_what_to_do() {
    let ends = "the old password of a static role ends as soon as there is a new one";
    let overlap = "leave it out; a role without `static: true` gives logins that overlap";
    let of_static = |key: &str| format!("  secrets.db.{key}: {ends}\n    hint: {overlap}");
    let missing =
        |key: &str, what: &str| format!("  secrets.db.{key}: missing\n    hint: it is: {what}");
    for (text, expected) in [
        (with("database: { role: r, static: true }, grace: 5m"), of_static("grace")),
        (with("database: { role: r, static: true }, confirm: told"), of_static("confirm")),
        (with("database: { role: r, static: true }, rotate_every: 1h"), of_static("rotate_every")),
        (
            with("database: { role: r, static: true }, unconfirmed_after: 1h"),
            of_static("unconfirmed_after"),
        ),
        (with("database: { role: r, static: true }, lookup: 1m"), of_static("lookup")),
        (
            with("database: { role: r, static: maybe }"),
            "  secrets.db.database.static: must be `true` or `false`, not text\n    hint: write it without quotes".to_owned(),
        ),
        (
            with("database: { role: r, poll: 5s }"),
            "  secrets.db.database.poll: a leased login is not polled\n    hint: `lookup` of the \
             secret says how often its lease is looked at"
                .to_owned(),
        ),
        (with("pki: { common_name: a }"), missing("pki.role", "role of the PKI engine")),
        (with("pki: { role: r }"), missing("pki.common_name", "the certificate's name")),
        (
            with("pki: { role: r, common_name: 'a, b' }"),
            "  secrets.db.pki.common_name: not a name: `a, b`\n    hint: write one name in each entry, without spaces or commas".to_owned(),
        ),
        (
            with("pki: { role: r, common_name: a, alt_names: ['b,c'] }"),
            "  secrets.db.pki.alt_names: not a name: `b,c`\n    hint: write one name in each entry, without spaces or commas".to_owned(),
        ),
        (
            with("pki: { role: r, common_name: a, alt_names: b }"),
            "  secrets.db.pki.alt_names: must be a list, such as `[db, mail]`\n    hint: write the dashes or the brackets also around a single one".to_owned(),
        ),
        (
            with("pki: { role: r, common_name: a, ip_sans: [localhost] }"),
            "  secrets.db.pki.ip_sans: not an IP address: `localhost`\n    hint: write it as `[10.0.0.7]`; names belong into `alt_names`".to_owned(),
        ),
        (
            with("pki: { role: r, common_name: a, ttl: 1s }"),
            "  secrets.db.pki.ttl: must be at least 5s\n    hint: write a longer one".to_owned(),
        ),
        (
            with("pki: { role: r, common_name: a, ttl: 5500ms }"),
            "  secrets.db.pki.ttl: must be whole seconds\n    hint: write it as `90s` or `5m`: Vault counts in seconds".to_owned(),
        ),
        (
            with("pki: { role: r, common_name: a, alt_nmes: [b] }"),
            "  secrets.db.pki.alt_nmes: unknown key\n    hint: did you mean `alt_names`?"
                .to_owned(),
        ),
        (
            with("pki: { role: r, common_name: a }, grace: 5m"),
            "  secrets.db.grace: only a leased secret has it\n    hint: leave it out; a path of \
             `read` whose answers are leases wants `leased: true`"
                .to_owned(),
        ),
        (
            with("pki: { role: r, common_name: a }").replace(
                "format: dotenv, secrets: [db]",
                "format: raw, secret: db, field: certifcate",
            ),
            "  publish.files.a.env: secret `db` has no field `certifcate`\n    hint: it has: \
             bundle, ca, certificate, chain, fullchain, private_key, serial"
                .to_owned(),
        ),
        (with("file: { poll: 1s }"), missing("file.path", "the file")),
        (
            with("file: { path: dev.yaml }"),
            "  secrets.db.file.path: must be an absolute path without `..`\n    hint: write it as `/etc/leasehold/name`".to_owned(),
        ),
        (
            with("file: { path: /dev.yaml }, connection: { host: h, dbname: d }"),
            "  secrets.db.connection: only a `database` secret has it\n    hint: leave it out".to_owned(),
        ),
        (
            with("file: { path: /dev.yaml }, kv: { path: p }"),
            "  secrets.db.file: must not stand beside `kv`: a secret has one source\n    hint: leave out one of the two".to_owned(),
        ),
        (
            format!("secrets: {{ db: {{ file: {{ path: x }} }} }}\n{PUBLISH}"),
            "  secrets.db.file.path: must be an absolute path without `..`\n    hint: write it as `/etc/leasehold/name`".to_owned(),
        ),
    ] {
        check(&text, &[&expected]);
    }
}
