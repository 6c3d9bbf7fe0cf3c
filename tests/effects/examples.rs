//! The examples: programs that know nothing of us, and configurations that are valid.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const SERVICES: [&str; 4] = ["batch-job", "fastapi", "legacy-env", "nestjs"];
/// What is about us, and not the service's.
const OURS: [&str; 2] = ["README.md", "leasehold.yaml"];
const MOST_LINES: usize = 15;

fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples")
}

/// Every file below `directory` that is not [`OURS`].
fn sources(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if path.is_dir() {
            // Python's own.
            if name != "__pycache__" {
                sources(&path, found);
            }
        } else if !OURS.contains(&name) {
            found.push(path);
        }
    }
}

#[test]
fn the_services_know_neither_the_agent_nor_vault() {
    for service in SERVICES {
        let mut found = Vec::new();
        sources(&examples().join(service), &mut found);
        assert!(!found.is_empty(), "{service} has no source");
        for path in found {
            let text = fs::read_to_string(&path).unwrap().to_lowercase();
            for word in ["leasehold", "openbao", "vault"] {
                assert!(!text.contains(word), "{}: {word}", path.display());
            }
        }
    }
}

#[test]
fn what_each_service_needs_is_told_in_a_few_lines() {
    for service in SERVICES {
        let readme = fs::read_to_string(examples().join(service).join("README.md")).unwrap();
        let lines = readme.lines().count();
        assert!(lines <= MOST_LINES, "{service}: {lines} lines");
    }
}

#[test]
fn every_configuration_beside_an_example_is_valid() {
    let mut seen = Vec::new();
    for entry in fs::read_dir(examples()).unwrap() {
        let file = entry.unwrap().path().join("leasehold.yaml");
        if !file.exists() {
            continue;
        }
        let checked = Command::new(env!("CARGO_BIN_EXE_leasehold"))
            .env_clear()
            .envs([
                ("DEMO_VAULT", "http://127.0.0.1:8200"),
                ("DEMO_DIR", "/dev/shm/leasehold-demo"),
                ("DEMO_PORT", "5432"),
            ])
            .args(["check", "--config"])
            .arg(&file)
            .output()
            .unwrap();
        let wrong = String::from_utf8_lossy(&checked.stderr);
        assert!(checked.status.success(), "{}: {wrong}", file.display());
        seen.push(file);
    }
    assert!(seen.len() > SERVICES.len(), "{seen:?}");
}
