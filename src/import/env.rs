//! A file of `NAME=value` lines, as the dotenv libraries read it.
//!
//! Receives its text, gives the fields. Never guesses: where python-dotenv, Node's dotenv and Docker
//! Compose would read different values, the line is refused and its number told, not what stands
//! there.

use std::iter::Peekable;
use std::str::CharIndices;

use zeroize::Zeroizing;

use crate::error::Failure;
use crate::import::{Wanted, text};
use crate::snapshot::Fields;

const LITERAL: &str = "write it between single quotes; or, where the file is Docker's and each value is what stands \
     behind the `=`, add `--literal`";

/// The fields of `file` that are `wanted`.
///
/// # Errors
/// With the first line that is no such line, or that is read in more than one way.
pub fn env(file: &str, wanted: Wanted<'_>) -> Result<Fields, Failure> {
    let mut fields = Fields::new();
    let mut rest = file.strip_prefix('\u{feff}').unwrap_or(file);
    let mut number = 1;
    while !rest.is_empty() {
        let line = rest.split('\n').next().unwrap_or_default();
        let trimmed = line.trim();
        if trimmed.is_empty() || trimmed.starts_with('#') {
            rest = rest.get(line.len() + 1..).unwrap_or_default();
            number += 1;
            continue;
        }
        let (name, behind) = name(line).ok_or_else(|| {
            wrong(number, "it is no `NAME=value`", "comments begin with `#`, names have no spaces")
        })?;
        let start = line.len() - behind.len();
        let (value, length) = match value(&rest[start..]) {
            // Of a value without quotes it is known where it ends.
            Err(_) if !wanted(name) && !is_quoted(behind) => (Zeroizing::default(), behind.len()),
            found => found.map_err(|(why, hint)| wrong(number, why, hint))?,
        };
        if wanted(name) && fields.insert(name.to_owned(), text(&value)).is_some() {
            let why = format!("`{name}` stands above it already");
            return Err(wrong(
                number,
                &why,
                "keep one of the two: readers differ in which one counts",
            ));
        }
        let used = start + length;
        number += rest[..used].matches('\n').count() + 1;
        rest = rest.get(used + 1..).unwrap_or_default();
    }
    Ok(fields)
}

pub(super) fn wrong(number: usize, why: &str, hint: &str) -> Failure {
    super::wrong(format!("line {number}: {why}"), hint)
}

/// The name, and what stands behind its `=`.
pub(super) fn name(line: &str) -> Option<(&str, &str)> {
    let (name, behind) = line.split_once('=')?;
    let name = name.trim();
    let name = name.strip_prefix("export ").map_or(name, str::trim);
    let mut characters = name.chars();
    let first = characters.next()?;
    let good = (first.is_ascii_alphabetic() || first == '_')
        && characters.all(|c| c.is_ascii_alphanumeric() || c == '_');
    good.then_some((name, behind))
}

fn is_quoted(behind: &str) -> bool {
    behind.trim_start().starts_with(['\'', '"', '`'])
}

type Refused = (&'static str, &'static str);

/// The value at the beginning of `behind`, and how much of it is used up, without the line's end.
fn value(behind: &str) -> Result<(Zeroizing<String>, usize), Refused> {
    let line = behind.split('\n').next().unwrap_or_default();
    let padding = line.len() - line.trim_start().len();
    match line.trim_start().chars().next() {
        Some(quote @ ('\'' | '"')) => {
            let start = padding + 1;
            let (value, length) = quoted(&behind[start..], quote)?;
            let after = behind[start + length..].split('\n').next().unwrap_or_default();
            if !after.trim().is_empty() && !after.trim_start().starts_with('#') {
                return Err(("something stands behind the closing quote", LITERAL));
            }
            Ok((value, start + length + after.len()))
        }
        Some('`') => Err(("only some readers know the quote `", LITERAL)),
        Some(_) | None => Ok((Zeroizing::new(bare(line.trim())?.to_owned()), line.len())),
    }
}

fn bare(value: &str) -> Result<&str, Refused> {
    if value.contains('#') {
        return Err(("readers differ in where a comment begins", LITERAL));
    }
    if value.contains('$') {
        return Err(("some readers put a variable in at `$`", LITERAL));
    }
    Ok(value)
}

/// Up to the closing quote, which is used up too.
fn quoted(text: &str, quote: char) -> Result<(Zeroizing<String>, usize), Refused> {
    let mut value = Zeroizing::new(String::with_capacity(text.len()));
    let mut characters = text.char_indices().peekable();
    while let Some((at, character)) = characters.next() {
        match character {
            c if c == quote => return Ok((value, at + 1)),
            '\\' => value.push_str(escape(&mut characters, quote)?),
            '$' if quote == '"' => return Err(("some readers put a variable in at `$`", LITERAL)),
            '\r' => return Err(("a value goes over lines that end with `\\r\\n`", LITERAL)),
            c => value.push(c),
        }
    }
    Err(("a quote is not closed", "close it, or leave both out"))
}

/// What a backslash and the next character are to every reader.
fn escape(
    characters: &mut Peekable<CharIndices<'_>>,
    quote: char,
) -> Result<&'static str, Refused> {
    let next = characters.peek().map(|(_, next)| *next);
    match (quote, next) {
        ('"', Some('n')) => {
            characters.next();
            Ok("\n")
        }
        ('\'', Some(next)) if next != '\'' && next != '\\' => Ok("\\"),
        _ => Err(("readers differ in what this backslash means", LITERAL)),
    }
}
