//! A setting in Vault's own words, as it stands in the file.
//!
//! Receives a map of the file, gives it as the JSON that Vault takes. Never knows which fields Vault
//! has: those that it dropped are found when it is read again. A secret is refused: Vault would not
//! show it, and a file that is reviewed is no place for it.

use serde_json::{Map, Number, Value};

use crate::config::expand::{ExpandError, expand};
use crate::config::raw::Section;
use crate::config::tree::Node;
use crate::vault::Setting;

/// What the name of a secret field ends with.
const SECRET: [&str; 4] = ["password", "secret", "reviewer_jwt", "private_key"];

/// Nested deeper, nothing of Vault's is.
const DEEPEST: usize = 4;

/// The map at `key` of `section`.
pub(super) fn setting(section: &Section<'_>, key: &str, node: &Node) -> Setting {
    match value(section, key, node, DEEPEST) {
        Some(Value::Object(fields)) => fields,
        Some(Value::Null) | None => Map::new(),
        Some(Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_)) => {
            let text = format!("must be a map of keys, not {}", node.kind());
            section.problem(key, text, "write Vault's own keys below it");
            Map::new()
        }
    }
}

fn value(section: &Section<'_>, key: &str, node: &Node, deep: usize) -> Option<Value> {
    let Some(deep) = deep.checked_sub(1) else {
        section.problem(key, "goes too deep", "no setting of Vault's does");
        return None;
    };
    match node {
        Node::Null => Some(Value::Null),
        Node::Boolean(yes) => Some(Value::Bool(*yes)),
        Node::Number(text) => {
            // As it stands there: Vault's own keys have whole numbers only.
            let number = text.parse::<u64>().ok().map(|number| Value::Number(Number::from(number)));
            Some(number.unwrap_or_else(|| Value::String(text.clone())))
        }
        Node::Text(text) | Node::Given { text, .. } => expanded(section, key, text),
        Node::List(items) => {
            let items = items.iter().map(|item| value(section, key, item, deep));
            Some(Value::Array(items.collect::<Option<Vec<Value>>>()?))
        }
        Node::Map(fields) => {
            let mut map = Map::new();
            for (name, node) in fields {
                let place = format!("{key}.{name}");
                if SECRET.iter().any(|end| name.ends_with(end)) {
                    let hint = "set it in Vault by hand: what the file does not name stays";
                    section.problem(&place, "a secret has no place in this file", hint);
                    continue;
                }
                if let Some(value) = value(section, &place, node, deep) {
                    map.insert(name.clone(), value);
                }
            }
            Some(Value::Object(map))
        }
    }
}

fn expanded(section: &Section<'_>, key: &str, text: &str) -> Option<Value> {
    let (problem, hint) = match expand(text, section.environment()) {
        Ok(text) => return Some(Value::String(text)),
        Err(ExpandError::Open) => {
            ("has a `${` without its `}`".to_owned(), "write `${NAME}` or `${NAME:-…}`")
        }
        Err(ExpandError::Name(name)) => {
            (format!("`{name}` is no name of a variable"), "letters, digits and `_`")
        }
        Err(ExpandError::Unset(name)) => {
            (format!("the variable `{name}` is not set"), "set it, or give a default")
        }
    };
    section.problem(key, problem, hint);
    None
}
