//! The shape of the file: sections, the keys that each may have, and typed values.
//!
//! Receives a tree, gives the values that stand in it. Never stops at a wrong one: the problem is
//! written down, a default stands in, and reading goes on.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use crate::config::environment::Environment;
use crate::config::expand::{ExpandError, expand};
use crate::config::keys::{Key, Keys, Takes};
use crate::config::problem::{Problems, nearest};
use crate::config::tree::Node;
use crate::config::value;

/// Longer values are a mistake.
const LONGEST: usize = 4096;

/// Ten years.
const LONGEST_SPAN: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);

/// What every section shares while a file is read.
pub(super) struct Reading<'a> {
    /// All problems found so far.
    pub(super) problems: RefCell<Problems>,
    /// For `${…}`.
    pub(super) environment: &'a Environment,
    /// Every file that was named so far.
    pub(super) files: RefCell<BTreeSet<PathBuf>>,
}

/// One map of the file.
pub(super) struct Section<'a> {
    reading: &'a Reading<'a>,
    path: String,
    entries: Option<&'a BTreeMap<String, Node>>,
    /// Those that it may have; `None` where they are names that the user chose.
    keys: Option<&'static Keys>,
}

impl<'a> Section<'a> {
    /// Opens the map at `path`; a missing one is empty. Keys that do not belong there are problems.
    pub(super) fn open(
        reading: &'a Reading<'a>,
        path: &str,
        node: Option<&'a Node>,
        keys: &'static Keys,
    ) -> Self {
        let section = Self { keys: Some(keys), ..Self::open_any(reading, path, node) };
        for key in section.entries.into_iter().flat_map(BTreeMap::keys) {
            if keys.get(key).is_some() {
                continue;
            }
            if keys.later.contains(&key.as_str()) {
                section.problem(key, "not in this version", "leave it out");
                continue;
            }
            let hint = match nearest(key, keys.names()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("known here: {}", keys.names().collect::<Vec<_>>().join(", ")),
            };
            section.problem(key, "unknown key", hint);
        }
        section
    }

    /// Opens a map whose keys are names that the user chose.
    pub(super) fn open_any(reading: &'a Reading<'a>, path: &str, node: Option<&'a Node>) -> Self {
        let entries = match node {
            Some(Node::Map(entries)) => Some(entries),
            None | Some(Node::Null) => None,
            Some(other) => {
                let text = format!("must be a map of keys, not {}", other.kind());
                let hint = "write `key: value` lines below it, each two spaces further in";
                reading.problems.borrow_mut().add(path, text, hint);
                None
            }
        };
        Self { reading, path: path.to_owned(), entries, keys: None }
    }

    /// The path of `key`.
    pub(super) fn at(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    /// What is known of `key`.
    fn known(&self, key: &str) -> Option<&'static Key> {
        self.keys?.get(key)
    }

    /// How a value of `key` is written.
    fn form(&self, key: &str) -> String {
        self.known(key).map_or_else(|| Takes::Text.form(), |known| known.takes.form())
    }

    /// Writes down what is wrong with `key` and what to do about it.
    pub(super) fn problem(&self, key: &str, text: impl Into<String>, hint: impl Into<String>) {
        self.reading.problems.borrow_mut().add(&self.at(key), text, hint);
    }

    /// How many problems were written down so far, anywhere.
    pub(super) fn found(&self) -> usize {
        self.reading.problems.borrow().len()
    }

    /// Writes down what deserves a look.
    pub(super) fn warn(&self, key: &str, text: &str) {
        self.reading.problems.borrow_mut().warn(&self.at(key), text);
    }

    /// The environment.
    pub(super) fn environment(&self) -> &'a Environment {
        self.reading.environment
    }

    /// What stands at `key`; empty text counts as nothing.
    pub(super) fn get(&self, key: &str) -> Option<&'a Node> {
        let empty = |node: &Node| *node == Node::Null || *node == Node::Text(String::new());
        self.entries?.get(key).filter(|node| !empty(node))
    }

    /// Whether anything stands at `key`.
    pub(super) fn has(&self, key: &str) -> bool {
        self.get(key).is_some()
    }

    /// All keys with what stands there.
    pub(super) fn entries(&self) -> impl Iterator<Item = (&'a String, &'a Node)> + use<'a> {
        self.entries.into_iter().flatten()
    }

    /// The section at `key`.
    pub(super) fn section(&self, key: &str, keys: &'static Keys) -> Section<'a> {
        Self::open(self.reading, &self.at(key), self.get(key), keys)
    }

    /// The section at `key` whose keys are names that the user chose.
    pub(super) fn names(&self, key: &str) -> Section<'a> {
        Self::open_any(self.reading, &self.at(key), self.get(key))
    }

    /// The section below one of [`Section::entries`].
    pub(super) fn below(&self, key: &str, node: &'a Node, keys: &'static Keys) -> Section<'a> {
        Self::open(self.reading, &self.at(key), Some(node), keys)
    }

    /// Text without control characters.
    pub(super) fn text(&self, key: &str) -> Option<String> {
        let text = match self.get(key)? {
            Node::Text(text) | Node::Given { text, .. } => text,
            other @ (Node::Boolean(_) | Node::Number(_)) => {
                let problem = format!("must be text, not {}", other.kind());
                self.problem(key, problem, "put it in quotes");
                return None;
            }
            other @ (Node::Null | Node::List(_) | Node::Map(_)) => {
                self.problem(key, format!("must be text, not {}", other.kind()), self.form(key));
                return None;
            }
        };
        if text.len() > LONGEST {
            self.problem(
                key,
                format!("longer than {LONGEST} bytes"),
                "write less: this is most likely a mistake",
            );
            return None;
        }
        if text.chars().any(char::is_control) {
            self.problem(
                key,
                "has a control character or a line break in it",
                "write it on one line, without escapes",
            );
            return None;
        }
        Some(text.clone())
    }

    /// Text that must be there.
    pub(super) fn required_text(&self, key: &str) -> Option<String> {
        self.require(key);
        self.text(key)
    }

    /// Writes down that `key` must be there, where it is not.
    pub(super) fn require(&self, key: &str) {
        if !self.has(key) {
            let hint = match self.known(key).map(|known| known.text) {
                Some(text) if !text.is_empty() => format!("it is: {text}"),
                Some(_) | None => self.form(key),
            };
            self.problem(key, "missing", hint);
        }
    }

    /// Text with every `${…}` replaced.
    pub(super) fn expanded(&self, key: &str) -> Option<String> {
        self.expand(key, &self.text(key)?)
    }

    fn expand(&self, key: &str, text: &str) -> Option<String> {
        match expand(text, self.reading.environment) {
            Ok(text) if text.chars().any(char::is_control) => {
                self.problem(
                    key,
                    "a variable puts a control character or a line break into it",
                    "set it to one line of text",
                );
                None
            }
            Ok(text) if text.is_empty() => {
                let hint = "set its variable, or give a default: `${NAME:-…}`";
                self.problem(key, "is empty once its variables are put in", hint);
                None
            }
            Ok(text) => Some(text),
            Err(ExpandError::Open) => {
                self.problem(key, "has a `${` without its `}`", "write `${NAME}` or `${NAME:-…}`");
                None
            }
            Err(ExpandError::Name(name)) => {
                self.problem(
                    key,
                    format!("`{name}` is no name of a variable"),
                    "letters, digits and `_`, no digit first",
                );
                None
            }
            Err(ExpandError::Unset(name)) => {
                let hint = format!("set it, or give a default: `${{{name}:-…}}`");
                self.problem(key, format!("the variable `{name}` is not set"), hint);
                None
            }
        }
    }

    /// As [`Section::expanded`], where text of nothing but empty variables is as good as none.
    pub(super) fn optional(&self, key: &str) -> Option<String> {
        (!self.is_blank(key)).then(|| self.expanded(key)).flatten()
    }

    /// Whether nothing stands at `key`, or only variables that are empty.
    pub(super) fn is_blank(&self, key: &str) -> bool {
        match self.get(key) {
            None => true,
            Some(Node::Text(text) | Node::Given { text, .. }) => {
                expand(text, self.reading.environment).is_ok_and(|text| text.is_empty())
            }
            Some(
                Node::Null | Node::Boolean(_) | Node::Number(_) | Node::List(_) | Node::Map(_),
            ) => false,
        }
    }

    /// A file that is read, absolute, with every `${…}` replaced.
    pub(super) fn file(&self, key: &str) -> Option<PathBuf> {
        let file = self.directory(key)?;
        self.reading.files.borrow_mut().insert(file.clone());
        Some(file)
    }

    /// The file that is read where nobody names another.
    pub(super) fn usual_file(&self, path: &str) -> PathBuf {
        let file = PathBuf::from(path);
        self.reading.files.borrow_mut().insert(file.clone());
        file
    }

    /// A directory, absolute, with every `${…}` replaced.
    pub(super) fn directory(&self, key: &str) -> Option<PathBuf> {
        let text = self.expanded(key)?;
        if !text.starts_with('/') || text.split('/').any(|part| part == "..") {
            self.problem(
                key,
                "must be an absolute path without `..`",
                "write it as `/etc/leasehold/name`",
            );
            return None;
        }
        Some(PathBuf::from(text))
    }

    /// As [`Section::file`], where text of nothing but empty variables is as good as none.
    pub(super) fn optional_file(&self, key: &str) -> Option<PathBuf> {
        (!self.is_blank(key)).then(|| self.file(key)).flatten()
    }

    /// `true` or `false`.
    pub(super) fn boolean(&self, key: &str, default: bool) -> bool {
        match self.get(key) {
            None => default,
            Some(Node::Boolean(value)) => *value,
            Some(Node::Given { text, .. }) if text == "true" => true,
            Some(Node::Given { text, .. }) if text == "false" => false,
            Some(other) => {
                self.problem(
                    key,
                    format!("must be `true` or `false`, not {}", other.kind()),
                    "write it without quotes",
                );
                default
            }
        }
    }

    /// A whole number, also as text.
    pub(super) fn number(&self, key: &str) -> Option<u64> {
        let text = match self.get(key)? {
            Node::Number(text) => text.clone(),
            Node::Text(_) | Node::Given { .. } => self.expanded(key)?,
            other @ (Node::Null | Node::Boolean(_) | Node::List(_) | Node::Map(_)) => {
                self.problem(
                    key,
                    format!("must be a whole number, not {}", other.kind()),
                    "write it as `15`",
                );
                return None;
            }
        };
        let number = text.parse().ok();
        if number.is_none() {
            self.problem(
                key,
                format!("must be a whole number: `{}`", shown(&text)),
                "write it as `15`",
            );
        }
        number
    }

    /// A duration of at least `least`.
    pub(super) fn duration(&self, key: &str, least: Duration) -> Option<Duration> {
        if let Some(Node::Number(number)) = self.get(key) {
            let hint = format!("did you mean `{number}s`?");
            self.problem(key, "a duration needs a unit", hint);
            return None;
        }
        let text = self.text(key)?;
        let Some(span) = value::duration(&text) else {
            let problem = format!("not a duration: `{}`", shown(&text));
            self.problem(key, problem, "write it as `500ms`, `90s`, `5m` or `24h`");
            return None;
        };
        if span < least {
            let problem = format!("must be at least {}", value::duration_text(least));
            self.problem(key, problem, "write a longer one");
            return None;
        }
        if span > LONGEST_SPAN {
            self.problem(key, "longer than ten years", "write a shorter one");
            return None;
        }
        Some(span)
    }

    /// As [`Section::duration`], in whole seconds.
    pub(super) fn whole_seconds(&self, key: &str, least: Duration) -> Option<Duration> {
        let span = self.duration(key, least)?;
        if span.subsec_nanos() != 0 {
            self.problem(
                key,
                "must be whole seconds",
                "write it as `90s` or `5m`: Vault counts in seconds",
            );
        }
        Some(span)
    }

    /// One of a few words.
    pub(super) fn choice<T: Copy>(
        &self,
        key: &str,
        words: &[(&str, T)],
        later: &[&str],
    ) -> Option<T> {
        self.word(key, &self.text(key)?, words, later)
    }

    /// As [`Section::choice`], with every `${…}` replaced.
    pub(super) fn expanded_choice<T: Copy>(&self, key: &str, words: &[(&str, T)]) -> Option<T> {
        self.word(key, &self.expanded(key)?, words, &[])
    }

    fn word<T: Copy>(
        &self,
        key: &str,
        text: &str,
        words: &[(&str, T)],
        later: &[&str],
    ) -> Option<T> {
        if let Some((_, value)) = words.iter().find(|(word, _)| *word == text) {
            return Some(*value);
        }
        if later.contains(&text) {
            let known: Vec<_> = words.iter().map(|(word, _)| *word).collect();
            let hint = format!("one of {}", known.join(", "));
            self.problem(key, format!("not in this version: `{text}`"), hint);
            return None;
        }
        let known: Vec<_> = words.iter().map(|(word, _)| *word).collect();
        let hint = match nearest(text, known.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("one of {}", known.join(", ")),
        };
        self.problem(key, format!("unknown word: `{}`", shown(text)), hint);
        None
    }

    /// A list of texts, in each every `${…}` replaced.
    pub(super) fn expanded_list(&self, key: &str) -> Option<Vec<String>> {
        let texts = if self.has(key) { self.texts(key)? } else { return None };
        Some(texts.iter().filter_map(|text| self.expand(key, text)).collect())
    }

    /// A list of texts, none twice.
    pub(super) fn list(&self, key: &str) -> Option<Vec<String>> {
        let mut texts = self.texts(key)?;
        let mut seen = BTreeSet::new();
        texts.retain(|text| {
            let first = seen.insert(text.clone());
            if !first {
                self.problem(
                    key,
                    format!("names `{}` twice", shown(text)),
                    "leave one of them out",
                );
            }
            first
        });
        Some(texts)
    }

    /// A list of texts.
    pub(super) fn texts(&self, key: &str) -> Option<Vec<String>> {
        let Node::List(items) = self.get(key)? else {
            self.problem(
                key,
                "must be a list, such as `[db, mail]`",
                "write the dashes or the brackets also around a single one",
            );
            return None;
        };
        let mut texts = Vec::new();
        for item in items {
            match item {
                Node::Text(text) => texts.push(text.clone()),
                other @ (Node::Null
                | Node::Boolean(_)
                | Node::Number(_)
                | Node::Given { .. }
                | Node::List(_)
                | Node::Map(_)) => {
                    let problem = format!("must list texts, not {}", other.kind());
                    self.problem(key, problem, "put it in quotes");
                }
            }
        }
        Some(texts)
    }
}

/// A wrong value as a message may show it: short, on one line.
pub(super) fn shown(text: &str) -> String {
    let short: String = text.chars().take(40).flat_map(char::escape_debug).collect();
    if text.chars().count() > 40 { format!("{short}…") } else { short }
}

/// A wrong URL as a message may show it: a secret often stands in what follows the `?`.
pub(super) fn shown_url(url: &str) -> String {
    shown(url.split(['?', '#']).next().unwrap_or_default())
}
