use std::sync::Arc;

use super::*;
use crate::secret::{Credential, Secret};
use crate::snapshot::{Connection, Content, Field, Fields, Generation, SslMode};

pub(super) fn secret(text: &str) -> Secret {
    Secret::new(text.to_owned())
}

pub(super) fn login(username: &str, password: &str) -> Credential {
    Credential { username: username.to_owned(), password: secret(password) }
}

pub(super) fn connection() -> Connection {
    Connection {
        hosts: vec!["a.internal".to_owned(), "b.internal".to_owned()],
        port: 5432,
        dbname: "nova".to_owned(),
        sslmode: SslMode::VerifyFull,
        sslrootcert: Some("/etc/ca.pem".to_owned()),
    }
}

fn value(content: Content) -> Value {
    Value { version: Arc::from("v"), expires: None, previous_ends: None, content }
}

pub(super) fn database(
    password: &str,
    previous: Vec<Credential>,
    connection: Option<Connection>,
) -> Value {
    let credential = login("v-app-1", password);
    value(Content::Database { credential, previous, connection: connection.map(Arc::new) })
}

pub(super) fn kv(fields: &[(&str, Field)]) -> Value {
    let fields: Fields =
        fields.iter().map(|(name, field)| ((*name).to_owned(), field.clone())).collect();
    value(Content::Fields(Arc::new(fields)))
}

fn snapshot(secrets: &[(&str, Value)]) -> Snapshot {
    let secrets = secrets.iter().map(|(name, value)| (Arc::from(*name), value.clone())).collect();
    Snapshot { generation: Generation(1), secrets }
}

fn names(names: &[&str]) -> Vec<SecretName> {
    names.iter().map(|name| Arc::from(*name)).collect()
}

/// The text of the one file of `format`; `None` when it is left out.
fn one(format: Format, secrets: &[(&str, Value)]) -> Result<Option<String>, Failure> {
    let file = File { path: "dir/file".to_owned(), mode: 0o440, format };
    let rendering = render(&[file], &snapshot(secrets))?;
    Ok(rendering.files.get("dir/file").map(|file| {
        assert_eq!(file.mode, 0o440);
        String::from_utf8(file.bytes.to_vec()).unwrap()
    }))
}

pub(super) fn text(format: Format, secrets: &[(&str, Value)]) -> String {
    one(format, secrets).unwrap().unwrap()
}

pub(super) fn failure(format: Format, secrets: &[(&str, Value)]) -> Failure {
    one(format, secrets).unwrap_err()
}

fn pg_service() -> Format {
    Format::PgService { secret: Arc::from("db"), alias: "nova".to_owned() }
}

fn pgpass() -> Format {
    Format::Pgpass { secret: Arc::from("db") }
}

fn dotenv(secrets: &[&str]) -> Format {
    Format::Dotenv { secrets: names(secrets), names: Names::default() }
}

fn json(secrets: &[&str]) -> Format {
    Format::Json { secrets: names(secrets) }
}

fn raw(field: &str) -> Format {
    Format::Raw { secret: Arc::from("mail"), field: field.to_owned() }
}

#[test]
fn pg_service_golden() {
    let all = [("db", database(" p=[#]'\"\\$", vec![], Some(connection())))];
    let expected = "[nova]\nhost=a.internal,b.internal\nport=5432\ndbname=nova\nuser=v-app-1\n\
                    password= p=[#]'\"\\$\nsslmode=verify-full\nsslrootcert=/etc/ca.pem\n";
    assert_eq!(text(pg_service(), &all), expected);
}

#[test]
fn pgpass_golden() {
    let previous = vec![login("v-app-0", "old")];
    let all = [("db", database("a:b\\c#*", previous, Some(connection())))];
    let expected = "a.internal:5432:nova:v-app-1:a\\:b\\\\c#*\n\
                    b.internal:5432:nova:v-app-1:a\\:b\\\\c#*\n\
                    a.internal:5432:nova:v-app-0:old\n\
                    b.internal:5432:nova:v-app-0:old\n";
    assert_eq!(text(pgpass(), &all), expected);

    let mut socket = connection();
    socket.hosts = vec!["/run/pg".to_owned()];
    socket.dbname = "*".to_owned();
    let all = [("db", database("p\r", vec![], Some(socket)))];
    let expected = "/run/pg:5432:\\*:v-app-1:p\r:\nlocalhost:5432:\\*:v-app-1:p\r:\n";
    assert_eq!(text(pgpass(), &all), expected);
}

#[test]
fn dotenv_golden() {
    let all = [
        ("db", database("Zk3-9", vec![], Some(connection()))),
        (
            "mail-x",
            kv(&[("api.key", Field::Text(secret("it's"))), ("n", Field::Json(secret("7")))]),
        ),
    ];
    let expected = "DB_USERNAME=v-app-1\nDB_PASSWORD=Zk3-9\nDB_HOST=a.internal,b.internal\n\
                    DB_PORT=5432\nDB_NAME=nova\nMAIL_X_API_KEY=\"it's\"\nMAIL_X_N=7\n";
    assert_eq!(text(dotenv(&["db", "mail-x"]), &all), expected);
    let bare = [("db", database("Zk3-9", vec![], None))];
    assert_eq!(text(dotenv(&["db"]), &bare), "DB_USERNAME=v-app-1\nDB_PASSWORD=Zk3-9\n");
}

#[test]
fn dotenv_names_can_be_chosen() {
    let all = [
        ("db", database("Zk3-9", vec![], Some(connection()))),
        ("mail", kv(&[("api.key", Field::Text(secret("k"))), ("n", Field::Json(secret("7")))])),
    ];
    let chosen = |names: &[(&str, &str, &str)]| {
        let mut chosen: BTreeMap<SecretName, BTreeMap<String, String>> = BTreeMap::new();
        for (secret, field, name) in names {
            let fields = chosen.entry(Arc::from(*secret)).or_default();
            fields.insert((*field).to_owned(), (*name).to_owned());
        }
        let names = Names { prefix: "App_".to_owned(), chosen };
        Format::Dotenv { secrets: self::names(&["db", "mail"]), names }
    };
    let format = chosen(&[
        ("mail", "api.key", "SENDGRID_API_KEY"),
        ("db", "dbname", "PGDATABASE"),
        ("db", "sslmode", "PGSSLMODE"),
    ]);
    let expected = "App_DB_USERNAME=v-app-1\nApp_DB_PASSWORD=Zk3-9\n\
                    App_DB_HOST=a.internal,b.internal\nApp_DB_PORT=5432\nPGDATABASE=nova\n\
                    PGSSLMODE=verify-full\nSENDGRID_API_KEY=k\nApp_MAIL_N=7\n";
    assert_eq!(text(format, &all), expected);

    let missing = failure(chosen(&[("mail", "apikey", "K")]), &all);
    assert_eq!(missing.class, Class::Missing);
    assert_eq!(missing.text, "render `dir/file`: secret `mail` has no field `apikey`");
    assert_eq!(missing.hint.as_deref(), Some("it has: api.key, n"));
    let same = failure(chosen(&[("mail", "n", "App_DB_HOST")]), &all);
    assert!(same.text.ends_with("are both `App_DB_HOST`"), "{same}");

    let digit = [("2fa", kv(&[("a", Field::Text(secret("x")))]))];
    let names = Names { prefix: "T".to_owned(), ..Names::default() };
    let format = Format::Dotenv { secrets: self::names(&["2fa"]), names };
    assert_eq!(text(format, &digit), "T2FA_A=x\n");
}

#[test]
fn dotenv_quotes_by_what_the_value_has() {
    for (value, expected) in [
        ("", "''"),
        ("a/b:c=d", "a/b:c=d"),
        (" a b ", "' a b '"),
        ("~", "'~'"),
        ("$HOME `id` \"q\" \\n", "'$HOME `id` \"q\" \\n'"),
        ("-----BEGIN\nx\n", "'-----BEGIN\nx\n'"),
        ("it's\n#", "\"it's\n#\""),
        ("\\\\srv", "\"\\\\\\\\srv\""),
        ("\\\\srv\\c$x", "'\\\\srv\\c$x'"),
        ("x\\", "\"x\\\\\" #=#\""),
        ("'\"\\$\n:#", "\"'\\\"\\\\$\n:#\" #=#\""),
        ("'$x`id`$(id)", "\"'\\$x\\`id\\`\\$(id)\""),
    ] {
        let all = [("m", kv(&[("k", Field::Text(secret(value)))]))];
        assert_eq!(text(dotenv(&["m"]), &all), format!("M_K={expected}\n"), "{value:?}");
    }
}

#[test]
fn json_golden() {
    let all = [
        ("db", database("a\"\\\n\u{1}é", vec![], Some(connection()))),
        (
            "mail",
            kv(&[
                ("big", Field::Json(secret("12345678901234567890123"))),
                ("list", Field::Json(secret("[1,\"x\"]"))),
                ("off", Field::Json(secret("false"))),
                ("text", Field::Text(secret("7"))),
            ]),
        ),
        ("none", kv(&[])),
    ];
    let rendered = text(json(&["db", "mail", "none"]), &all);
    let expected = r#"{
  "db": {
    "username": "v-app-1",
    "password": "a\"\\\n\u0001é",
    "host": "a.internal,b.internal",
    "port": 5432,
    "dbname": "nova",
    "sslmode": "verify-full",
    "sslrootcert": "/etc/ca.pem"
  },
  "mail": {
    "big": 12345678901234567890123,
    "list": [1,"x"],
    "off": false,
    "text": "7"
  },
  "none": {}
}
"#;
    assert_eq!(rendered, expected);
    let parsed: serde_json::Value = serde_json::from_str(&rendered).unwrap();
    assert_eq!(parsed["db"]["password"], "a\"\\\n\u{1}é");
}

#[test]
fn raw_is_the_field_and_nothing_else() {
    let all = [
        ("mail", kv(&[("a", Field::Text(secret(" x\n"))), ("b", Field::Json(secret("[1]")))])),
        ("db", database("p", vec![], Some(connection()))),
    ];
    assert_eq!(text(raw("a"), &all), " x\n");
    assert_eq!(text(raw("b"), &all), "[1]");
    let port = Format::Raw { secret: Arc::from("db"), field: "port".to_owned() };
    assert_eq!(text(port, &all), "5432");
}

#[test]
fn a_file_whose_secret_has_no_value_is_left_out() {
    let all = [("db", database("p", vec![], Some(connection())))];
    for format in [raw("a"), dotenv(&["db", "mail"]), json(&["mail", "db"])] {
        assert_eq!(one(format, &all).unwrap(), None);
    }
    for format in [pg_service(), pgpass()] {
        assert_eq!(one(format, &[]).unwrap(), None);
    }
}

#[test]
fn what_cannot_be_held_is_named_and_never_shown() {
    let db = |password: &str| [("db", database(password, vec![], Some(connection())))];
    let mail = |field: &str| [("mail", kv(&[("k", Field::Text(secret(field)))]))];
    let long = "hunter2".repeat(200);
    for (format, values, field) in [
        (pg_service(), db("hunter2\n"), "password"),
        (pg_service(), db("hunter2 "), "password"),
        (pg_service(), db("hunter2\t"), "password"),
        (pg_service(), db("hunter2\r"), "password"),
        (pg_service(), db("hunter2\0"), "password"),
        (pg_service(), db(&long), "password"),
        (pgpass(), db("hunter2\nx"), "password"),
        (pgpass(), db("hunter2\0"), "password"),
        (dotenv(&["mail"]), mail("hunter2\0"), "k"),
        (dotenv(&["mail"]), mail("hunter2'\"\nPATH=x"), "k"),
        (dotenv(&["mail"]), mail("hunter2'\\\rPATH: x"), "k"),
    ] {
        let failure = failure(format, &values);
        let place = format!("field `{field}` of secret `{}`", values[0].0);
        assert_eq!(failure.class, Class::Ours);
        assert!(failure.text.contains("`dir/file`"), "{failure}");
        assert!(failure.text.contains(&place), "{failure}");
        assert!(!failure.to_string().contains("hunter2"), "{failure}");
    }
}

#[test]
fn what_is_not_there_or_not_clear_is_an_error() {
    let bare = [("db", database("p", vec![], None))];
    assert_eq!(failure(pg_service(), &bare).class, Class::Ours);
    assert_eq!(failure(pgpass(), &bare).class, Class::Ours);

    let mail = [("mail", kv(&[("a", Field::Text(secret("x")))]))];
    let missing = failure(raw("b"), &mail);
    assert_eq!(missing.class, Class::Missing);
    assert_eq!(missing.text, "render `dir/file`: secret `mail` has no field `b`");

    let same = kv(&[("a-b", Field::Text(secret("x"))), ("a_b", Field::Text(secret("y")))]);
    assert!(failure(dotenv(&["m"]), &[("m", same)]).text.ends_with("are both `M_A_B`"));

    let digit = kv(&[("a", Field::Text(secret("x")))]);
    assert!(failure(dotenv(&["2fa"]), &[("2fa", digit)]).text.contains("begins with a digit"));

    let odd = Format::PgService { secret: Arc::from("db"), alias: "a]".to_owned() };
    let all = [("db", database("p", vec![], Some(connection())))];
    assert!(failure(odd, &all).text.contains("cannot name a section"));
}
