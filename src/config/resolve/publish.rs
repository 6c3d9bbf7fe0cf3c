//! `publish`: where, and which files.

mod format;

use std::time::Duration;

use crate::config::keys;
use crate::config::raw::{Section, shown};
use crate::config::resolve::secrets::Secrets;
use crate::config::tree::Node;
use crate::config::value;
use crate::error::Failure;
use crate::publish::Settings;
use crate::render::{self, File};
use crate::snapshot::{Generation, Snapshot};

/// Names that the publish directory needs for itself.
const RESERVED: [&str; 3] = ["current", ".generations", "status.json"];

/// So begins what is about to replace one of them.
const TEMPORARY: &str = ".new-";

/// How many parts a path may have.
const DEEPEST: usize = 16;

/// More files are a mistake.
const MOST_FILES: usize = 1024;

/// Where to publish, or nothing where a problem was written down.
pub(super) fn settings(top: &Section<'_>, keep: Duration) -> Option<Settings> {
    let section = top.section("publish", &keys::PUBLISH);
    section.require("directory");
    Some(Settings {
        directory: section.directory("directory")?,
        allow_disk: section.boolean("allow_disk", false),
        allow_writers: section.boolean("allow_writers", false),
        keep,
    })
}

/// What to render: the files that are right.
pub(super) fn files(top: &Section<'_>, secrets: &Secrets) -> Vec<File> {
    let Some(Node::Map(entries)) = top.get("publish") else { return Vec::new() };
    // `settings` reports the keys of this section; here it is only looked into.
    let section = top.names("publish");
    if !entries.contains_key("files") {
        section.problem("files", "missing", "name at least one file for the app to read");
        return Vec::new();
    }
    let default = mode(&section).unwrap_or(0o440);
    let below = section.names("files");
    let paths: Vec<&String> = below.entries().map(|(path, _)| path).collect();
    if paths.len() > MOST_FILES {
        section.problem(
            "files",
            format!("more than {MOST_FILES}"),
            "put several secrets into one file",
        );
    }
    for path in &paths {
        check_path(&below, path, &paths);
    }
    below.entries().filter_map(|(path, node)| file(&below, path, node, default, secrets)).collect()
}

fn check_path(section: &Section<'_>, path: &str, all: &[&String]) {
    if !value::is_file_path(path) {
        let hint = "relative to `publish.directory`, such as `db/pgpass`, without `..`";
        section.problem(path, "not a path that can be published", hint);
    }
    let first = path.split('/').next().unwrap_or_default();
    if RESERVED.contains(&first) {
        section.problem(
            path,
            format!("the directory needs `{first}` for itself"),
            "choose another name",
        );
    }
    if first.starts_with(TEMPORARY) {
        section.problem(
            path,
            format!("the directory needs names with `{TEMPORARY}` for itself"),
            "choose another name",
        );
    }
    if path.split('/').count() > DEEPEST {
        section.problem(path, format!("has more than {DEEPEST} parts"), "choose a shorter path");
    }
    if all.iter().any(|other| other.strip_prefix(path).is_some_and(|rest| rest.starts_with('/'))) {
        section.problem(
            path,
            "is a file here and a directory in the path of another file",
            "choose another name for one of them",
        );
    }
}

/// One of the `files`, tried out with all that is known before Vault is asked.
fn file(
    files: &Section<'_>,
    path: &str,
    node: &Node,
    default: u32,
    secrets: &Secrets,
) -> Option<File> {
    let before = files.found();
    let section = files.below(path, node, &keys::FILE);
    let own = section.has("mode").then(|| mode(&section)).flatten();
    let (format, mode) = format::resolve(&section, own, secrets)?;
    let file = File { path: path.to_owned(), mode: mode.unwrap_or(default), format };
    if files.found() == before {
        let values = Snapshot { generation: Generation(0), secrets: secrets.stand_ins() };
        if let Err(Failure { class: _, text, hint }) = render::try_file(&file, &values) {
            let text = text.trim_start_matches(&format!("render `{path}`: "));
            files.problem(path, text, hint.unwrap_or_else(|| "change what is in it".to_owned()));
        }
    }
    Some(file)
}

fn mode(section: &Section<'_>) -> Option<u32> {
    match section.get("mode")? {
        Node::Number(_) => {
            let hint = "write it as \"0440\": without quotes YAML reads a number in base ten";
            section.problem("mode", "must be in quotes", hint);
            None
        }
        Node::Null
        | Node::Boolean(_)
        | Node::Text(_)
        | Node::Given { .. }
        | Node::List(_)
        | Node::Map(_) => {
            let text = section.text("mode")?;
            let Some(mode) = value::mode(&text) else {
                let problem = format!("not a file mode: `{}`", shown(&text));
                section.problem("mode", problem, "three octal digits, such as \"0440\"");
                return None;
            };
            if mode & 0o400 == 0 {
                section.problem(
                    "mode",
                    "its owner must be able to read it",
                    "write \"0440\", or \"0400\" for its owner alone",
                );
            }
            if mode & 0o022 != 0 {
                section.problem(
                    "mode",
                    "nobody but its owner may write it",
                    "write \"0440\", or \"0640\" where its owner writes",
                );
            }
            if mode & 0o004 != 0 {
                section.warn("mode", "every user on the machine may read it");
            }
            Some(mode)
        }
    }
}
