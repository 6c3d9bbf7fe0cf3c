//! Rules that the source itself must keep: which layer may use which, and where secrets are
//! exposed.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

const VOCABULARY: &[&str] = &["time", "date", "secret", "error", "jwt"];
const DECISIONS: &[&str] = &["snapshot", "lease", "agent", "render", "audit", "keyset", "rotation"];
const EFFECTS: &[&str] = &[
    "vault",
    "local",
    "postgres",
    "state",
    "publish",
    "watch",
    "notice",
    "process",
    "metrics",
    "logs",
    "server",
    "client",
    "supervise",
];
const WIRING: &[&str] = &[
    "config",
    "controller",
    "driver",
    "app",
    "timeline",
    "rehearsal",
    "online",
    "doctor",
    "bootstrap",
    "import",
    "inventory",
    "cli",
    "main",
    "lib",
];

/// Arrows between effects that are there for a reason.
const BETWEEN_EFFECTS: &[(&str, &str)] = &[
    ("server", "metrics"),    // it shows them
    ("server", "logs"),       // it tells the port that it got
    ("notice", "logs"),       // it tells what a command printed
    ("notice", "process"),    // it finds processes, and starts commands
    ("supervise", "logs"),    // it tells what it could not end
    ("supervise", "process"), // it starts the child, and hears its signals
];

/// Modules that may read the text of a secret. `snapshot` makes a keyed hash of it, by which a value
/// is known again; `local` looks whether what it read is a number; `jwt` signs and verifies by it.
const EXPOSERS: &[&str] =
    &["secret", "jwt", "snapshot", "render", "vault", "local", "postgres", "state", "supervise"];

/// Modules that may start a task. In `postgres` it is what is under way before a command or after
/// it; both end with the `Database` that holds them.
const SPAWNERS: &[&str] = &["driver", "app", "server", "postgres/ahead.rs", "postgres/session.rs"];

/// Files that may start a process.
const STARTERS: &[&str] =
    &["notice/exec.rs", "process/started.rs", "supervise.rs", "supervise/shim.rs"];

/// What a decision must never touch.
const FORBIDDEN_IN_DECISIONS: &[&str] = &[
    "tokio",
    "std::fs",
    "std::net",
    "std::env",
    "std::process",
    "std::thread",
    "SystemTime",
    "Instant",
    "time::Clock",
    "reqwest",
    "hyper",
    "nix::",
    "rustix",
    "aws_lc_rs::rand",
    "Secret::random",
    "jwt::generate",
    "async fn",
];

struct Source {
    module: String,
    path: PathBuf,
    /// Without its tests and comments.
    text: String,
}

fn sources() -> Vec<Source> {
    fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                walk(&path, found);
            } else if path.extension().is_some_and(|end| end == "rs") {
                found.push(path);
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut paths = Vec::new();
    walk(&root, &mut paths);
    let is_test = |path: &PathBuf| path.file_stem().is_some_and(|stem| stem == "tests");
    paths.retain(|path| !is_test(path));
    assert!(paths.len() > 30, "the source is gone");
    let read = |path: PathBuf| {
        let relative = path.strip_prefix(&root).expect("below src");
        let first = relative.iter().next().expect("a name").to_string_lossy().into_owned();
        let text = std::fs::read_to_string(&path).expect("a source file");
        let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
        let lines = code.lines().filter(|line| !line.trim_start().starts_with("//"));
        Source {
            module: first.trim_end_matches(".rs").to_owned(),
            text: lines.collect::<Vec<_>>().join("\n"),
            path: relative.to_owned(),
        }
    };
    paths.into_iter().map(read).collect()
}

fn layer(module: &str) -> usize {
    [VOCABULARY, DECISIONS, EFFECTS, WIRING]
        .iter()
        .position(|layer| layer.contains(&module))
        .unwrap_or_else(|| panic!("`{module}` is in no layer: add it to this test and to lib.rs"))
}

/// The modules of ours that `text` names by `crate::module`, also in `use crate::{a, b}`.
fn used(text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (at, _) in text.match_indices("crate::") {
        let rest = &text[at + "crate::".len()..];
        let word = |text: &str| -> String {
            text.trim_start().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
        };
        if let Some(group) = rest.strip_prefix('{') {
            let (mut depth, mut start) = (0_usize, true);
            for (i, c) in group.char_indices() {
                match c {
                    '{' => depth += 1,
                    '}' if depth == 0 => break,
                    '}' => depth -= 1,
                    ',' if depth == 0 => start = true,
                    _ if start && !c.is_whitespace() => {
                        found.insert(word(&group[i..]));
                        start = false;
                    }
                    _ => {}
                }
            }
        } else {
            found.insert(word(rest));
        }
    }
    found
}

#[test]
fn no_arrow_runs_back() {
    let mut wrong = Vec::new();
    for source in sources() {
        let from = layer(&source.module);
        for module in used(&source.text) {
            let to = layer(&module);
            let known = BETWEEN_EFFECTS.contains(&(&*source.module, &*module));
            let sideways = from == 2 && to == 2 && module != source.module && !known;
            if to > from || sideways {
                wrong.push(format!("{} uses {module}", source.path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn decisions_touch_nothing_outside() {
    let mut wrong = Vec::new();
    for source in sources().iter().filter(|source| layer(&source.module) == 1) {
        for word in FORBIDDEN_IN_DECISIONS {
            if source.text.contains(word) {
                wrong.push(format!("{}: {word}", source.path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn secrets_are_exposed_and_tasks_and_processes_started_only_where_listed() {
    let mut wrong = Vec::new();
    for source in sources() {
        let path = source.path.to_string_lossy();
        let started = [SPAWNERS, STARTERS].concat();
        let checks = [(".expose()", EXPOSERS), ("spawn", &started)];
        for (call, allowed) in checks {
            let listed = allowed.contains(&&*source.module) || allowed.contains(&&*path);
            if source.text.contains(call) && !listed {
                wrong.push(format!("{path}: {call}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_checks_see_what_they_look_for() {
    assert_eq!(
        used("use crate::{vault::{Vault, Source}, state};\nlet x = crate::time::Moment;"),
        BTreeSet::from(["state".to_owned(), "time".to_owned(), "vault".to_owned()])
    );
    assert!(layer("agent") < layer("vault"));
}
