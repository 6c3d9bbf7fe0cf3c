//! `{secret: {field: value}}`.
//!
//! Receives values, gives one JSON object. Never parses a field's JSON: a number with more digits
//! than a float has stays as Vault sent it.

use crate::render::formats::{Item, fields};
use crate::render::text::Text;
use crate::snapshot::{SecretName, Value};

/// Writes all fields of all `values`.
pub(super) fn write(text: &mut Text, values: &[(&SecretName, &Value)]) {
    write_object(text, 0, values, |text, (name, value)| {
        write_string(text, name);
        text.push(": ");
        write_object(text, 1, &fields(value), |text, (name, item)| {
            write_string(text, name);
            text.push(": ");
            match item {
                Item::Plain(plain) => write_string(text, plain),
                Item::Number(number) => text.push(&number.to_string()),
                Item::Text(secret) => write_string(text, secret.expose()),
                Item::Made(secret) => write_string(text, secret.expose()),
                Item::Json(json) => text.push(json.expose()),
            }
        });
    });
    text.push("\n");
}

fn write_object<T>(text: &mut Text, depth: usize, members: &[T], write: impl Fn(&mut Text, &T)) {
    let indent = "  ".repeat(depth);
    text.push("{");
    for (index, member) in members.iter().enumerate() {
        text.push(if index == 0 { "\n" } else { ",\n" });
        text.push(&indent);
        text.push("  ");
        write(text, member);
    }
    if !members.is_empty() {
        text.push("\n");
        text.push(&indent);
    }
    text.push("}");
}

fn write_string(text: &mut Text, string: &str) {
    text.push("\"");
    for c in string.chars() {
        match c {
            '"' => text.push("\\\""),
            '\\' => text.push("\\\\"),
            '\n' => text.push("\\n"),
            '\r' => text.push("\\r"),
            '\t' => text.push("\\t"),
            control if u32::from(control) < 0x20 => {
                text.push(&format!("\\u{:04x}", u32::from(control)));
            }
            other => text.push_char(other),
        }
    }
    text.push("\"");
}
