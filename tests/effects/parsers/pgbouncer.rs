//! PgBouncer's files, by PgBouncer before a PostgreSQL.

use std::collections::BTreeMap;
use std::process::Command;
use std::sync::Arc;

use leasehold::render::Format;
use leasehold::secret::Credential;
use leasehold::snapshot::{Connection, Content, SslMode};
use serde_json::{Value as Json, json};

use super::{HOSTILE, anything, mixtures, output, secret, snapshot, variable, write};
use crate::support::Place;

#[test]
fn pgbouncer_logs_in_with_what_it_reads() {
    let place = Place::new();
    let (host, port) = (variable("LEASEHOLD_TEST_PG_HOST"), variable("LEASEHOLD_TEST_PG_PORT"));
    let connection = Arc::new(Connection {
        hosts: vec![host.clone()],
        port: port.parse().unwrap(),
        dbname: "postgres".to_owned(),
        sslmode: SslMode::Disable,
        sslrootcert: None,
    });
    let mut passwords: Vec<String> = HOSTILE.iter().map(|value| (*value).to_owned()).collect();
    passwords.extend(mixtures(8));
    passwords.extend(anything(16));
    passwords.retain(|password| !password.is_empty() && !password.contains('\0'));
    passwords.extend(["'''", "\"\"", "'", "\"", ";a", "%include /x"].map(str::to_owned));
    passwords.push("p".repeat(995));
    let names = ["it's \"u\"=[x]", "#u", ";u", "u\\ser", "*", "\"", "'", "two\nlines", " u "];
    let names = names.map(|name| (format!("pgb{name}"), "p".to_owned()));
    let numbered = passwords.into_iter().enumerate();
    let numbered = numbered.map(|(index, password)| (format!("pgb-{index}"), password));
    let logins: Vec<(String, String)> = numbered.chain(names).collect();
    let credentials: Vec<Credential> = logins
        .iter()
        .map(|(user, password)| Credential { username: user.clone(), password: secret(password) })
        .collect();

    let (mut databases, mut users) = (BTreeMap::new(), BTreeMap::new());
    for (index, credential) in credentials.iter().enumerate() {
        let alias = format!("d{index}");
        let content = Content::Database {
            credential: credential.clone(),
            previous: Vec::new(),
            connection: Some(Arc::clone(&connection)),
        };
        let format = Format::Pgbouncer { secret: Arc::from("db"), alias: alias.clone() };
        let path = place.root.path().join(format!("{alias}.ini"));
        let path = write(&path, format, &snapshot("db", content));
        let (user, password) = &logins[index];
        let fits = !password.contains('\n') && !user.contains('\n');
        assert_eq!(path.is_some(), fits, "{user:?} {password:?}");
        if let Some(path) = path {
            databases.insert(alias.clone(), path);
            users.insert(alias, user);
        }
    }
    let (credential, previous) = credentials.split_first().unwrap();
    let content = Content::Database {
        credential: credential.clone(),
        previous: previous.to_vec(),
        connection: None,
    };
    let userlist = Format::Userlist { secret: Arc::from("db") };
    let userlist =
        write(&place.root.path().join("userlist.txt"), userlist, &snapshot("db", content));
    let superuser = json!({
        "host": host, "port": port, "dbname": "postgres",
        "user": variable("LEASEHOLD_TEST_PG_SUPERUSER"),
        "password": variable("LEASEHOLD_TEST_PG_PASSWORD"),
    });
    let job = json!({
        "superuser": superuser, "logins": logins, "databases": databases,
        "userlist": userlist.expect("a userlist holds them all"),
    });
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/effects/pgbouncer.py");
    let mut command = Command::new(variable("LEASEHOLD_TEST_PYTHON"));
    let result: Json = serde_json::from_slice(&output(command.arg(script), &job)).unwrap();

    for (index, (user, password)) in logins.iter().enumerate() {
        let case = format!("{user:?} with {password:?}: {}", result["log"]);
        assert_eq!(result["direct"][index], json!(user), "userlist: {case}");
    }
    assert!(result["wrong"]["refused"].is_string(), "any password does");
    for (alias, user) in users {
        assert_eq!(result["forced"][&alias], json!(user), "databases: {alias} {}", result["log"]);
    }
}
