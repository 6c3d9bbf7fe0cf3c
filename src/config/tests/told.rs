//! That each message of the source is asserted by a test.
//!
//! Whatever stands between quotes there and has a space in it is a message or a hint; what is between
//! two of its `{…}` must stand in a test, word by word.

use std::fs;
use std::path::{Path, PathBuf};

/// What is no message: a part of another's text that is cut off, names of sources, and what stands in
/// for a hint that whoever failed should have given.
const UNTOLD: [&str; 4] = [
    "render `{path}`: ",
    "{path} (fields)",
    "{mount}/{path} (version {version})",
    "change what is in it",
];

/// The string literals of `source`, outside of comments.
fn literals(source: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut rest = source.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '/' if rest.peek() == Some(&'/') => while rest.next().is_some_and(|c| c != '\n') {},
            // A character; a lifetime has no second quote so near.
            '\'' => {
                let ahead: Vec<char> = rest.clone().take(3).collect();
                match ahead[..] {
                    ['\\', _, '\''] => drop(rest.by_ref().take(3).count()),
                    [_, '\'', ..] => drop(rest.by_ref().take(2).count()),
                    _ => {}
                }
            }
            '"' => {
                let mut text = String::new();
                while let Some(c) = rest.next().filter(|c| *c != '"') {
                    match c {
                        '\\' => match rest.next() {
                            Some('n') => text.push('\n'),
                            Some('\n') => while rest.next_if(|c| c.is_whitespace()).is_some() {},
                            Some(other) => text.push(other),
                            None => {}
                        },
                        c => text.push(c),
                    }
                }
                found.push(text);
            }
            _ => {}
        }
    }
    found
}

fn files(folder: &Path, tests: bool) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let is_test = path.file_stem().is_some_and(|stem| stem == "tests");
        if path.is_dir() && (tests || !is_test) {
            found.extend(files(&path, tests));
        } else if path.extension().is_some_and(|end| end == "rs") && (tests || !is_test) {
            found.push(path);
        }
    }
    found
}

/// What stands between the `{…}` of a message.
fn fragments(message: &str) -> Vec<String> {
    // A doubled brace is one.
    let message = message.replace("{{", "\u{1}").replace("}}", "\u{2}");
    let parts = message.split('{').map(|part| part.split_once('}').map_or(part, |(_, rest)| rest));
    let parts = parts.map(|part| part.replace('\u{1}', "{").replace('\u{2}', "}"));
    parts.map(|part| part.trim_matches(['`', ' ', ':', ',']).to_owned()).collect()
}

#[test]
fn every_message_is_asserted_somewhere() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let config = root.join("src/config");
    let mut asserted = String::new();
    let all = files(&config.join("tests"), true);
    for path in all.iter().filter(|path| !path.ends_with("told.rs")) {
        asserted += &literals(&fs::read_to_string(path).unwrap()).join("\n");
    }
    asserted += &literals(&fs::read_to_string(config.join("tests.rs")).unwrap()).join("\n");
    for golden in ["mistakes.txt", "messages.txt"] {
        asserted += &fs::read_to_string(root.join("tests/configs").join(golden)).unwrap();
    }
    let mut sources = files(&config.join("resolve"), false);
    sources.extend(["overlay.rs", "raw.rs", "resolve.rs"].map(|name| config.join(name)));
    let mut untold = Vec::new();
    let mut messages = 0;
    for path in sources {
        let source = fs::read_to_string(&path).unwrap();
        let source = source.split("#[cfg(test)]").next().unwrap_or_default();
        let told = |text: &&String| text.contains(' ') && !UNTOLD.contains(&text.as_str());
        for message in literals(source).iter().filter(told) {
            messages += 1;
            let missing = fragments(message).into_iter().find(|part| !asserted.contains(part));
            if let Some(part) = missing {
                untold.push(format!("{}: {message:?} ({part:?})", path.display()));
            }
        }
    }
    assert!(messages > 100, "only {messages} messages were found");
    assert!(untold.is_empty(), "no test asserts\n{}", untold.join("\n"));
}

#[test]
fn the_check_sees_what_it_looks_for() {
    let source = "// \"no\"\nlet c = '\"'; f(\"a {b} c\", 'x', \"d \\\"e\\\" \\\n   f\");";
    assert_eq!(literals(source), ["a {b} c", "d \"e\" f"]);
    assert_eq!(fragments("not in `{x}`: {{y}} z"), ["not in", "{y} z"]);
}
