//! Secrets in files of this machine, for development with no Vault at all.
//!
//! Receives a path and the version that is known, gives the fields that the file has. Never quotes
//! the file in an error: keys and lines, and no values.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;
use std::sync::Arc;

use aws_lc_rs::hmac;
use rustix::fs::{Mode, OFlags, open};
use serde::de::{self, Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use zeroize::Zeroizing;

use crate::agent::event::Reading;
use crate::error::{Class, Failure};
use crate::lease::Granted;
use crate::secret::Secret;
use crate::snapshot::{Field, Fields, Version, fingerprint};

/// A longer file holds no secrets of one service.
const LONGEST: u64 = 1 << 20;

/// Reads the file where what it says is not `known`; `key` keys the hash by which that is told.
///
/// # Errors
/// `Missing` when there is no such file, `Ours` when it cannot be read or is no flat map of fields.
pub fn read(path: &Path, key: &hmac::Key, known: Option<&Version>) -> Result<Reading, Failure> {
    let refuse =
        |class, why: &str| Failure::new(class, format!("read `{}`: {why}", path.display()));
    let text = whole(path).map_err(|error| {
        let missing = error.kind() == io::ErrorKind::NotFound;
        refuse(if missing { Class::Missing } else { Class::Ours }, &error.to_string())
    })?;
    let fields = fields(&text).map_err(|why| {
        refuse(Class::Ours, &why).hint("one line for each field, as `api_key: \"…\"`, or JSON")
    })?;
    let version = fingerprint(key, &fields);
    if known == Some(&version) {
        return Ok(Reading::Same { left: None });
    }
    Ok(Reading::New { version, content: Granted::Fields(Arc::new(fields)), left: None })
}

/// The text of the file at `path`. Whatever is there, reading ends at once.
///
/// # Errors
/// When it is no regular file, or longer than a file of secrets is.
pub fn whole(path: &Path) -> io::Result<Zeroizing<String>> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = File::from(open(path, flags, Mode::empty())?);
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::other("it is no regular file"));
    }
    if metadata.len() > LONGEST {
        return Err(io::Error::other(format!("it is longer than {LONGEST} bytes")));
    }
    // Growing by itself, the buffer would leave copies behind.
    let room = usize::try_from(metadata.len()).unwrap_or(0) + 1;
    let mut text = Zeroizing::new(String::with_capacity(room));
    file.take(LONGEST).read_to_string(&mut text)?;
    Ok(text)
}

/// The fields, or what is wrong. A number or truth value is what it is in Vault, JSON, where it is
/// written as JSON has it; any other, as `007`, is the text that stands there.
fn fields(text: &str) -> Result<Fields, String> {
    let kinds: BTreeMap<String, Kind> = parse(text)?;
    if kinds.is_empty() {
        return Err("it has no fields".to_owned());
    }
    for (name, kind) in &kinds {
        let what = match kind {
            Kind::Text | Kind::Other => continue,
            Kind::Nothing => "nothing",
            Kind::Nested => "more keys or a list",
        };
        let name: String = name.chars().take(40).flat_map(char::escape_debug).collect();
        return Err(format!("`{name}` has {what}, and needs one value"));
    }
    let texts: BTreeMap<String, String> = parse(text)?;
    let field = |(name, text): (String, String)| {
        let secret = Secret::new(text);
        let json = kinds.get(&name) == Some(&Kind::Other) && is_json(&secret);
        (name, if json { Field::Json(secret) } else { Field::Text(secret) })
    };
    Ok(texts.into_iter().map(field).collect())
}

fn is_json(text: &Secret) -> bool {
    serde_json::from_str::<IgnoredAny>(text.expose()).is_ok()
}

fn parse<T: de::DeserializeOwned>(text: &str) -> Result<T, String> {
    let options = serde_saphyr::options! { with_snippet: false, strict_booleans: true };
    serde_saphyr::from_str_with_options(text, options).map_err(|error| {
        // The parser's own words quote keys and values.
        let (line, column) = error.location().map_or((1, 1), |at| (at.line(), at.column()));
        format!("no map of fields, at line {line}, column {column} or just before")
    })
}

/// What stands at a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Text,
    /// A number, `true` or `false`.
    Other,
    Nothing,
    Nested,
}

impl<'de> Deserialize<'de> for Kind {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        input.deserialize_any(AnyKind)
    }
}

struct AnyKind;

impl<'de> Visitor<'de> for AnyKind {
    type Value = Kind;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E: de::Error>(self) -> Result<Kind, E> {
        Ok(Kind::Nothing)
    }

    fn visit_bool<E: de::Error>(self, _: bool) -> Result<Kind, E> {
        Ok(Kind::Other)
    }

    fn visit_i64<E: de::Error>(self, _: i64) -> Result<Kind, E> {
        Ok(Kind::Other)
    }

    fn visit_u64<E: de::Error>(self, _: u64) -> Result<Kind, E> {
        Ok(Kind::Other)
    }

    fn visit_i128<E: de::Error>(self, _: i128) -> Result<Kind, E> {
        Ok(Kind::Other)
    }

    fn visit_u128<E: de::Error>(self, _: u128) -> Result<Kind, E> {
        Ok(Kind::Other)
    }

    fn visit_f64<E: de::Error>(self, _: f64) -> Result<Kind, E> {
        Ok(Kind::Other)
    }

    fn visit_str<E: de::Error>(self, _: &str) -> Result<Kind, E> {
        Ok(Kind::Text)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut input: A) -> Result<Kind, A::Error> {
        while input.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Kind::Nested)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut input: A) -> Result<Kind, A::Error> {
        while input.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Kind::Nested)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Field {
        Field::Text(Secret::new(text.to_owned()))
    }

    fn json(text: &str) -> Field {
        Field::Json(Secret::new(text.to_owned()))
    }

    #[test]
    fn yaml_and_json_are_read_and_nothing_is_rewritten() {
        for (file, wanted) in [
            ("a: b\nc: \"d\\n\"\n", vec![("a", text("b")), ("c", text("d\n"))]),
            (
                "a: 1.50\nb: 007\nc: true\n",
                vec![("a", json("1.50")), ("b", text("007")), ("c", json("true"))],
            ),
            (
                "a: '1'\nb: no\nc: \"\"\n",
                vec![("a", text("1")), ("b", text("no")), ("c", text(""))],
            ),
            ("a: |\n  x\n  y\n", vec![("a", text("x\ny\n"))]),
            (
                r#"{"a":"\u00e9\"\\","b":12345678901234567890123}"#,
                vec![("a", text("é\"\\")), ("b", json("12345678901234567890123"))],
            ),
            (r#"{"a": "\ud83d\ude00"}"#, vec![("a", text("😀"))]),
        ] {
            let wanted: Fields =
                wanted.into_iter().map(|(name, field)| (name.to_owned(), field)).collect();
            let found = fields(file).unwrap_or_else(|error| panic!("{file}: {error}"));
            assert!(found == wanted, "{file}: {:?}", found.keys());
        }
    }

    #[test]
    fn what_is_wrong_is_told_by_key_and_line_and_without_values() {
        for (file, wanted) in [
            ("", "no fields"),
            ("# nothing\n", "no fields"),
            ("{}", "no fields"),
            ("canary", "no map of fields"),
            ("- canary\n", "no map of fields"),
            ("a: b\nc: \"canary\n", "line 2"),
            ("a: {canary: canary}\n", "`a` has more keys"),
            ("a: [canary]\n", "`a` has more keys or a list"),
            ("a: canary\nkey:\n", "`key` has nothing"),
            ("a: canary\na: canary\n", "line 2"),
            ("a: canary\n---\nb: canary\n", "line"),
            ("a: *canary\n", "line 1"),
        ] {
            let error = fields(file).err().unwrap_or_else(|| panic!("{file} is read"));
            assert!(error.contains(wanted), "{file:?}: {error}");
            assert!(!error.contains("canary"), "{error}");
        }
    }

    #[test]
    fn only_short_regular_files_are_read() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        let key = hmac::Key::new(hmac::HMAC_SHA256, b"key");
        std::fs::write(at("long"), vec![b'#'; 1 << 21]).unwrap();
        std::fs::write(at("bytes"), [0xff, 0xfe]).unwrap();
        nix::unistd::mkfifo(&at("pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        for (name, class) in [
            ("none", Class::Missing),
            ("long", Class::Ours),
            ("bytes", Class::Ours),
            ("pipe", Class::Ours),
            (".", Class::Ours),
        ] {
            assert_eq!(read(&at(name), &key, None).unwrap_err().class, class, "{name}");
        }
        std::fs::write(at("good"), "a: b\n").unwrap();
        let Ok(Reading::New { version, .. }) = read(&at("good"), &key, None) else { panic!() };
        std::fs::write(at("good"), "{\"a\": \"b\"}").unwrap();
        let same = read(&at("good"), &key, Some(&version)).unwrap();
        assert!(matches!(same, Reading::Same { .. }), "the same value is new");
    }
}
