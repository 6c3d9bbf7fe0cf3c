//! The table of all keys that the README has.
//!
//! Receives the list of keys, gives Markdown. Never says anything that is not in the list.

use std::fmt::Write;

use crate::config::keys::{Key, Keys, Otherwise, TOP, Takes};

/// One row for each key.
pub fn reference() -> String {
    let mut text = "| key | default | meaning |\n|---|---|---|\n".to_owned();
    rows(&mut text, "", &TOP);
    text
}

fn rows(text: &mut String, above: &str, keys: &Keys) {
    for key in keys.known {
        let path = format!("{above}{}", key.name);
        if !key.text.is_empty() {
            let _ = writeln!(text, "| `{path}` | {} | {} |", default(key), key.text);
        }
        if let Some((step, keys)) = key.takes.below() {
            rows(text, &format!("{path}{step}"), keys);
        }
    }
}

fn default(key: &Key) -> String {
    match (key.default, key.takes) {
        (Otherwise::Needed, _) => "needed".to_owned(),
        (Otherwise::None, _) => String::new(),
        (Otherwise::Depends(words), _) => words.to_owned(),
        (Otherwise::Value(value), Takes::Mode) => format!("`\"{value}\"`"),
        (Otherwise::Value(value), _) => format!("`{value}`"),
    }
}
