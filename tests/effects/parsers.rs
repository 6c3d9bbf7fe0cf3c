//! What is rendered, read back by the parsers that applications have.

#[path = "parsers/dsn.rs"]
mod dsn;
#[path = "parsers/pgbouncer.rs"]
mod pgbouncer;
#[path = "parsers/template.rs"]
mod template;
#[path = "parsers/yaml.rs"]
mod yaml;

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use leasehold::render::{File, Format, Names, render};
use leasehold::secret::{Credential, Secret};
use leasehold::snapshot::{Connection, Content, Field, Generation, Snapshot, SslMode, Value};
use serde_json::{Value as Json, json};

use crate::support::Place;

/// Each is a trap for at least one parser.
const HOSTILE: &[&str] = &[
    "plain-Pass1",
    "'\"\\$\n:#",
    "'\"\\$:#",
    " leading",
    "trailing ",
    "\ttab\t",
    "it's",
    "say \"x\"",
    "it's \"x\" \\ $y `z`",
    "back\\slash",
    "\\\\server\\share",
    "ends\\",
    "it's ends\\",
    "\\",
    "\\n is no line break",
    "it's \\n",
    "a:b\\:c",
    "#not a comment",
    "a # b",
    "*",
    "=a=b=",
    "[section]",
    "$HOME ${HOME} $(id) `id`",
    "it's ${HOME}",
    "$",
    "it's $",
    "$'x'",
    "!event !!",
    "~",
    "%d %(x)s {{x}}",
    "two\nlines",
    "it's two\nlines\n",
    "\n# it's",
    "\"\n\"",
    "'\"\nnot another",
    "cr\rlf\r\n",
    "ends with cr\r",
    "é✓ \u{2028} \u{1f511} \u{a0}",
    "-----BEGIN KEY-----\nAbc+/=\n-----END KEY-----\n",
    "{\"json\": \"it's\"}",
    "'\"\nPWNED=1",
    "\\\nPWNED=1",
    "'\nPWNED=1 '",
    "\"\rPWNED=1",
];

fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set: run `make test`"))
}

/// Values put together from what parsers stumble over; the same ones in each run.
fn mixtures(count: usize) -> Vec<String> {
    const PIECES: &[&str] = &[
        "'", "\"", "\\", "$", "`", "\n", "\r", "#", "=", ":", " ", "a", "{", "}", "(", "n",
        "PWNED=1",
    ];
    let mut random = fastrand::Rng::with_seed(17);
    let mut mixture = || -> String {
        let length = random.usize(1..9);
        (0..length).map(|_| PIECES[random.usize(..PIECES.len())]).collect()
    };
    (0..count).map(|_| mixture()).collect()
}

/// Values of any characters at all; the same ones in each run.
fn anything(count: usize) -> Vec<String> {
    use proptest::strategy::{Strategy, ValueTree};
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let strategy = proptest::collection::vec(proptest::char::any(), 0..12);
    let mut one = || strategy.new_tree(&mut runner).unwrap().current().into_iter().collect();
    (0..count).map(|_| one()).collect()
}

fn secret(text: &str) -> Secret {
    Secret::new(text.to_owned())
}

fn snapshot(name: &str, content: Content) -> Snapshot {
    let value = Value { version: Arc::from("v"), expires: None, previous_ends: None, content };
    Snapshot { generation: Generation(1), secrets: BTreeMap::from([(Arc::from(name), value)]) }
}

/// Renders one file into `path`; `None` when the format cannot hold it.
fn write(path: &Path, format: Format, snapshot: &Snapshot) -> Option<PathBuf> {
    let file = File { path: "file".to_owned(), mode: 0o600, format };
    match render(&[file], snapshot) {
        Ok(rendering) => {
            fs::write(path, rendering.files["file"].bytes.as_slice()).unwrap();
            fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
            Some(path.to_owned())
        }
        Err(failure) => {
            assert!(failure.text.contains("cannot hold field"), "{failure}");
            None
        }
    }
}

fn output(command: &mut Command, input: &Json) -> Vec<u8> {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    if *input != Json::Null {
        stdin.write_all(input.to_string().as_bytes()).unwrap();
    }
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {complaint}");
    output.stdout
}

fn python(reader: &str, input: &Json) -> Json {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/effects/parsers.py");
    let mut command = Command::new(variable("LEASEHOLD_TEST_PYTHON"));
    serde_json::from_slice(&output(command.args([script, reader]), input)).unwrap()
}

type Variables = BTreeMap<String, String>;

fn shell(shell: &str, path: &Path) -> Variables {
    let mut command = Command::new(shell);
    command.args(["-c", "set -a; . \"$1\"; exec env -0", shell]).arg(path);
    command.env_clear().env("PATH", "/usr/bin:/bin").current_dir(path.parent().unwrap());
    let text = String::from_utf8(output(&mut command, &Json::Null)).unwrap();
    text.split_terminator('\0')
        .map(|line| line.split_once('=').unwrap())
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

/// What `parse`, an expression of JavaScript, makes of the text of each file.
fn node(parse: &str, paths: &[PathBuf]) -> Vec<Json> {
    let script = format!(
        "const read = (path) => require('fs').readFileSync(path, 'utf8'); const parse = {parse}; \
         console.log(JSON.stringify(JSON.parse(read(0)).map((path) => parse(read(path)))))"
    );
    let mut command = Command::new("node");
    command.args(["-e", &script]).env("NODE_PATH", variable("LEASEHOLD_TEST_NODE_MODULES"));
    serde_json::from_slice(&output(&mut command, &json!(paths))).unwrap()
}

/// What the head of `render/dotenv.rs` promises of a value.
struct Promise {
    python: bool,
    node: bool,
}

fn promise(value: &str) -> Promise {
    let dollar = |rest: &str| {
        rest.starts_with(|c: char| {
            !c.is_ascii() || c.is_alphanumeric() || "_{([@*#?$!-".contains(c)
        })
    };
    let expands =
        value.contains('`') || value.match_indices('$').any(|(at, _)| dollar(&value[at + 1..]));
    let pairs = value.contains("\\\\");
    let cr = value.contains('\r');
    let double = value.contains('\'') || value.ends_with('\\') || (pairs && !expands);
    Promise {
        python: !cr && !value.contains("${") && if double { !expands } else { !pairs },
        node: !cr && (!double || (!expands && !value.contains(['"', '\\']))),
    }
}

#[test]
fn dotenv_is_read_back() {
    let place = Place::new();
    let neighbours = [("a", "before"), ("x", "it's"), ("y", "say \"x\""), ("z", "after")];
    let mut values: Vec<String> = HOSTILE.iter().map(|value| (*value).to_owned()).collect();
    values.push(format!("`touch {0}/ran` $(touch {0}/ran)", place.root.path().display()));
    values.push(format!("it's `touch {0}/ran` $(touch {0}/ran)", place.root.path().display()));
    values.extend(mixtures(120));

    let (mut paths, mut held) = (Vec::new(), Vec::new());
    for (index, value) in values.into_iter().enumerate() {
        let fields = neighbours.into_iter().chain([("m", value.as_str())]);
        let field = |(name, text): (&str, &str)| (name.to_owned(), Field::Text(secret(text)));
        let all = snapshot("k", Content::Fields(Arc::new(fields.map(field).collect())));
        let format = Format::Dotenv { secrets: vec![Arc::from("k")], names: Names::default() };
        let path = place.root.path().join(format!("{index}.env"));
        match write(&path, format, &all) {
            Some(path) => {
                paths.push(path);
                held.push(value);
            }
            None => assert!(value.contains("PWNED=1") || value.contains(['=', ':']), "{value:?}"),
        }
    }
    assert!(held.len() > 120, "too few values could be held: {}", held.len());

    let by_python: Vec<Variables> =
        serde_json::from_value(python("dotenv", &json!(paths))).unwrap();
    let by_node: Vec<Variables> =
        serde_json::from_value(node("require('dotenv').parse", &paths).into()).unwrap();
    // What `node --env-file` reads with.
    let by_env_file: Vec<Variables> =
        serde_json::from_value(node("require('util').parseEnv", &paths).into()).unwrap();
    for (index, (path, value)) in paths.iter().zip(&held).enumerate() {
        let Promise { python, node } = promise(value);
        for (reader, promised, read) in [
            ("sh", true, &shell("sh", path)),
            ("bash", true, &shell("bash", path)),
            ("python-dotenv", python, &by_python[index]),
            ("dotenv for Node", node, &by_node[index]),
            ("node --env-file", node, &by_env_file[index]),
        ] {
            let case = format!("{reader} reads {value:?} as {:?}", read.get("K_M"));
            assert!(!promised || read.get("K_M") == Some(value), "{case}");
            for (name, expected) in neighbours {
                let found = read.get(&format!("K_{}", name.to_uppercase()));
                assert_eq!(found.map(String::as_str), Some(expected), "{case}, and {name}");
            }
            assert!(!read.contains_key("PWNED"), "{case}, and makes a variable of it");
        }
    }
    assert!(!place.root.path().join("ran").exists(), "a shell ran a part of a value");
}

#[test]
fn libpq_logs_in_with_what_it_reads() {
    let place = Place::new();
    let (host, port) = (variable("LEASEHOLD_TEST_PG_HOST"), variable("LEASEHOLD_TEST_PG_PORT"));
    let dbname = "leasehold t:e\\s't\"#=*";
    let connection = Arc::new(Connection {
        hosts: vec![host.clone()],
        port: port.parse().unwrap(),
        dbname: dbname.to_owned(),
        sslmode: SslMode::Prefer,
        sslrootcert: None,
    });
    let long = |length: usize| "x".repeat(length - "password=".len());
    let mut logins: Vec<(String, String)> = HOSTILE
        .iter()
        .map(|password| ("leasehold test".to_owned(), (*password).to_owned()))
        .chain(["#u", "*", "u:s\\er", "it's \"u\"=[x]"].map(|u| (u.to_owned(), "p".to_owned())))
        .chain([1021, 1022].map(|length| ("long".to_owned(), long(length))))
        .collect();
    logins.retain(|(_, password)| !password.is_empty());

    let mut cases = Vec::new();
    for (index, (user, password)) in logins.iter().enumerate() {
        let credential = Credential { username: user.clone(), password: secret(password) };
        let old = Credential { username: format!("{user}-old"), password: secret("old") };
        let content = Content::Database {
            credential,
            previous: vec![old],
            connection: Some(Arc::clone(&connection)),
        };
        let all = snapshot("db", content);
        let db = || Arc::from("db");
        let service = Format::PgService { secret: db(), alias: "nova".to_owned() };
        let service = write(&place.root.path().join(format!("{index}.conf")), service, &all);
        let pgpass = Format::Pgpass { secret: db() };
        let pgpass = write(&place.root.path().join(format!("{index}.pass")), pgpass, &all);

        let ends_blank = password.ends_with([' ', '\t', '\r']);
        let fits = !password.contains('\n') && !ends_blank && password.len() < 1013;
        assert_eq!(service.is_some(), fits, "service file: {password:?}");
        assert_eq!(pgpass.is_some(), !password.contains('\n'), "pgpass: {password:?}");
        let mut case = json!({"user": user, "password": password});
        service.into_iter().for_each(|path| case["service"] = json!(path));
        pgpass.into_iter().for_each(|path| case["pgpass"] = json!(path));
        cases.push(case);
    }
    let superuser = json!({
        "host": host,
        "port": port,
        "user": variable("LEASEHOLD_TEST_PG_SUPERUSER"),
        "password": variable("LEASEHOLD_TEST_PG_PASSWORD"),
        "dbname": "postgres",
    });
    let job = json!({"superuser": superuser, "dbname": dbname, "cases": cases});
    let results: Vec<BTreeMap<String, Json>> =
        serde_json::from_value(python("libpq", &job)).unwrap();
    assert_eq!(results.len(), cases.len());
    for (case, result) in cases.iter().zip(results) {
        let (user, password) = (&case["user"], &case["password"]);
        for (reader, found) in result {
            if reader == "wrong" {
                let refused = found.as_str().is_some_and(|text| text.contains("authentication"));
                assert!(refused, "the server takes any password: {found}");
            } else {
                assert_eq!(found, json!([user, dbname]), "{reader} with {password}");
            }
        }
    }
}
