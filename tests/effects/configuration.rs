//! What the program says of configurations and of itself, as a person or an editor asks it.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Runs the program with nothing of this environment.
fn leasehold(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_leasehold"));
    command.env_clear().args(arguments).output().unwrap()
}

fn said(arguments: &[&str]) -> String {
    let output = leasehold(arguments);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{arguments:?}: {text}");
    text
}

/// Gives `input` to a program and expects it to be content.
fn take(program: &str, arguments: &[&str], input: &str) -> String {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{program}: {error}"));
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let wrong = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() && wrong.is_empty(), "{program}: {wrong}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn twelve_mistakes_are_twelve_messages_each_with_a_hint() {
    let file = root().join("tests/configs/mistakes.yaml");
    let golden = root().join("tests/configs/mistakes.txt");
    for command in ["check", "run"] {
        let output = leasehold(&[command, "--config", file.to_str().unwrap()]);
        assert_eq!(output.status.code(), Some(78));
        assert!(output.stdout.is_empty());
        let told = String::from_utf8(output.stderr).unwrap();
        let told = told.replace(root().to_str().unwrap(), "");
        if std::env::var_os("UPDATE_EXPECT").is_some() {
            fs::write(&golden, &told).unwrap();
        }
        assert_eq!(told, fs::read_to_string(&golden).unwrap());
        let lines: Vec<&str> = told.lines().skip(1).collect();
        assert_eq!(lines.len(), 24, "{told}");
        for pair in lines.chunks(2) {
            assert!(pair[0].starts_with("  ") && !pair[0].starts_with("   "), "{pair:?}");
            assert!(pair[1].starts_with("    hint: "), "{pair:?}");
        }
    }
}

/// The hints are enough to mend them.
#[test]
fn what_the_hints_say_makes_it_valid() {
    let mended = root().join("tests/configs/mended.yaml");
    let told = said(&["check", "--config", mended.to_str().unwrap()]);
    assert!(told.contains("is valid"), "{told}");
    let lines = |name: &str| {
        let text = fs::read_to_string(root().join("tests/configs").join(name)).unwrap();
        text.lines().skip(1).map(str::to_owned).collect::<Vec<_>>()
    };
    let (wrong, right) = (lines("mistakes.yaml"), lines("mended.yaml"));
    let changed = wrong.iter().filter(|line| !right.contains(line)).count();
    assert_eq!(changed, 12, "something else was changed, too");
}

#[test]
fn an_editor_finds_the_examples_right_and_most_mistakes() {
    let schema: Value = serde_json::from_str(&said(&["config", "schema"])).unwrap();
    let mut files: Vec<PathBuf> = fs::read_dir(root().join("examples/configs"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    let examples = files.len();
    assert!(examples >= 6);
    files.push(root().join("tests/configs/mistakes.yaml"));
    let script = Path::new("tests/effects/configuration.py");
    let python = std::env::var("LEASEHOLD_TEST_PYTHON")
        .unwrap_or_else(|_| panic!("LEASEHOLD_TEST_PYTHON is not set: run `make test`"));
    let job = json!({ "schema": schema, "files": files });
    let found = take(&python, &[root().join(script).to_str().unwrap()], &job.to_string());
    let found: Vec<Vec<String>> = serde_json::from_str(&found).unwrap();
    for (file, wrong) in files.iter().zip(&found).take(examples) {
        assert!(wrong.is_empty(), "{}: {wrong:?}", file.display());
    }
    // What one key means to another is not for a schema: a secret's name, and a scheme.
    assert_eq!(
        found[examples],
        [
            "listen.metrics",
            "publish.files.app.yaml.format",
            "publish.mode",
            "secrets.db",
            "secrets.db.connection.port",
            "secrets.db.connection.sslmode",
            "secrets.db.lookup",
            "secrets.mail.kv.path",
            "vault.address",
            "vault.auth.approle.role_id_file",
        ]
    );
}

#[test]
fn the_configuration_is_printed_or_told_to_be_wrong() {
    let file = root().join("examples/configs/postgres.yaml");
    let printed = said(&["config", "print", "--config", file.to_str().unwrap()]);
    assert!(printed.contains("host: postgres.internal") && printed.contains("# default"));
    let wrong = root().join("tests/configs/mistakes.yaml");
    let output = leasehold(&["config", "print", "--config", wrong.to_str().unwrap()]);
    assert_eq!((output.status.code(), output.stdout.len()), (Some(78), 0));
    assert!(said(&["config", "reference"]).contains("\n| `secrets.NAME.grace` | `5m` |"));
}

#[test]
fn shells_complete_commands_and_flags() {
    let bash = said(&["completions", "bash"]);
    let words = "COMP_WORDS=(leasehold config ''); COMP_CWORD=2; _leasehold leasehold '' config; \
                 echo ${COMPREPLY[@]}";
    let offered = take("bash", &["-s"], &format!("{bash}\n{words}\n"));
    assert!(["schema", "reference", "print"].iter().all(|it| offered.contains(it)), "{offered}");
    assert!(said(&["completions", "zsh"]).starts_with("#compdef leasehold\n"));
    let fish = said(&["completions", "fish"]);
    assert!(fish.contains("complete -c leasehold") && fish.contains("-l log-level"));
    assert_eq!(leasehold(&["completions", "csh"]).status.code(), Some(64));
}

#[test]
fn manual_pages_are_there_for_each_command() {
    let page = said(&["man"]);
    assert!(page.contains(".TH leasehold 1") && page.contains("leasehold\\-run(1)"), "{page}");
    let directory = tempfile::tempdir().unwrap();
    let into = directory.path().to_str().unwrap();
    assert_eq!(said(&["man", "--dir", into]), "");
    let run = fs::read_to_string(directory.path().join("leasehold-run.1")).unwrap();
    assert!(run.contains("Examples") && run.contains("\\-\\-log\\-level"), "{run}");
    for name in ["leasehold", "leasehold-config-print", "leasehold-doctor-leaks"] {
        assert!(directory.path().join(format!("{name}.1")).exists(), "{name}");
    }
    let gone = directory.path().join("gone");
    assert_eq!(leasehold(&["man", "--dir", gone.to_str().unwrap()]).status.code(), Some(73));
}

#[test]
fn help_lists_every_command_in_its_group() {
    let help = said(&["--help"]);
    let expected = [
        "Usage: leasehold",
        "Beside a service:\n  run ",
        "Before it goes live:\n  check ",
        "When something is left behind:\n  doctor ",
        "About this program:\n  config ",
        "Options:\n",
        "Examples:\n  leasehold check",
    ];
    let mut rest = help.as_str();
    for part in expected {
        let Some((_, after)) = rest.split_once(part) else { panic!("{part:?} in {help}") };
        rest = after;
    }
}
