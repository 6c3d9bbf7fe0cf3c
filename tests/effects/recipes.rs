//! The recipes' README shows what the files beside it are, and these know of no agent.

use std::fs;
use std::path::Path;

const RECIPES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/recipes");

fn read(name: &str) -> String {
    fs::read_to_string(Path::new(RECIPES).join(name)).unwrap()
}

/// The names of all files but the README.
fn files() -> Vec<String> {
    let names = fs::read_dir(RECIPES).unwrap().map(|entry| entry.unwrap().file_name());
    names.map(|name| name.into_string().unwrap()).filter(|name| name != "README.md").collect()
}

#[test]
fn each_block_that_names_a_file_stands_in_it() {
    let readme = read("README.md");
    let mut compared = 0;
    // Between two fences there is a block, and then text.
    for block in readme.split("```").skip(1).step_by(2) {
        let Some((info, body)) = block.split_once('\n') else { continue };
        let Some((_, name)) = info.split_once(' ') else { continue };
        assert!(read(name).contains(body.trim_end()), "{name} has not:\n{body}");
        compared += 1;
    }
    assert!(compared >= 20, "only {compared} blocks name a file");
}

#[test]
fn every_file_is_in_the_readme() {
    let readme = read("README.md");
    for name in files() {
        assert!(readme.contains(&name), "{name} is not in the README");
    }
}

#[test]
fn no_program_knows_where_its_login_comes_from() {
    for name in files().into_iter().filter(|name| !name.ends_with(".yaml")) {
        let text = read(&name).to_lowercase();
        for word in ["vault", "openbao", "leasehold"] {
            assert!(!text.contains(word), "`{word}` is in {name}");
        }
    }
}
