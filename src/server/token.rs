//! The token that a caller on a port must show.
//!
//! Read from its file for each question, so that another one counts at once. Never says how much
//! of a wrong one was right.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, digest};
use hyper::header::{AUTHORIZATION, HeaderMap};
use zeroize::Zeroizing;

use crate::error::{Class, Failure};

/// A shorter one could be guessed.
const SHORTEST: usize = 16;

const LONGEST: u64 = 4096;

/// The token in the file at `path`.
///
/// # Errors
/// When it cannot be read, is too short, or is more than a token.
pub fn read(path: &Path) -> Result<Zeroizing<String>, Failure> {
    let refuse = |why: &str| {
        let text = format!("read the token of the api from `{}`: {why}", path.display());
        Failure::new(Class::Ours, text)
            .hint(format!("put {SHORTEST} or more random letters and digits there, and no more"))
    };
    // A pipe would hold everything up.
    if std::fs::metadata(path).is_ok_and(|found| !found.is_file()) {
        return Err(refuse("it is no file"));
    }
    let mut text = Zeroizing::new(String::new());
    File::open(path)
        .and_then(|file| file.take(LONGEST).read_to_string(&mut text))
        .map_err(|error| refuse(&error.to_string()))?;
    let token = Zeroizing::new(text.trim().to_owned());
    if token.len() < SHORTEST {
        return Err(refuse("it is too short"));
    }
    if !token.chars().all(|c| c.is_ascii_graphic()) {
        return Err(refuse("something stands in it that no header takes"));
    }
    Ok(token)
}

/// The token that `headers` show. Of two, which one counts would be a guess.
pub(super) fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut all = headers.get_all(AUTHORIZATION).iter();
    let (Some(only), None) = (all.next(), all.next()) else { return None };
    let (scheme, token) = only.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// Whether `headers` show `token`.
pub(super) fn shown(headers: &HeaderMap, token: &str) -> bool {
    // Of the same length, whatever was sent.
    let hash = |text: &str| digest(&SHA256, text.as_bytes());
    bearer(headers).is_some_and(|given| {
        verify_slices_are_equal(hash(given).as_ref(), hash(token).as_ref()).is_ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_token_is_the_token() {
        let token = "0123456789abcdef";
        for (value, expected) in [
            ("Bearer 0123456789abcdef", true),
            ("bearer  0123456789abcdef", true),
            ("Bearer 0123456789abcde", false),
            ("Bearer 0123456789abcdef0", false),
            ("Bearer ", false),
            ("Basic 0123456789abcdef", false),
            ("0123456789abcdef", false),
        ] {
            let headers = HeaderMap::from_iter([(AUTHORIZATION, value.parse().unwrap())]);
            assert_eq!(shown(&headers, token), expected, "{value}");
        }
        assert!(!shown(&HeaderMap::new(), token));
        let mut two = HeaderMap::new();
        for value in ["Bearer 0123456789abcdef", "Bearer other"] {
            two.append(AUTHORIZATION, value.parse().unwrap());
        }
        assert!(!shown(&two, token));
    }

    #[test]
    fn a_file_holds_one_token() {
        let file = tempfile::NamedTempFile::new().unwrap();
        for (text, expected) in [
            ("0123456789abcdef\n", true),
            ("0123456789abcde\n", false),
            ("", false),
            ("0123456789abcdef more", false),
            ("0123456789abcdef\n0123456789abcdef", false),
        ] {
            std::fs::write(file.path(), text).unwrap();
            assert_eq!(read(file.path()).is_ok(), expected, "{text:?}");
        }
        let failure = read(Path::new("/nowhere")).err().unwrap();
        assert!(failure.text.contains("`/nowhere`"), "{failure}");
    }
}
