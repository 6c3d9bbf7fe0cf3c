//! `{secret: {field: value}}`, every value a quoted text.
//!
//! Receives values, gives one YAML document. Never leaves a key or a value to a reader's guess: in
//! quotes `no`, `1e3` and `~` are the same to YAML 1.1 and 1.2. What is no text, as a list, is its
//! JSON text.

use crate::error::Failure;
use crate::render::formats::{Place, fields};
use crate::render::text::Text;
use crate::snapshot::{SecretName, Value};

/// Readers look this far for the colon behind a key.
const LONGEST_KEY: usize = 1000;

/// Writes all fields of all `values`.
pub(super) fn write(
    text: &mut Text,
    file: &str,
    values: &[(&SecretName, &Value)],
) -> Result<(), Failure> {
    for (secret, value) in values {
        write_string(text, secret);
        let fields = fields(value);
        text.push(if fields.is_empty() { ": {}\n" } else { ":\n" });
        for (field, item) in fields {
            let start = text.len();
            text.push("  ");
            write_string(text, field);
            if text.len() - start > LONGEST_KEY {
                let because = "its name is longer than a key of YAML may be";
                return Err(Place { file, secret }.cannot_hold("yaml", field, because));
            }
            text.push(": ");
            write_string(text, &item.as_text());
            text.push("\n");
        }
    }
    Ok(())
}

fn write_string(text: &mut Text, string: &str) {
    text.push("\"");
    for c in string.chars() {
        match (c, u32::from(c)) {
            ('"', _) => text.push("\\\""),
            ('\\', _) => text.push("\\\\"),
            ('\n', _) => text.push("\\n"),
            ('\r', _) => text.push("\\r"),
            ('\t', _) => text.push("\\t"),
            (_, code @ (0..0x20 | 0x7f..=0xa0)) => text.push(&format!("\\x{code:02x}")),
            // Line breaks to YAML 1.1, a byte order mark, and what no document may have in it.
            (_, code @ (0x2028 | 0x2029 | 0xfeff | 0xfffe | 0xffff)) => {
                text.push(&format!("\\u{code:04x}"));
            }
            (other, _) => text.push_char(other),
        }
    }
    text.push("\"");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::Format;
    use crate::render::tests::{connection, database, failure, kv, secret, text};
    use crate::snapshot::Field;

    fn yaml(secrets: &[&str]) -> Format {
        Format::Yaml { secrets: secrets.iter().map(|name| SecretName::from(*name)).collect() }
    }

    #[test]
    fn golden() {
        let all = [
            ("db", database("a\"\\\n\u{1}é\u{85}\u{2028}", vec![], Some(connection()))),
            (
                "mail",
                kv(&[("no", Field::Json(secret("[1,\"x\"]"))), ("~", Field::Text(secret("~")))]),
            ),
            ("none", kv(&[])),
        ];
        let expected = r#""db":
  "username": "v-app-1"
  "password": "a\"\\\n\x01é\x85\u2028"
  "host": "a.internal,b.internal"
  "port": "5432"
  "dbname": "nova"
  "sslmode": "verify-full"
  "sslrootcert": "/etc/ca.pem"
"mail":
  "no": "[1,\"x\"]"
  "~": "~"
"none": {}
"#;
        assert_eq!(text(yaml(&["db", "mail", "none"]), &all), expected);
    }

    #[test]
    fn a_key_that_readers_do_not_take_is_refused() {
        let long = "k".repeat(LONGEST_KEY);
        let all = [("mail", kv(&[(long.as_str(), Field::Text(secret("hunter2")))]))];
        let failure = failure(yaml(&["mail"]), &all).to_string();
        assert!(failure.contains("longer than a key of YAML"), "{failure}");
        assert!(!failure.contains("hunter2"), "{failure}");
    }
}
