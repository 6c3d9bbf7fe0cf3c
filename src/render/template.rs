//! A file that the user writes, in the syntax of Jinja.
//!
//! Receives a template and values, gives its text, or the line where it failed. Never repeats in an
//! error what the engine says of a failed line: that may quote a value. Names are repeated where
//! they stand in that line.
//!
//! A name that is not there is an error, not an empty text, whatever is done with it. There is
//! nothing to include or import, and nothing is escaped: quoting is the template's own duty, as
//! with `tojson`.

mod lookup;

use std::fmt;
use std::io;
use std::sync::Arc;

use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Kwargs, Value, ValueKind};
use minijinja::{
    AutoEscape, Environment, Error, ErrorKind, UndefinedBehavior, escape_formatter, filters,
};

use crate::error::{Class, Failure};
use crate::render::template::lookup::{Missing, Others, Seen};
use crate::render::text::Text;
use crate::snapshot::{SecretName, Snapshot};

/// What one rendering may do: about so many instructions, and 64 bytes of text for each.
const FUEL: u64 = 100_000;

/// How deep macros may call macros.
const DEPTH: usize = 50;

/// A longer result is a mistake, in bytes.
const LONGEST: usize = 1 << 20;

/// A template that was compiled once without an error.
#[derive(Clone, PartialEq, Eq)]
pub struct Template {
    path: String,
    source: Arc<str>,
    secrets: Vec<SecretName>,
}

impl fmt::Debug for Template {
    // Somebody may have written a secret into the template.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Template").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Template {
    /// Compiles `source`, which was read from `path`; `secrets` are all that it may name.
    ///
    /// # Errors
    /// When it is no template, or names what is neither a secret nor made by itself.
    pub fn compile(
        path: String,
        source: String,
        secrets: Vec<SecretName>,
    ) -> Result<Self, Failure> {
        let template = Self { path, source: source.into(), secrets };
        template.check()?;
        Ok(template)
    }

    fn check(&self) -> Result<(), Failure> {
        let engine = engine();
        let compiled = engine
            .template_from_named_str(&self.path, &self.source)
            .map_err(|error| self.syntax_failure(&error))?;
        let ours = |name: &str| name == lookup::ALL || self.secrets.iter().any(|s| **s == *name);
        let global = |name: &str| engine.globals().any(|(known, _)| known == name);
        let mut unknown: Vec<String> = compiled.undeclared_variables(false).into_iter().collect();
        unknown.retain(|name| !ours(name) && !global(name));
        unknown.sort();
        match unknown.first() {
            Some(name) => {
                let text = format!("there is no secret `{name}`");
                Err(self.failure(None, Class::Missing, &text).hint(self.known()))
            }
            None => Ok(()),
        }
    }

    /// Which secrets the text might use.
    pub(super) fn secrets(&self) -> &[SecretName] {
        &self.secrets
    }

    /// The text; `None` when it uses a secret that has no value.
    pub(super) fn render(&self, snapshot: &Snapshot) -> Result<Option<Text>, Failure> {
        let (result, seen) = self.run(snapshot, Others::Absent);
        if seen.other { Ok(None) } else { result.map(Some) }
    }

    /// Whether the template can use the values in `snapshot`, whatever the others are.
    pub(super) fn try_out(&self, snapshot: &Snapshot) -> Result<(), Failure> {
        let (result, seen) = self.run(snapshot, Others::Unknown);
        match result {
            // A stand-in is not what the template expects there, and nobody knows what is.
            Err(_) if seen.other && seen.missing.is_none() => Ok(()),
            result => result.map(drop),
        }
    }

    fn run(&self, snapshot: &Snapshot, others: Others) -> (Result<Text, Failure>, Seen) {
        let (context, seen) = lookup::context(&self.secrets, snapshot, others);
        let mut result = Bounded(Text::default());
        let engine = engine();
        let rendered = engine
            .template_from_named_str(&self.path, &self.source)
            .and_then(|template| template.render_captured_to(context, &mut result).map(drop));
        let seen = seen.take();
        let line = rendered.as_ref().err().and_then(Error::line);
        let result = match (rendered, &seen.missing) {
            // Whatever the engine made of it.
            (_, Some(missing)) => Err(self.missing_failure(line, missing)),
            (Ok(()), None) => Ok(result.0),
            (Err(error), None) => Err(self.runtime_failure(&error)),
        };
        (result, seen)
    }

    /// Whether `line` has `name` in it. Then it is no value that nobody may see.
    fn line_names(&self, line: Option<usize>, name: &str) -> bool {
        let in_word = |c: char| c.is_alphanumeric() || c == '_';
        line.and_then(|line| self.source.lines().nth(line - 1)).is_some_and(|line| {
            line.match_indices(name).any(|(at, found)| {
                !line[..at].ends_with(in_word) && !line[at + found.len()..].starts_with(in_word)
            })
        })
    }

    fn missing_failure(&self, line: Option<usize>, missing: &Missing) -> Failure {
        let failure = |text: &str| self.failure(line, Class::Missing, text);
        match missing {
            Missing::Secret(name) if self.line_names(line, name) => {
                failure(&format!("there is no secret `{name}`")).hint(self.known())
            }
            Missing::Secret(_) => failure("there is no such secret").hint(self.known()),
            Missing::Field { secret, name, known } => {
                let known = format!("it has: {}", known.join(", "));
                match self.line_names(line, name) {
                    true => failure(&format!("secret `{secret}` has no field `{name}`")),
                    false => failure(&format!("secret `{secret}` has no such field")),
                }
                .hint(known)
            }
            Missing::Inside(secret) => {
                failure(&format!("a field of secret `{secret}` has no such member"))
            }
        }
    }

    fn runtime_failure(&self, error: &Error) -> Failure {
        let failure = |class, text: &str| self.failure(error.line(), class, text);
        let kind = error.kind();
        if kind == ErrorKind::UndefinedError {
            failure(Class::Missing, "something that is not there is used")
        } else if kind == ErrorKind::OutOfFuel {
            failure(Class::Ours, "does more than a template may")
        } else if kind == ErrorKind::WriteFailure {
            failure(Class::Ours, &format!("its text is longer than {LONGEST} bytes"))
        } else {
            let text = match self.quoted(error) {
                Some(name) => format!("{kind} `{name}`"),
                None => kind.to_string(),
            };
            failure(Class::Ours, &text).hint("no more is said, since a value may stand in it")
        }
    }

    /// The filter, test, function or method that is not known: the second word of what the engine
    /// says.
    fn quoted<'e>(&self, error: &'e Error) -> Option<&'e str> {
        let named = matches!(
            error.kind(),
            ErrorKind::UnknownFilter | ErrorKind::UnknownTest | ErrorKind::UnknownFunction
        );
        let word = error.detail()?.split(' ').nth(1)?;
        (named && self.line_names(error.line(), word)).then_some(word)
    }

    /// No value is known yet: whatever the engine says can only quote the template.
    fn syntax_failure(&self, error: &Error) -> Failure {
        let text = match error.detail() {
            Some(detail) => detail.to_owned(),
            None => error.kind().to_string(),
        };
        self.failure(error.line(), Class::Ours, &text)
    }

    fn failure(&self, line: Option<usize>, class: Class, text: &str) -> Failure {
        let line = line.map(|line| format!(", line {line}")).unwrap_or_default();
        Failure::new(class, format!("`{}`{line}: {text}", self.path))
    }

    fn known(&self) -> String {
        format!("there is: {}", self.secrets.join(", "))
    }
}

fn engine<'source>() -> Environment<'source> {
    let mut engine = Environment::new();
    engine.set_undefined_behavior(UndefinedBehavior::Strict);
    engine.set_auto_escape_callback(|_| AutoEscape::None);
    engine.set_fuel(Some(FUEL));
    engine.set_recursion_limit(DEPTH);
    engine.add_filter("tojson", to_json);
    engine.add_filter("urlencode", url_encode);
    for of_html_or_for_show in ["escape", "e", "pprint"] {
        engine.remove_filter(of_html_or_for_show);
    }
    // It shows all there is.
    engine.remove_global("debug");
    if let Ok(syntax) = SyntaxConfig::builder().keep_trailing_newline(true).build() {
        engine.set_syntax(syntax);
    }
    // As JSON has them, and with it the other formats.
    engine.set_formatter(|out, state, value| match (value.kind(), value.is_true()) {
        (ValueKind::None, _) => Ok(out.write_str("null")?),
        (ValueKind::Bool, flag) => Ok(out.write_str(if flag { "true" } else { "false" })?),
        _ => escape_formatter(out, state, value),
    });
    engine
}

/// To filters that would make an empty text of nothing.
fn there(value: &Value) -> Result<&Value, Error> {
    match value.is_undefined() {
        true => Err(Error::from(ErrorKind::UndefinedError)),
        false => Ok(value),
    }
}

/// The engine's own filter, with more of a text escaped: what TOML does not take, and what YAML
/// takes for a line break.
fn to_json(value: &Value, indent: Option<Value>, options: Kwargs) -> Result<String, Error> {
    let json = filters::tojson(there(value)?, indent, options)?;
    let mut text = String::new();
    for c in json.as_str().unwrap_or_default().chars() {
        match u32::from(c) {
            code @ (0x7f..=0x9f | 0x2028 | 0x2029 | 0xfeff | 0xfffe | 0xffff) => {
                text.push_str(&format!("\\u{code:04x}"));
            }
            _ => text.push(c),
        }
    }
    Ok(text)
}

/// The engine's own filter, with `/` encoded as well: it ends a password in a URL.
fn url_encode(value: &Value) -> Result<String, Error> {
    Ok(filters::urlencode(there(value)?)?.replace('/', "%2F"))
}

/// Takes text up to [`LONGEST`].
struct Bounded(Text);

impl io::Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let piece = std::str::from_utf8(bytes).map_err(io::Error::other)?;
        if self.0.len() + piece.len() > LONGEST {
            return Err(io::Error::other("too long"));
        }
        self.0.push(piece);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
