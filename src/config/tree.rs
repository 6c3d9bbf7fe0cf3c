//! The configuration file as a tree, before anybody asks what it means.
//!
//! Receives YAML text, gives a tree of keys and values or the place where it is no YAML. Never
//! quotes the text of the file in an error: a secret may stand there by mistake.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

/// One value and all below it.
#[derive(Clone, PartialEq)]
pub(super) enum Node {
    /// Nothing, `~` or `null`.
    Null,
    /// `true` or `false`.
    Boolean(bool),
    /// An unquoted number, as text.
    Number(String),
    /// Text, quoted or not.
    Text(String),
    /// Text that did not come from the file.
    Given {
        /// The variable or flag that it came from.
        by: String,
        /// The text.
        text: String,
    },
    /// `[…]` or lines with dashes.
    List(Vec<Node>),
    /// Keys and values.
    Map(BTreeMap<String, Node>),
}

impl Node {
    /// Whether nothing of it stands in the file.
    pub(super) fn is_given(&self) -> bool {
        match self {
            Self::Given { .. } => true,
            Self::Map(map) => map.values().all(Self::is_given),
            Self::Null | Self::Boolean(_) | Self::Number(_) | Self::Text(_) | Self::List(_) => {
                false
            }
        }
    }

    /// What a person would call it.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Null => "nothing",
            Self::Boolean(_) => "true or false",
            Self::Number(_) => "a number",
            Self::Text(_) | Self::Given { .. } => "text",
            Self::List(_) => "a list",
            Self::Map(_) => "a map",
        }
    }
}

/// Where and why a text is no YAML.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("line {line}, column {column}: {text}")]
pub struct SyntaxError {
    /// Counted from 1.
    pub line: u64,
    /// Counted from 1.
    pub column: u64,
    /// Why, with nothing of the file in it.
    pub text: &'static str,
}

/// Reads YAML; a file with nothing in it is an empty map.
///
/// # Errors
/// When it is no YAML, or names a key twice.
pub(super) fn parse(text: &str) -> Result<Node, SyntaxError> {
    let options = serde_saphyr::options! { with_snippet: false, strict_booleans: true };
    match serde_saphyr::from_str_with_options::<Node>(text, options) {
        Ok(Node::Null) => Ok(Node::Map(BTreeMap::new())),
        Ok(node) => Ok(node),
        Err(serde_saphyr::Error::Eof { .. }) => Ok(Node::Map(BTreeMap::new())),
        Err(error) => {
            let (line, column) = error.location().map_or((1, 1), |at| (at.line(), at.column()));
            Err(SyntaxError { line, column, text: reason(&error) })
        }
    }
}

// The parser's own words quote keys and values of the file.
fn reason(error: &serde_saphyr::Error) -> &'static str {
    use serde_saphyr::Error;
    let error = error.without_snippet();
    if matches!(error, Error::DuplicateMappingKey { .. }) {
        "the same key stands here twice"
    } else if matches!(error, Error::MultipleDocuments { .. }) {
        "a second document begins here"
    } else if matches!(error, Error::UnknownAnchor { .. }) {
        "an alias names an anchor that is not there"
    } else {
        "not valid YAML here, or just before"
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        input.deserialize_any(AnyNode)
    }
}

struct AnyNode;

impl<'de> Visitor<'de> for AnyNode {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E: de::Error>(self) -> Result<Node, E> {
        Ok(Node::Null)
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Node, E> {
        Ok(Node::Boolean(value))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Node, E> {
        Ok(Node::Number(value.to_string()))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Node, E> {
        Ok(Node::Number(value.to_string()))
    }

    fn visit_i128<E: de::Error>(self, value: i128) -> Result<Node, E> {
        Ok(Node::Number(value.to_string()))
    }

    fn visit_u128<E: de::Error>(self, value: u128) -> Result<Node, E> {
        Ok(Node::Number(value.to_string()))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Node, E> {
        Ok(Node::Number(value.to_string()))
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<Node, E> {
        Ok(Node::Text(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut input: A) -> Result<Node, A::Error> {
        let mut list = Vec::new();
        while let Some(node) = input.next_element()? {
            list.push(node);
        }
        Ok(Node::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut input: A) -> Result<Node, A::Error> {
        let mut map = BTreeMap::new();
        while let Some((key, node)) = input.next_entry::<String, Node>()? {
            map.insert(key, node);
        }
        Ok(Node::Map(map))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoted_and_unquoted_scalars_stay_apart() {
        let Node::Map(map) =
            parse("a: 0440\nb: \"0440\"\nc: 5m\nd: true\ne:\nf: no\ng: 5432\n").ok().unwrap()
        else {
            panic!("no map")
        };
        let kinds: Vec<_> = map.values().map(Node::kind).collect();
        assert_eq!(
            kinds,
            ["a number", "text", "text", "true or false", "nothing", "text", "a number"]
        );
    }

    #[test]
    fn an_empty_file_is_an_empty_map() {
        for text in ["", "\n", "# nothing\n", "---\n"] {
            assert!(parse(text) == Ok(Node::Map(BTreeMap::new())), "{text:?}");
        }
    }

    #[test]
    fn a_syntax_error_says_where_and_quotes_nothing() {
        for (text, line, reason) in [
            ("a: 1\nhvs.canary: 1\nhvs.canary: 2\n", 3, "twice"),
            ("a: 1\nb: [hvs.canary\nc: }\n", 3, "not valid"),
            ("a: *hvs.canary\n", 1, ""),
            ("a: \"hvs.canary\n", 1, "not valid"),
            ("a: 1\n---\nhvs.canary: 2\n", 3, "document"),
        ] {
            let error = parse(text).err().unwrap();
            assert!(error.text.contains(reason), "{text:?}: {error}");
            assert!(!error.to_string().contains("canary"), "{error}");
            assert_eq!(error.line, line, "{text:?}: {error}");
        }
    }
}
