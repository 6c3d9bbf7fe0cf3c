//! `${NAME}` and `${NAME:-default}` in values.
//!
//! Receives one value, gives it with every `${…}` replaced by a variable or its default. Never
//! looks at what it put in: a variable's value is not expanded again.

use crate::config::environment::Environment;

/// Why a value cannot be expanded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ExpandError {
    /// A `${` without its `}`.
    Open,
    /// This is no variable's name.
    Name(String),
    /// This variable is not set, and there is no default.
    Unset(String),
}

/// Replaces every `${…}`. As in a shell the default also stands in for an empty variable.
///
/// # Errors
/// At the first `${…}` that cannot be replaced.
pub(super) fn expand(value: &str, environment: &Environment) -> Result<String, ExpandError> {
    let mut text = String::new();
    let mut rest = value;
    while let Some((before, after)) = rest.split_once("${") {
        text.push_str(before);
        let (inside, after) = after.split_once('}').ok_or(ExpandError::Open)?;
        let (name, default) = match inside.split_once(":-") {
            Some((name, default)) => (name, Some(default)),
            None => (inside, None),
        };
        if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
            return Err(ExpandError::Name(name.to_owned()));
        }
        match environment.get(name).or(default) {
            Some(found) => text.push_str(found),
            None => return Err(ExpandError::Unset(name.to_owned())),
        }
        rest = after;
    }
    text.push_str(rest);
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_and_defaults_are_put_in_once() {
        let environment =
            Environment::new("h", [("HOST", "db1"), ("EMPTY", ""), ("TRICK", "${HOST}")]);
        for (value, expected) in [
            ("plain", Ok("plain")),
            ("${HOST}", Ok("db1")),
            ("https://${HOST:-x}:${PORT:-8200}", Ok("https://db1:8200")),
            ("${EMPTY:-default}", Ok("default")),
            ("${NONE:-}", Ok("")),
            ("${TRICK}", Ok("${HOST}")),
            ("$HOST {HOST}", Ok("$HOST {HOST}")),
            ("${NONE}", Err(ExpandError::Unset("NONE".to_owned()))),
            ("${HOST", Err(ExpandError::Open)),
            ("${A-B}", Err(ExpandError::Name("A-B".to_owned()))),
        ] {
            assert_eq!(expand(value, &environment).as_deref(), expected.as_deref(), "{value}");
        }
    }
}
