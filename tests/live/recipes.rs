//! Every recipe of `examples/recipes` while its login rotates.

use crate::support::program::judged;

/// What each section promises is what the harness asks; its exit code tells.
fn recipes(more: &[&str]) {
    let said = judged("tests/recipes/recipes.py", more);
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
