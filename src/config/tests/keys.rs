//! The list of keys itself.

use std::collections::BTreeSet;

use crate::config::keys::{Keys, TOP, Takes};

fn walk(keys: &'static Keys, path: &str, visit: &mut impl FnMut(&str, &'static Keys)) {
    visit(path, keys);
    for key in keys.known {
        if let Some((step, below)) = key.takes.below() {
            walk(below, &format!("{path}{}{step}", key.name), visit);
        }
    }
}

#[test]
fn each_key_stands_there_once_and_says_what_it_means() {
    let mut seen = 0;
    walk(&TOP, "", &mut |path, keys| {
        let mut names = BTreeSet::new();
        for key in keys.known {
            seen += 1;
            assert!(names.insert(key.name), "{path}{} stands there twice", key.name);
            assert!(!keys.later.contains(&key.name), "{path}{} is known and is not", key.name);
            let section = matches!(key.takes, Takes::Section(_) | Takes::List(_));
            assert!(section || !key.text.is_empty(), "{path}{} has no text", key.name);
            assert!(!key.text.contains(['|', '\n']), "{path}{} breaks the table", key.name);
        }
        assert!(keys.one_of.iter().all(|name| names.contains(name)), "{path}: {:?}", keys.one_of);
    });
    assert!(seen > 70, "only {seen} keys");
}

#[test]
fn the_readme_has_the_table_as_it_is() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/README.md");
    let readme = std::fs::read_to_string(path).unwrap();
    let table = crate::config::reference();
    let heading = table.lines().next().unwrap();
    let (before, rest) = readme.split_once(heading).expect("the table is gone");
    let (_, after) = rest.split_once("\n\n").expect("something stands below it");
    let wanted = format!("{before}{table}\n{after}");
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        std::fs::write(path, wanted).unwrap();
    } else {
        assert!(readme == wanted, "run this test with UPDATE_EXPECT=1");
    }
}
