//! A connection URI, by libpq, Python's urllib and the parser of node-postgres.

use std::path::PathBuf;
use std::sync::Arc;

use leasehold::render::Format;
use leasehold::secret::Credential;
use leasehold::snapshot::{Connection, Content, SslMode};
use serde_json::{Value as Json, json};

use super::{HOSTILE, anything, mixtures, node, python, secret, snapshot, write};
use crate::support::Place;

struct Case {
    user: String,
    password: String,
    dbname: String,
    hosts: &'static [&'static str],
}

impl Case {
    fn path(&self, place: &Place, index: usize) -> PathBuf {
        let connection = Connection {
            hosts: self.hosts.iter().map(|host| (*host).to_owned()).collect(),
            port: 6543,
            dbname: self.dbname.clone(),
            sslmode: SslMode::Require,
            sslrootcert: None,
        };
        let credential =
            Credential { username: self.user.clone(), password: secret(&self.password) };
        let connection = Some(Arc::new(connection));
        let content = Content::Database { credential, previous: Vec::new(), connection };
        let path = place.root.path().join(format!("{index}.dsn"));
        let format = Format::Dsn { secret: Arc::from("db") };
        write(&path, format, &snapshot("db", content)).expect("held")
    }

    /// What each reader is to find.
    fn expected(&self) -> Json {
        json!({
            "user": self.user, "password": self.password, "dbname": self.dbname,
            "host": self.hosts.join(","), "port": vec!["6543"; self.hosts.len()].join(","),
            "sslmode": "require",
        })
    }
}

#[test]
fn every_reader_finds_the_same_parts() {
    let place = Place::new();
    let mut values: Vec<String> = HOSTILE.iter().map(|value| (*value).to_owned()).collect();
    values.extend(["a%41b", "%", "%zz", "a+b", "u:p@h/d?x=y&z#f", "é%C3"].map(str::to_owned));
    values.extend(mixtures(100));
    values.extend(anything(200));
    values.retain(|value| !value.is_empty() && !value.contains('\0'));
    let plain = ["a.internal"].as_slice();
    let case = |hosts| Case { user: "u".into(), password: "p".into(), dbname: "d".into(), hosts };
    let mut cases: Vec<Case> = Vec::new();
    for value in values {
        cases.push(Case { password: value.clone(), ..case(plain) });
        cases.push(Case { user: value.clone(), ..case(plain) });
        cases.push(Case { dbname: value, ..case(plain) });
    }
    let urllib_reads = cases.len();
    cases.push(case(&["/run/pg dir"]));
    let node_reads = cases.len();
    cases.push(case(&["::1"]));
    cases.push(case(&["fe80::1%eth0"]));
    cases.push(case(&["a.internal", "10.0.0.1", "::1", "/run/pg", "@abstract"]));

    let paths: Vec<PathBuf> =
        cases.iter().enumerate().map(|(index, case)| case.path(&place, index)).collect();
    let by_python: Vec<Json> = serde_json::from_value(python("dsn", &json!(paths))).unwrap();
    let by_node = node("require('pg-connection-string').parse", &paths[..node_reads]);
    for (index, (case, read)) in cases.iter().zip(&by_python).enumerate() {
        let expected = case.expected();
        assert_eq!(read["libpq"], expected, "libpq");
        if index < urllib_reads {
            assert_eq!(read["urllib"], expected, "urllib");
        }
        // To a URL these are the directory itself and the one above.
        let steps = [".", ".."].contains(&case.dbname.as_str());
        if let Some(read) = by_node.get(index).filter(|_| !steps) {
            let parts = ["user", "password", "database", "host", "port"];
            let mut expected =
                ["user", "password", "dbname", "host", "port"].map(|key| expected[key].clone());
            // It leaves these encoded.
            let left = |text: String, c: char| text.replace(c, &format!("%{:02X}", u32::from(c)));
            expected[2] = json!(['/', '?', '#'].into_iter().fold(case.dbname.clone(), left));
            assert_eq!(parts.map(|key| read[key].clone()), expected, "pg-connection-string");
        }
    }
}
