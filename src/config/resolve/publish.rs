//! `publish`: where, and which files.

use std::time::Duration;

use crate::config::raw::{Keys, Section, shown};
use crate::config::resolve::secrets::Secrets;
use crate::config::tree::Node;
use crate::config::value;
use crate::publish::Settings;
use crate::render::{File, Format};
use crate::snapshot::SecretName;

const KEYS: Keys = Keys {
    known: &["directory", "mode", "allow_disk", "allow_writers", "files"],
    later: &["owner"],
};

const FILE: Keys = Keys {
    known: &["format", "mode", "secret", "secrets", "field", "alias"],
    later: &["template", "prefix", "names", "owner"],
};

const LATER_FORMATS: [&str; 8] =
    ["yaml", "dsn", "pgbouncer", "userlist", "jwks", "pem", "template", "exec"];

/// Names that the publish directory needs for itself.
const RESERVED: [&str; 3] = ["current", ".generations", "status.json"];

/// So begins what is about to replace one of them.
const TEMPORARY: &str = ".new-";

/// How many parts a path may have.
const DEEPEST: usize = 16;

/// More files are a mistake.
const MOST_FILES: usize = 256;

/// libpq ignores a password file that anybody but its owner may touch.
const PGPASS_MODE: u32 = 0o600;

#[derive(Clone, Copy)]
enum FormatName {
    Dotenv,
    Json,
    Raw,
    PgService,
    Pgpass,
}

const FORMATS: [(&str, FormatName); 5] = [
    ("dotenv", FormatName::Dotenv),
    ("json", FormatName::Json),
    ("raw", FormatName::Raw),
    ("pg_service", FormatName::PgService),
    ("pgpass", FormatName::Pgpass),
];

/// Where to publish, or nothing where a problem was written down.
pub(super) fn settings(top: &Section<'_>, keep: Duration) -> Option<Settings> {
    let section = top.section("publish", KEYS);
    section.require("directory");
    Some(Settings {
        directory: section.file("directory")?,
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
        section.problem_hint("files", "missing", "name at least one file for the app to read");
        return Vec::new();
    }
    let default = mode(&section).unwrap_or(0o440);
    let below = section.names("files");
    let paths: Vec<&String> = below.entries().map(|(path, _)| path).collect();
    if paths.len() > MOST_FILES {
        section.problem("files", format!("more than {MOST_FILES}"));
    }
    for path in &paths {
        check_path(&below, path, &paths);
    }
    below
        .entries()
        .filter_map(|(path, node)| file(&below.below(path, node, FILE), path, default, secrets))
        .collect()
}

fn check_path(section: &Section<'_>, path: &str, all: &[&String]) {
    if !value::is_file_path(path) {
        let hint = "relative to `publish.directory`, such as `db/pgpass`, without `..`";
        section.problem_hint(path, "not a path that can be published", hint);
    }
    let first = path.split('/').next().unwrap_or_default();
    if RESERVED.contains(&first) {
        section.problem(path, format!("the directory needs `{first}` for itself"));
    }
    if first.starts_with(TEMPORARY) {
        section.problem(path, format!("the directory needs names with `{TEMPORARY}` for itself"));
    }
    if path.split('/').count() > DEEPEST {
        section.problem(path, format!("has more than {DEEPEST} parts"));
    }
    if all.iter().any(|other| other.strip_prefix(path).is_some_and(|rest| rest.starts_with('/'))) {
        section.problem(path, "is a file here and a directory in the path of another file");
    }
}

fn file(section: &Section<'_>, path: &str, default: u32, secrets: &Secrets) -> Option<File> {
    if section.has("template") {
        return None;
    }
    section.require("format");
    let name = section.choice("format", &FORMATS, &LATER_FORMATS)?;
    let own = section.has("mode").then(|| mode(section)).flatten();
    let (format, mode) = match name {
        FormatName::Dotenv => {
            (Format::Dotenv { secrets: several(section, secrets)? }, own.unwrap_or(default))
        }
        FormatName::Json => {
            (Format::Json { secrets: several(section, secrets)? }, own.unwrap_or(default))
        }
        FormatName::Raw => {
            let field = section.required_text("field");
            let secret = one(section, secrets)?;
            (Format::Raw { secret, field: field? }, own.unwrap_or(default))
        }
        FormatName::PgService => {
            let secret = connected(section, secrets)?;
            let alias = section.text("alias").unwrap_or_else(|| secret.as_ref().to_owned());
            let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
            if !alias.chars().all(good) {
                let text = format!("not a service's name: `{}`", shown(&alias));
                section.problem_hint("alias", text, "letters, digits, `_`, `-` and `.`");
            }
            (Format::PgService { secret, alias }, own.unwrap_or(default))
        }
        FormatName::Pgpass => {
            let mode = own.unwrap_or(PGPASS_MODE);
            if mode & 0o077 != 0 {
                let text = "libpq ignores a password file that others may read";
                section.problem_hint("mode", text, "leave it out, or write \"0600\"");
            }
            (Format::Pgpass { secret: connected(section, secrets)? }, mode)
        }
    };
    unused(section, name);
    Some(File { path: path.to_owned(), mode, format })
}

/// Keys that are known for other formats only.
fn unused(section: &Section<'_>, name: FormatName) {
    let used: &[&str] = match name {
        FormatName::Dotenv | FormatName::Json => &["secrets"],
        FormatName::Raw => &["secret", "field"],
        FormatName::PgService => &["secret", "alias"],
        FormatName::Pgpass => &["secret"],
    };
    for key in ["secret", "secrets", "field", "alias"] {
        if section.has(key) && !used.contains(&key) {
            section.problem(key, "this format has no use for it");
        }
    }
}

fn mode(section: &Section<'_>) -> Option<u32> {
    match section.get("mode")? {
        Node::Number(_) => {
            let hint = "write it as \"0440\": without quotes YAML reads a number in base ten";
            section.problem_hint("mode", "must be in quotes", hint);
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
                section.problem_hint("mode", problem, "three octal digits, such as \"0440\"");
                return None;
            };
            if mode & 0o400 == 0 {
                section.problem("mode", "its owner must be able to read it");
            }
            if mode & 0o022 != 0 {
                section.problem("mode", "nobody but its owner may write it");
            }
            if mode & 0o004 != 0 {
                section.warn("mode", "every user on the machine may read it");
            }
            Some(mode)
        }
    }
}

fn several(section: &Section<'_>, secrets: &Secrets) -> Option<Vec<SecretName>> {
    section.require("secrets");
    let listed = section.list("secrets")?;
    if listed.is_empty() {
        section.problem("secrets", "names no secret");
    }
    let names = secrets.check(section, "secrets", &listed);
    (!names.is_empty()).then_some(names)
}

fn one(section: &Section<'_>, secrets: &Secrets) -> Option<SecretName> {
    let listed = section.required_text("secret")?;
    secrets.check(section, "secret", &[listed]).pop()
}

fn connected(section: &Section<'_>, secrets: &Secrets) -> Option<SecretName> {
    let name = one(section, secrets)?;
    if secrets.has_no_connection(&name) {
        let text = format!("`{name}` is no `database` secret with a `connection`");
        section.problem_hint("secret", text, "this format names host, port and database");
    }
    Some(name)
}
