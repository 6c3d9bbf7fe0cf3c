//! Every recipe of `examples/recipes` while its login rotates.

use std::process::{Command, Stdio};

use crate::support::from_servers;

/// What each section promises is what the harness asks; its exit code tells.
fn recipes(more: &[&str]) {
    let recipes = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/recipes/recipes.py");
    let done = Command::new(from_servers("PYTHON"))
        .args([recipes, "--binary", env!("CARGO_BIN_EXE_leasehold")])
        .args(more)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&done.stdout);
    let wrong = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{}\n{said}\n{wrong}", done.status);
    assert!(said.contains("ok    rotations: "), "no summary:\n{said}");
}

#[test]
fn every_recipe_beside_one_agent_keeps_its_promise() {
    recipes(&[]);
}

#[test]
fn every_program_that_an_agent_starts_keeps_its_promise() {
    recipes(&["--exec"]);
}
