//! What may stand in a request.
//!
//! Receives the address, namespace, mounts and paths of the configuration, gives them in the form
//! in which they are sent. Never lets through what the request builder would drop without a word
//! (`..`, empty segments) or panic on (control characters).

use reqwest::Url;
use reqwest::header::HeaderValue;

use crate::error::{Class, Failure};
use crate::secret::Secret;

/// The server's address as `scheme://host:port`, with no slash at the end.
pub(super) fn address(text: &str) -> Result<String, Failure> {
    let shown = shown(text);
    let refuse = |why: &str| {
        Failure::new(Class::Ours, format!("use the vault address `{shown}`: {why}"))
            .hint("write it like `https://vault.example:8200`")
    };
    let url = Url::parse(text.trim()).map_err(|error| refuse(&error.to_string()))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(refuse("it is neither http nor https"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(refuse("it names a user"));
    }
    if url.path() != "/" || url.query().is_some() || url.fragment().is_some() {
        return Err(refuse("it has a path"));
    }
    Ok(url.as_str().trim_end_matches('/').to_owned())
}

/// The header for `namespace`, `None` where it is empty.
pub(super) fn namespace(text: &str) -> Result<Option<HeaderValue>, Failure> {
    if text.trim().trim_matches('/').is_empty() {
        return Ok(None);
    }
    let checked = path("namespace", text)?;
    HeaderValue::from_str(&checked).map(Some).map_err(|_| {
        Failure::new(Class::Ours, "use the vault namespace: it has characters outside ASCII")
    })
}

/// The header for `token`.
pub(super) fn token(token: &Secret) -> Result<HeaderValue, Failure> {
    let text = token.expose().trim();
    let printable = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
    let header = HeaderValue::from_str(text).ok().filter(|_| printable);
    let mut header = header.ok_or_else(|| {
        Failure::new(Class::Ours, "use the vault token: it is empty or has characters no token has")
    })?;
    header.set_sensitive(true);
    Ok(header)
}

/// A mount, role or path with no slash at either end; `what` names it in the error.
pub(super) fn path(what: &str, text: &str) -> Result<String, Failure> {
    let trimmed = text.trim().trim_matches('/');
    let refuse =
        |why: &str| Failure::new(Class::Ours, format!("use the {what} `{}`: {why}", shown(text)));
    if trimmed.is_empty() {
        return Err(refuse("it is empty"));
    }
    if trimmed.chars().any(char::is_control) {
        return Err(refuse("it has a control character"));
    }
    for segment in trimmed.split('/') {
        if segment.is_empty() {
            return Err(refuse("it has an empty segment"));
        }
        if matches!(segment, "." | "..") {
            return Err(refuse("`.` and `..` are not resolved"));
        }
    }
    Ok(trimmed.to_owned())
}

/// `text` without control characters, cut to a length that fits into one line of a log.
fn shown(text: &str) -> String {
    text.trim().chars().map(|c| if c.is_control() { '?' } else { c }).take(200).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_scheme_a_host_and_a_port() {
        assert_eq!(address(" https://v.example:8200/ \n").unwrap(), "https://v.example:8200");
        assert_eq!(address("http://[::1]:8200").unwrap(), "http://[::1]:8200");
        for bad in
            ["", "v.example:8200", "ftp://v", "https://v/ui", "https://u:p@v", "https://v/?a"]
        {
            assert_eq!(address(bad).unwrap_err().class, Class::Ours, "{bad}");
        }
    }

    #[test]
    fn a_path_keeps_its_segments() {
        assert_eq!(path("path", "/team/app db/ ").unwrap(), "team/app db");
        for bad in ["", " / ", "a//b", "a/../b", ".", "a/./b", "a\nb", "a\0b"] {
            assert_eq!(path("path", bad).unwrap_err().class, Class::Ours, "{bad:?}");
        }
    }

    #[test]
    fn a_token_is_trimmed_and_never_shown() {
        let header = token(&Secret::new("s.abc\n".into())).unwrap();
        assert_eq!(header.as_bytes(), b"s.abc");
        assert_eq!(format!("{header:?}"), "Sensitive");
        for bad in ["", "\n", "s.a\nb", "s.a b", "s.ä"] {
            assert!(token(&Secret::new(bad.into())).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_namespace_may_be_nested_or_absent() {
        assert_eq!(namespace("").unwrap(), None);
        assert_eq!(namespace("a/b/").unwrap().unwrap(), "a/b");
        assert!(namespace("a\r\nX-Evil: 1").is_err());
    }
}
