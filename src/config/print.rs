//! The configuration as it is once defaults, environment and flags are in it.
//!
//! Receives the tree of the file with all of that laid over it, gives YAML that says the same, with
//! a remark where a value does not stand in the file. Never shows what may be confidential: the
//! arguments of commands and what follows the `?` of a URL.

use std::fmt::Write;

use crate::agent::{Confirm, Refresh, SecretPolicy};
use crate::config::Config;
use crate::config::environment::Environment;
use crate::config::expand::expand;
use crate::config::keys::{Key, Keys, Otherwise, TOP, Takes};
use crate::config::resolve::LEASED_ONLY;
use crate::config::tree::Node;
use crate::config::value::duration_text;
use crate::vault::Auth;

/// What stands in place of what is not shown.
const MASKED: &str = "[redacted]";

/// Remarks begin here, where lines are shorter.
const REMARKS: usize = 44;

/// The text of `tree`, which was resolved to `config`.
pub(super) fn print(tree: &Node, config: &Config, environment: &Environment) -> String {
    let mut page = Page { text: String::new(), config, environment };
    page.section(&TOP, Some(tree), "", 0);
    page.text
}

struct Page<'a> {
    text: String,
    config: &'a Config,
    environment: &'a Environment,
}

/// A value on one line, and where it comes from.
struct Shown {
    value: String,
    remark: Option<String>,
}

impl Page<'_> {
    fn section(&mut self, keys: &Keys, node: Option<&Node>, path: &str, depth: usize) {
        for key in keys.known {
            let below = entry(node, key.name);
            let path = format!("{path}{}", key.name);
            // What the environment says of a Vault that nothing comes from is not used.
            if path == "vault" && self.config.vault.is_none() {
                continue;
            }
            match key.takes {
                Takes::Section(keys) if below.is_some() || depth == 0 => {
                    self.nest(key.name, depth, |page| {
                        page.section(keys, below, &format!("{path}."), depth + 1);
                    });
                }
                Takes::Section(_) if key.name == "auth" => {
                    self.line(depth, "# auth", &self.token());
                }
                Takes::Section(_) => {}
                Takes::SocketOr(keys) if matches!(below, Some(Node::Map(_))) => {
                    self.nest(key.name, depth, |page| {
                        page.section(keys, below, &format!("{path}."), depth + 1);
                    });
                }
                Takes::Each(_, keys) => self.nest(key.name, depth, |page| {
                    for (name, node) in entries(below) {
                        page.nest(&quoted(name), depth + 1, |page| {
                            page.section(keys, Some(node), &format!("{path}.{name}."), depth + 2);
                        });
                    }
                }),
                Takes::List(keys) => self.nest(key.name, depth, |page| {
                    for (index, item) in items(below).iter().enumerate() {
                        page.nest("-", depth + 1, |page| {
                            page.section(keys, Some(item), &format!("{path}[{index}]."), depth + 2);
                        });
                    }
                }),
                Takes::Names => self.nest(key.name, depth, |page| {
                    for (name, node) in entries(below) {
                        if let Some(shown) = page.scalar(key, node) {
                            page.line(depth + 1, &quoted(name), &shown);
                        }
                    }
                }),
                Takes::Text
                | Takes::Expanded
                | Takes::File
                | Takes::Url
                | Takes::Address
                | Takes::VaultPath
                | Takes::Duration
                | Takes::DurationOr(_)
                | Takes::Boolean
                | Takes::Number(..)
                | Takes::Mode
                | Takes::Word(_)
                | Takes::ExpandedWord(_)
                | Takes::Signal
                | Takes::Texts
                | Takes::ExpandedTexts
                | Takes::Numbers
                | Takes::SocketOr(_)
                | Takes::Command => {
                    let shown = match below {
                        Some(node) => self.scalar(key, node),
                        None => self.default(key, &path),
                    };
                    if let Some(shown) = shown {
                        self.line(depth, key.name, &shown);
                    }
                }
            }
        }
    }

    /// `name:` and what `write` writes below it; nothing where that is nothing.
    fn nest(&mut self, name: &str, depth: usize, write: impl FnOnce(&mut Self)) {
        let before = std::mem::take(&mut self.text);
        write(self);
        let below = std::mem::replace(&mut self.text, before);
        let indent = "  ".repeat(depth);
        if name == "-" && !below.is_empty() {
            // The first key stands on the line of the dash.
            let _ = write!(self.text, "{indent}- {}", below.trim_start());
        } else if !below.is_empty() {
            let _ = write!(self.text, "{indent}{name}:\n{below}");
        }
    }

    fn line(&mut self, depth: usize, name: &str, Shown { value, remark }: &Shown) {
        let line = format!("{}{name}: {value}", "  ".repeat(depth));
        let _ = match remark {
            Some(remark) => writeln!(self.text, "{line:<REMARKS$} # {remark}"),
            None => writeln!(self.text, "{line}"),
        };
    }

    fn scalar(&self, key: &Key, node: &Node) -> Option<Shown> {
        let plain = |value: &str| Shown { value: value.to_owned(), remark: None };
        Some(match node {
            Node::Null | Node::Map(_) => return None,
            Node::Boolean(value) => plain(if *value { "true" } else { "false" }),
            Node::Number(text) => plain(text),
            Node::Text(text) if text.is_empty() => return None,
            Node::Text(text) => self.text(key, text, None),
            Node::Given { by, text } => self.text(key, text, Some(by)),
            Node::List(items) => {
                let texts = items.iter().filter_map(|item| match item {
                    Node::Text(text) => Some(self.text(key, text, None).value),
                    Node::Number(text) => Some(text.clone()),
                    Node::Null
                    | Node::Boolean(_)
                    | Node::Given { .. }
                    | Node::List(_)
                    | Node::Map(_) => None,
                });
                let mut texts: Vec<String> = texts.collect();
                if let Takes::Command = key.takes {
                    texts.iter_mut().skip(1).for_each(|text| *text = quoted(MASKED));
                }
                plain(&format!("[{}]", texts.join(", ")))
            }
        })
    }

    fn text(&self, key: &Key, text: &str, by: Option<&String>) -> Shown {
        let expanded = match key.takes.expands() {
            true => expand(text, self.environment).unwrap_or_else(|_| text.to_owned()),
            false => text.to_owned(),
        };
        // What is masked in a URL may stand there as a default, too.
        let is_url = matches!(key.takes, Takes::Url);
        let replaced = || if is_url { variables(text) } else { text.to_owned() };
        let remark = by.cloned().or_else(|| (expanded != text).then(replaced));
        let value = match (key.takes, expanded.split_once(['?', '#'])) {
            (Takes::Url, Some((url, _))) => quoted(&format!("{url}?{MASKED}")),
            (Takes::Boolean | Takes::Duration | Takes::DurationOr(_), _) => expanded,
            // Several, by a variable.
            (Takes::Texts | Takes::ExpandedTexts | Takes::Numbers, _) if by.is_some() => {
                let items = expanded.split(',').map(|item| quoted(item.trim()));
                format!("[{}]", items.collect::<Vec<_>>().join(", "))
            }
            _ => quoted(&expanded),
        };
        Shown { value, remark }
    }

    /// What `key` is where nobody says, as far as it is anything.
    fn default(&self, key: &Key, path: &str) -> Option<Shown> {
        if self.means_nothing(path) {
            return None;
        }
        let value = match (key.default, key.takes) {
            (
                Otherwise::Value(text),
                Takes::Boolean | Takes::Duration | Takes::DurationOr(_) | Takes::Number(..),
            ) => text.to_owned(),
            (Otherwise::Value(text), Takes::Mode) => format!("\"{text}\""),
            (Otherwise::Value(text), _) => quoted(text),
            (Otherwise::Needed | Otherwise::None | Otherwise::Depends(_), _) => {
                self.derived(path)?
            }
        };
        Some(Shown { value, remark: Some("default".to_owned()) })
    }

    /// Whether it is about leases, and the secret has none, or is switched off.
    fn means_nothing(&self, path: &str) -> bool {
        let Some((name, key)) = path.strip_prefix("secrets.").and_then(|it| it.split_once('.'))
        else {
            return false;
        };
        let leased = matches!(self.config.policy.secrets.get(name), Some(SecretPolicy::Leased(_)));
        !leased && LEASED_ONLY.contains(&key)
    }

    /// Defaults that depend on something else.
    fn derived(&self, path: &str) -> Option<String> {
        if path == "instance" {
            return Some(quoted(&self.config.instance));
        }
        let (name, key) = path.strip_prefix("secrets.")?.split_once('.')?;
        match (self.config.policy.secrets.get(name)?, key) {
            (SecretPolicy::Polled(polled), "kv.poll" | "read.poll" | "database.poll") => {
                match polled.refresh {
                    Refresh::Asked(poll) => Some(duration_text(poll)),
                    Refresh::Made | Refresh::Local(_) => None,
                }
            }
            (SecretPolicy::Leased(leased), "confirm") => Some(
                match leased.confirm {
                    Confirm::Moved => "moved",
                    Confirm::Told => "told",
                    Confirm::None => "none",
                }
                .to_owned(),
            ),
            (SecretPolicy::Polled(_) | SecretPolicy::Leased(_), _) => None,
        }
    }

    /// How the environment's token shows.
    fn token(&self) -> Shown {
        let from = ["BAO_TOKEN", "VAULT_TOKEN"];
        let from = from.into_iter().find(|name| self.environment.get(name).is_some());
        let auth = self.config.vault.as_ref().map(|vault| &vault.auth);
        let is_token = matches!(auth, Some(Auth::Token(_)));
        Shown {
            value: format!("{MASKED}, a token"),
            remark: from.filter(|_| is_token).map(str::to_owned),
        }
    }
}

fn entries(node: Option<&Node>) -> impl Iterator<Item = (&String, &Node)> {
    let map = match node {
        Some(Node::Map(map)) => Some(map),
        Some(
            Node::Null
            | Node::Boolean(_)
            | Node::Number(_)
            | Node::Text(_)
            | Node::Given { .. }
            | Node::List(_),
        )
        | None => None,
    };
    map.into_iter().flatten()
}

fn entry<'a>(node: Option<&'a Node>, name: &str) -> Option<&'a Node> {
    let found = entries(node).find(|(key, _)| *key == name).map(|(_, node)| node);
    found.filter(|node| **node != Node::Null && **node != Node::Text(String::new()))
}

fn items(node: Option<&Node>) -> &[Node] {
    match node {
        Some(Node::List(items)) => items,
        Some(
            Node::Null
            | Node::Boolean(_)
            | Node::Number(_)
            | Node::Text(_)
            | Node::Given { .. }
            | Node::Map(_),
        )
        | None => &[],
    }
}

/// The variables that stand in `text`, without their defaults.
fn variables(text: &str) -> String {
    let names = text.split("${").skip(1).filter_map(|rest| rest.split([':', '}']).next());
    names.map(|name| format!("${{{name}}}")).collect::<Vec<_>>().join(" ")
}

/// Text that YAML reads as the same text.
fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_./:@+-".contains(c);
    let word = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/');
    let special = ["true", "false", "null", "yes", "no", "on", "off", "y", "n"];
    let special = special.contains(&text.to_lowercase().as_str());
    if word && !special && text.chars().all(plain) && !text.ends_with(':') {
        return text.to_owned();
    }
    serde_json::Value::from(text).to_string()
}
