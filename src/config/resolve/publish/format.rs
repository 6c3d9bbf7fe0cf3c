//! What is in one file: its format, and the keys that go with it.
//!
//! Receives the section of a file, gives its format and the mode that this asks for. Never reads
//! more than a template: that it compiles has to be known at the start.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use crate::config::raw::{Section, shown};
use crate::config::resolve::secrets::Secrets;
use crate::render::{Format, Names, Template};
use crate::snapshot::SecretName;

/// Those of them that only some formats have.
const OF_FORMATS: [&str; 6] = ["secret", "secrets", "field", "alias", "prefix", "names"];

const LATER: [&str; 2] = ["jwks", "pem"];

/// libpq ignores a password file that anybody but its owner may touch.
const PGPASS_MODE: u32 = 0o600;

/// The database that PgBouncer keeps for its own console.
const CONSOLE: &str = "pgbouncer";

/// A longer template is a mistake, in bytes.
const LONGEST_TEMPLATE: u64 = 256 << 10;

#[derive(Clone, Copy)]
enum Name {
    Dotenv,
    Json,
    Yaml,
    Raw,
    PgService,
    Pgpass,
    Dsn,
    Pgbouncer,
    Userlist,
}

const FORMATS: [(&str, Name); 9] = [
    ("dotenv", Name::Dotenv),
    ("json", Name::Json),
    ("yaml", Name::Yaml),
    ("raw", Name::Raw),
    ("pg_service", Name::PgService),
    ("pgpass", Name::Pgpass),
    ("dsn", Name::Dsn),
    ("pgbouncer", Name::Pgbouncer),
    ("userlist", Name::Userlist),
];

/// The format, and the mode that the file has: `own` where the section names one.
pub(super) fn resolve(
    section: &Section<'_>,
    own: Option<u32>,
    secrets: &Secrets,
) -> Option<(Format, Option<u32>)> {
    if section.has("template") {
        if section.has("format") {
            let hint = "a template says itself what the file is: leave one of them out";
            section.problem("format", "must not stand beside `template`", hint);
        }
        unused(section, &[]);
        return Some((Format::Template(template(section, secrets)?), own));
    }
    if section.text("format").as_deref() == Some("template") {
        let hint = "write `template: /path/of/the/template` instead";
        section.problem("format", "a template is named by a key of its own", hint);
        return None;
    }
    section.require("format");
    let name = section.choice("format", &FORMATS, &LATER)?;
    unused(section, used(name));
    let format = match name {
        Name::Dotenv => {
            let listed = several(section, secrets);
            let names = names(section, secrets, listed.as_deref());
            Format::Dotenv { secrets: listed?, names }
        }
        Name::Json => Format::Json { secrets: several(section, secrets)? },
        Name::Yaml => Format::Yaml { secrets: several(section, secrets)? },
        Name::Raw => {
            let field = section.required_text("field");
            let secret = one(section, secrets)?;
            Format::Raw { secret, field: field? }
        }
        Name::PgService => {
            let secret = connected(section, secrets)?;
            let alias = alias(section, &secret, "service");
            Format::PgService { secret, alias }
        }
        Name::Pgpass => {
            let mode = own.unwrap_or(PGPASS_MODE);
            if mode & 0o077 != 0 {
                let text = "libpq ignores a password file that others may read";
                section.problem("mode", text, "leave it out, or write \"0600\"");
            }
            return Some((Format::Pgpass { secret: connected(section, secrets)? }, Some(mode)));
        }
        Name::Dsn => Format::Dsn { secret: connected(section, secrets)? },
        Name::Pgbouncer => {
            let secret = connected(section, secrets)?;
            let alias = alias(section, &secret, "database");
            if alias == CONSOLE {
                section.problem(
                    "alias",
                    format!("PgBouncer keeps `{CONSOLE}` for its console"),
                    "choose another name, which clients then connect to",
                );
            }
            Format::Pgbouncer { secret, alias }
        }
        Name::Userlist => {
            let secret = one(section, secrets)?;
            if secrets.is_no_login(&secret) {
                section.problem(
                    "secret",
                    format!("`{secret}` is no `database` secret"),
                    "name one: users and passwords are what is in this file",
                );
            }
            Format::Userlist { secret }
        }
    };
    Some((format, own))
}

fn used(name: Name) -> &'static [&'static str] {
    match name {
        Name::Dotenv => &["secrets", "prefix", "names"],
        Name::Json | Name::Yaml => &["secrets"],
        Name::Raw => &["secret", "field"],
        Name::PgService | Name::Pgbouncer => &["secret", "alias"],
        Name::Pgpass | Name::Dsn | Name::Userlist => &["secret"],
    }
}

/// Keys that are known for other formats only.
fn unused(section: &Section<'_>, used: &[&str]) {
    for key in OF_FORMATS {
        if section.has(key) && !used.contains(&key) {
            section.problem(key, "this format has no use for it", "leave it out");
        }
    }
}

fn several(section: &Section<'_>, secrets: &Secrets) -> Option<Vec<SecretName>> {
    section.require("secrets");
    let listed = section.list("secrets")?;
    if listed.is_empty() {
        section.problem("secrets", "names no secret", "write a list, such as `[db, mail]`");
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
        section.problem("secret", text, "this format names host, port and database");
    }
    Some(name)
}

fn alias(section: &Section<'_>, secret: &SecretName, kind: &str) -> String {
    let alias = section.text("alias").unwrap_or_else(|| secret.as_ref().to_owned());
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    if !alias.chars().all(good) {
        let text = format!("not a {kind}'s name: `{}`", shown(&alias));
        section.problem("alias", text, "letters, digits, `_`, `-` and `.`");
    }
    alias
}

/// `prefix` and `names` of a file that holds the secrets `listed`, where these are right.
fn names(section: &Section<'_>, secrets: &Secrets, listed: Option<&[SecretName]>) -> Names {
    let prefix = section.text("prefix").unwrap_or_default();
    if !prefix.is_empty() && !is_variable(&prefix) {
        let text = format!("no variable's name begins so: `{}`", shown(&prefix));
        section.problem("prefix", text, "letters, digits and `_`, no digit first");
    }
    let mut chosen: BTreeMap<SecretName, BTreeMap<String, String>> = BTreeMap::new();
    let below = section.names("names");
    for (key, _) in below.entries() {
        let Some(name) = below.required_text(key) else { continue };
        let Some((secret, field)) = key.split_once('.').filter(|(_, field)| !field.is_empty())
        else {
            let hint = "write it as `mail.api_key: SENDGRID_API_KEY`";
            below.problem(key, "must be a secret and its field", hint);
            continue;
        };
        if !is_variable(&name) {
            let text = format!("not a variable's name: `{}`", shown(&name));
            below.problem(key, text, "letters, digits and `_`, no digit first");
        }
        let Some(secret) = secrets.check(&below, key, &[secret.to_owned()]).pop() else { continue };
        if listed.is_some_and(|listed| !listed.contains(&secret)) {
            below.problem(
                key,
                format!("`{secret}` is not in `secrets` of this file"),
                "add it there, or leave this name out",
            );
        }
        chosen.entry(secret).or_default().insert(field.to_owned(), name);
    }
    Names { prefix, chosen }
}

fn is_variable(text: &str) -> bool {
    text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        && !text.starts_with(|c: char| c.is_ascii_digit())
}

fn template(section: &Section<'_>, secrets: &Secrets) -> Option<Template> {
    let path = section.file("template")?;
    let source = match read(&path) {
        Ok(source) => source,
        Err(error) => {
            section.problem(
                "template",
                format!("read `{}`: {error}", path.display()),
                "name a file that the agent may read",
            );
            return None;
        }
    };
    let named = secrets.enabled().cloned().collect();
    match Template::compile(path.display().to_string(), source, named) {
        Ok(template) => Some(template),
        Err(failure) => {
            let hint = failure.hint.unwrap_or_else(|| "mend it there".to_owned());
            section.problem("template", failure.text, hint);
            None
        }
    }
}

fn read(path: &Path) -> io::Result<String> {
    // A pipe would hold the start up.
    if !std::fs::metadata(path)?.is_file() {
        return Err(io::Error::other("not a file"));
    }
    let mut text = String::new();
    File::open(path)?.take(LONGEST_TEMPLATE + 1).read_to_string(&mut text)?;
    if text.len() as u64 > LONGEST_TEMPLATE {
        return Err(io::Error::other(format!("longer than {LONGEST_TEMPLATE} bytes")));
    }
    Ok(text)
}
