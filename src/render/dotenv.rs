//! `SECRET_FIELD=value` lines.
//!
//! Receives values, gives lines for a POSIX shell, python-dotenv, and Node's `dotenv` and
//! `--env-file`. Never lets a shell that sources the file run or expand any part of a value, nor a
//! value pass for another variable.
//!
//! The four readers agree on less than it seems:
//!
//! | | shell | python-dotenv | Node |
//! |---|---|---|---|
//! | `'…'` | as it stands | `\\` is one `\`; a `\` at the end hides the quote | as it stands |
//! | `"…"` | `\\ \" \$ \``; `$` and `` ` `` expand | `\\ \"` and C escapes | `\n` and `\r` only |
//! | `${NAME}` | by the quotes | expands everywhere | as it stands |
//! | a bare CR | as it stands | a line break | a line break, or dropped |
//!
//! So each value gets the first of these that fits: bare; single quotes; double quotes. All four
//! read the same unless the value has a CR, `${`, two backslashes in a row, one at the end, or a
//! single quote together with any of `"`, `\`, `$` and `` ` ``. Then the shell still reads it
//! right; python-dotenv does where double quotes without `\$` and `` \` `` are enough, and Node
//! where single quotes are.

use std::collections::BTreeMap;

use crate::error::{Class, Failure};
use crate::render::dsn;
use crate::render::formats::{Item, Place, database, fields};
use crate::render::text::Text;
use crate::snapshot::{Content, SecretName, Value};

/// A comment behind a value that Node reads wrong, so that it does not take the next variable
/// along: `dotenv` looks on for a quote without a backslash in front, `--env-file` for a `=`.
const BOUND: &str = " #=#\"";

/// The field of a login, by choice only, that is what a `dsn` file holds.
const DSN: &str = "dsn";

/// How the variables of one file are called.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    /// Stands before every name but the chosen ones.
    pub prefix: String,
    /// The whole name of a variable, by secret and field.
    pub chosen: BTreeMap<SecretName, BTreeMap<String, String>>,
}

/// Writes all fields of all `values`.
pub(super) fn write(
    text: &mut Text,
    file: &str,
    names: &Names,
    values: &[(&SecretName, &Value)],
) -> Result<(), Failure> {
    each(file, names, values, |place, field, key, item| {
        text.push(&key);
        text.push("=");
        write_value(text, &item.as_text())
            .map_err(|because| place.cannot_hold("dotenv", field, because))?;
        text.push("\n");
        Ok(())
    })
}

/// The same as names and values.
pub(super) fn variables<'a>(
    file: &str,
    names: &Names,
    values: &[(&'a SecretName, &'a Value)],
) -> Result<Vec<(String, Item<'a>)>, Failure> {
    let mut all = Vec::new();
    each(file, names, values, |_, _, key, item| {
        all.push((key, item));
        Ok(())
    })?;
    Ok(all)
}

/// Gives `take` each field of all `values` with its name, none twice.
fn each<'a>(
    file: &str,
    names: &Names,
    values: &[(&'a SecretName, &'a Value)],
    mut take: impl FnMut(Place<'_>, &str, String, Item<'a>) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let mut seen: BTreeMap<String, (&str, &str)> = BTreeMap::new();
    for (secret, value) in values {
        let place = Place { file, secret };
        let chosen = names.chosen.get(*secret);
        let mut fields = fields(value);
        if chosen.is_some_and(|chosen| chosen.contains_key(DSN)) && database(value).is_some() {
            let mut dsn = Text::default();
            dsn::write(&mut dsn, place, value)?;
            fields.push((DSN, Item::Made(dsn.into_secret())));
        }
        let known = || fields.iter().map(|(field, _)| *field);
        for field in chosen.into_iter().flat_map(BTreeMap::keys) {
            if !known().any(|known| known == field) {
                return Err(place.has_no(field, known()));
            }
        }
        for (field, item) in fields {
            let key = match (chosen.and_then(|chosen| chosen.get(field)), suffix(value, field)) {
                (Some(chosen), _) => chosen.clone(),
                (None, Some(suffix)) => key(place, &names.prefix, field, suffix)?,
                (None, None) => continue,
            };
            if let Some((other, its)) = seen.get(&key) {
                let text = format!(
                    "render `{file}`: field `{field}` of secret `{secret}` and field `{its}` of \
                     secret `{other}` are both `{key}`"
                );
                return Err(Failure::new(Class::Ours, text)
                    .hint("give one of them another name with `names`"));
            }
            seen.insert(key.clone(), (secret, field));
            take(place, field, key, item)?;
        }
    }
    Ok(())
}

/// What the variable of `field` is called behind the secret's name; `None` where it has one only
/// by choice.
fn suffix<'a>(value: &Value, field: &'a str) -> Option<&'a str> {
    match (&value.content, field) {
        (Content::Fields(_), field) => Some(field),
        (Content::Database { .. }, "dbname") => Some("name"),
        (Content::Database { .. }, "sslmode" | "sslrootcert" | DSN) => None,
        (Content::Database { .. }, field) => Some(field),
    }
}

fn key(place: Place<'_>, prefix: &str, field: &str, suffix: &str) -> Result<String, Failure> {
    let own = format!("{}_{suffix}", place.secret);
    let upper = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' };
    let key: String = prefix.chars().chain(own.chars().map(upper)).collect();
    if key.starts_with(|c: char| c.is_ascii_digit()) {
        let because = format!("`{key}` begins with a digit, so no shell takes it for a variable");
        return Err(place.cannot_hold("dotenv", field, &because));
    }
    Ok(key)
}

fn write_value(text: &mut Text, value: &str) -> Result<(), &'static str> {
    if value.contains('\0') {
        return Err("it has a NUL, which no variable can have");
    }
    if !value.is_empty() && value.chars().all(is_bare) {
        text.push(value);
    } else if fits_single_quotes(value) {
        text.push("'");
        text.push(value);
        text.push("'");
    } else {
        if value.contains(['"', '\\']) && has_assignment_below_first_line(value) {
            return Err("for some readers its quotes would end early, and a line of it would be \
                        another variable");
        }
        text.push("\"");
        write_double_quoted(text, value);
        text.push("\"");
        if value.ends_with('\\') || (value.contains('"') && value.contains('\n')) {
            text.push(BOUND);
        }
    }
    Ok(())
}

fn is_bare(c: char) -> bool {
    c.is_ascii_alphanumeric() || "_./:@%+,=-".contains(c)
}

fn fits_single_quotes(value: &str) -> bool {
    let python_fits = !value.contains("\\\\");
    !value.contains('\'') && !value.ends_with('\\') && (python_fits || expands(value))
}

/// Whether double quotes would have to keep the shell from expanding something.
fn expands(value: &str) -> bool {
    value.contains('`') || value.match_indices('$').any(|(at, _)| dollar_expands(&value[at + 1..]))
}

fn dollar_expands(rest: &str) -> bool {
    rest.chars()
        .next()
        .is_some_and(|c| !c.is_ascii() || c.is_ascii_alphanumeric() || "_{([@*#?$!-".contains(c))
}

fn write_double_quoted(text: &mut Text, value: &str) {
    for (at, c) in value.char_indices() {
        if matches!(c, '"' | '\\' | '`') || (c == '$' && dollar_expands(&value[at + 1..])) {
            text.push("\\");
        }
        text.push_char(c);
    }
}

fn has_assignment_below_first_line(value: &str) -> bool {
    value
        .split(['\n', '\r'])
        .skip(1)
        .any(|line| line.contains(['=', ':']) && !line.starts_with(':'))
}
