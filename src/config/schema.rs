//! A JSON Schema of the configuration, for editors.
//!
//! Receives the list of keys, gives draft 2020-12. Never knows what one key means to another: what
//! it lets pass may still be told by `leasehold check`.

use serde_json::{Map, Value, json};

use crate::config::keys::{Key, Keys, Otherwise, TOP, Takes};
use crate::config::value;

/// What has a variable in it is judged once that is replaced.
const VARIABLE: &str = r"\$\{";

const DURATION: &str = "([0-9]+(ms|s|m|h|d))+";

/// The schema.
pub fn schema() -> Value {
    let mut schema = section(&TOP);
    schema["$schema"] = json!("https://json-schema.org/draft/2020-12/schema");
    schema["title"] = json!("Leasehold's configuration");
    schema
}

fn section(keys: &Keys) -> Value {
    let properties: Map<String, Value> =
        keys.known.iter().map(|key| (key.name.to_owned(), property(key))).collect();
    let mut schema = json!({
        "type": "object",
        "properties": properties,
        "additionalProperties": false,
    });
    let needed = keys.known.iter().filter(|key| matches!(key.default, Otherwise::Needed));
    let needed: Vec<&str> = needed.map(|key| key.name).collect();
    if !needed.is_empty() {
        schema["required"] = json!(needed);
    }
    if !keys.one_of.is_empty() {
        let one_of = keys.one_of.iter().map(|key| json!({ "required": [key] }));
        schema["oneOf"] = one_of.collect();
    }
    schema
}

fn property(key: &Key) -> Value {
    let mut schema = takes(key.takes);
    if !key.text.is_empty() {
        schema["description"] = json!(key.text);
    }
    match (key.default, key.takes) {
        (Otherwise::Value(value), Takes::Boolean) => schema["default"] = json!(value == "true"),
        (Otherwise::Value(value), Takes::Number(..)) => {
            schema["default"] = value.parse::<u64>().map_or_else(|_| json!(value), Value::from);
        }
        (Otherwise::Value(value), _) => schema["default"] = json!(value),
        (Otherwise::Needed | Otherwise::None | Otherwise::Depends(_), _) => {}
    }
    schema
}

fn text(pattern: &str) -> Value {
    json!({ "type": "string", "pattern": pattern })
}

fn takes(takes: Takes) -> Value {
    match takes {
        Takes::Text | Takes::Expanded => json!({ "type": "string" }),
        Takes::File => text(&format!("^(/|$|.*{VARIABLE})")),
        Takes::Url => text(&format!("^(https?://|.*{VARIABLE})")),
        Takes::Address => text(&format!("^(.*:[0-9]+$|.*{VARIABLE})")),
        Takes::VaultPath => text(r"^(?!(.*/)?\.\.?(/|$))[^?#%\\]+$"),
        Takes::Duration => text(&format!("^{DURATION}$")),
        Takes::DurationOr(word) => text(&format!("^({word}|{DURATION})$")),
        Takes::Boolean => json!({ "type": "boolean" }),
        Takes::Number(least, most) => number(least, most),
        Takes::Mode => text("^0?[4-7][0145][0145]$"),
        Takes::Word(words) => json!({ "enum": words }),
        Takes::ExpandedWord(words) => json!({ "anyOf": [{ "enum": words }, text(VARIABLE)] }),
        Takes::Signal => {
            let names = value::SIGNALS.map(|(name, _)| name).join("|");
            text(&format!("^(SIG)?({names})$"))
        }
        Takes::Numbers => {
            json!({ "type": "array", "items": { "type": ["integer", "string"], "minimum": 0, "pattern": "^[0-9]+$" } })
        }
        Takes::SocketOr(keys) => json!({ "anyOf": [text("^unix:|\\$\\{"), section(keys)] }),
        Takes::Texts | Takes::ExpandedTexts | Takes::Command => {
            json!({ "type": "array", "items": { "type": "string" }, "minItems": 1 })
        }
        Takes::Names => json!({
            "type": "object",
            "propertyNames": { "pattern": r"^[^.]+\..+$" },
            "additionalProperties": { "type": "string", "pattern": "^[A-Za-z_][A-Za-z0-9_]*$" },
        }),
        Takes::Section(keys) => section(keys),
        Takes::Each(_, keys) => json!({
            "type": "object",
            "additionalProperties": section(keys),
            "minProperties": 1,
        }),
        Takes::List(keys) => json!({ "type": "array", "items": section(keys) }),
    }
}

fn number(least: u64, most: u64) -> Value {
    let pattern = format!("^([0-9]+$|.*{VARIABLE})");
    let mut schema = json!({ "type": ["integer", "string"], "minimum": least, "pattern": pattern });
    if most < u64::MAX {
        schema["maximum"] = json!(most);
    }
    schema
}
