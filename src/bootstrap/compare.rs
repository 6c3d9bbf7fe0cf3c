//! A setting of Vault compared with what it should be.
//!
//! Receives both, gives the fields that differ. Never looks at fields that nobody asked for: those
//! are Vault's own, or somebody else's.

use std::time::Duration;

use serde_json::Value;

use crate::config::duration;
use crate::timeline::span;
use crate::vault::Setting;

/// A field that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Difference {
    /// Vault's name for it.
    pub(super) field: String,
    /// What it has and should not, as a person may see it.
    pub(super) gone: Vec<String>,
    /// What it should have and has not.
    pub(super) come: Vec<String>,
}

/// The fields of `wanted` that are otherwise in `found`.
pub(super) fn differences(wanted: &Setting, found: &Setting) -> Vec<Difference> {
    let differing = wanted.iter().filter(|(field, value)| {
        let there = found.get(*field).unwrap_or(&Value::Null);
        !same(field, value, there)
    });
    let difference = |(field, value): (&String, &Value)| {
        let there = found.get(field).unwrap_or(&Value::Null);
        let (come, gone) = (items(field, value), items(field, there));
        let without = |of: &[String], other: &[String]| -> Vec<String> {
            of.iter().filter(|item| !other.contains(item)).cloned().collect()
        };
        let (less, more) = (without(&gone, &come), without(&come, &gone));
        // The same items in another order.
        let (gone, come) =
            if less.is_empty() && more.is_empty() { (gone, come) } else { (less, more) };
        Difference { field: field.clone(), gone, come }
    };
    differing.map(difference).collect()
}

/// Vault gives durations as seconds, single words as lists, and lists of names sorted.
fn same(field: &str, wanted: &Value, found: &Value) -> bool {
    if is_empty(wanted) && is_empty(found) {
        return true;
    }
    match (wanted, found) {
        (Value::Array(_), _) | (_, Value::Array(_)) => {
            let (mut wanted, mut found) = (texts(wanted), texts(found));
            if !is_ordered(field) {
                wanted.sort();
                found.sort();
            }
            wanted == found
        }
        (Value::Object(wanted), Value::Object(found)) => {
            let same_field = |(key, value): (&String, &Value)| {
                found.get(key).is_some_and(|it| same(key, value, it))
            };
            wanted.len() == found.len() && wanted.iter().all(same_field)
        }
        (Value::String(text), Value::Number(number)) => {
            let seconds = duration(text).map(|span| span.as_secs());
            *text == number.to_string() || (seconds.is_some() && seconds == number.as_u64())
        }
        (
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_),
            _,
        ) => text(wanted) == text(found),
    }
}

/// Statements are run one after the other.
fn is_ordered(field: &str) -> bool {
    field.ends_with("_statements")
}

/// What Vault leaves out or fills with nothing.
pub(super) fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        Value::Bool(yes) => !yes,
        Value::Number(number) => number.as_u64() == Some(0),
    }
}

/// The items of a list, also of one with commas.
fn texts(value: &Value) -> Vec<String> {
    match value {
        Value::Null => Vec::new(),
        Value::Array(items) => items.iter().map(text).collect(),
        Value::String(list) => list.split(',').map(|item| item.trim().to_owned()).collect(),
        other @ (Value::Bool(_) | Value::Number(_) | Value::Object(_)) => vec![text(other)],
    }
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other @ (Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)) => {
            other.to_string()
        }
    }
}

/// As a person may see it.
fn items(field: &str, value: &Value) -> Vec<String> {
    let shown = match value {
        Value::Null => Vec::new(),
        Value::Array(items) => items.iter().map(text).collect(),
        Value::Number(number) if is_span(field) => {
            let seconds = number.as_u64().unwrap_or_default();
            vec![span(Duration::from_secs(seconds))]
        }
        other @ (Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_)) => {
            vec![text(other)]
        }
    };
    shown.iter().map(|item| if field.ends_with("url") { url(item) } else { item.clone() }).collect()
}

fn is_span(field: &str) -> bool {
    ["ttl", "period"].iter().any(|end| field.ends_with(end))
}

/// Somebody may have put a password into it by hand, in one of several ways. What Vault puts in has
/// braces; of anything else only an address with nothing before or behind is shown.
fn url(text: &str) -> String {
    let placed = text.contains("{{username}}:{{password}}@");
    let plain = !text.contains('@') && text.contains("://") && !text.contains('?');
    let shows = (placed || plain) && !text.to_lowercase().contains("password=");
    if shows || text.is_empty() { text.to_owned() } else { "…".to_owned() }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn setting(value: Value) -> Setting {
        let Value::Object(setting) = value else { panic!("no object") };
        setting
    }

    #[test]
    fn what_vault_writes_otherwise_is_the_same() {
        for (field, wanted, found) in [
            ("default_ttl", json!("24h"), json!(86_400)),
            ("default_ttl", json!(86_400), json!(86_400)),
            ("token_policies", json!(["b", "a"]), json!(["a", "b"])),
            ("token_policies", json!("b,a"), json!(["a", "b"])),
            ("audience", json!(""), Value::Null),
            ("bound_claims", json!({"a": ["x"]}), json!({"a": "x"})),
            ("bind_secret_id", json!(false), Value::Null),
        ] {
            assert!(same(field, &wanted, &found), "{field}: {wanted} {found}");
        }
        for (field, wanted, found) in [
            ("default_ttl", json!("24h"), json!(86_401)),
            ("token_policies", json!(["a"]), json!(["a", "b"])),
            ("creation_statements", json!(["b", "a"]), json!(["a", "b"])),
            ("bound_claims", json!({"a": "x"}), json!({"a": "x", "b": "y"})),
            ("audience", json!("x"), Value::Null),
        ] {
            assert!(!same(field, &wanted, &found), "{field}: {wanted} {found}");
        }
    }

    #[test]
    fn a_difference_names_the_field_and_what_is_otherwise() {
        let wanted = setting(json!({
            "max_ttl": 259_200, "creation_statements": ["one", "two"], "same": "x",
            "connection_url": "postgresql://{{username}}:{{password}}@new/db",
        }));
        let found = setting(json!({
            "max_ttl": 3600, "creation_statements": ["one", "drift"], "same": "x", "other": 1,
            "connection_url": "postgresql://me:secret@old/db",
        }));
        let texts = differences(&wanted, &found);
        let texts: Vec<_> = texts
            .iter()
            .map(|one| format!("{}: {:?} {:?}", one.field, one.gone, one.come))
            .collect();
        assert_eq!(
            texts,
            [
                "connection_url: [\"…\"] \
                 [\"postgresql://{{username}}:{{password}}@new/db\"]",
                "creation_statements: [\"drift\"] [\"two\"]",
                "max_ttl: [\"1h\"] [\"72h\"]",
            ]
        );
    }

    #[test]
    fn no_password_in_a_url_is_shown() {
        for hidden in [
            "postgresql://me:canary@h/d",
            "host=h user=me password=canary",
            "postgresql://h/d?user=me&password=canary",
            "postgresql://{{username}}:{{password}}@h/d?sslpassword=canary",
        ] {
            assert_eq!(url(hidden), "…");
        }
        for shown in ["https://k8s", "postgresql://{{username}}:{{password}}@h/d?sslmode=disable"] {
            assert_eq!(url(shown), shown);
        }
    }

    #[test]
    fn another_order_of_statements_is_a_difference() {
        let (wanted, found) =
            (json!({ "x_statements": ["a", "b"] }), json!({ "x_statements": ["b", "a"] }));
        let found = differences(&setting(wanted), &setting(found));
        assert_eq!(found[0].come, ["a", "b"]);
    }
}
