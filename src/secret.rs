//! Text that must not be seen.
//!
//! [`Secret`] has no `Display` and no `Serialize`, its `Debug` says `[redacted]`, and it is wiped
//! when dropped. [`Secret::expose`] may be called only in the modules that a test lists.

use std::fmt;

use aws_lc_rs::{digest, rand};
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::error::{Class, Failure};

/// A password, token, lease id or key.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct Secret(String);

impl Secret {
    /// Takes `text` over; nothing else should hold a copy.
    pub fn new(text: String) -> Self {
        Self(text)
    }

    /// One of full strength, in hexadecimal digits.
    ///
    /// # Errors
    /// Where the system has no randomness.
    pub fn random() -> Result<Self, Failure> {
        let mut bytes = Zeroizing::new([0_u8; 32]);
        rand::fill(&mut *bytes)
            .map_err(|_| Failure::new(Class::Ours, "read the system's randomness"))?;
        Ok(Self(hex(&*bytes)))
    }

    /// The text itself.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// The first 16 hex digits of the SHA-256: how a lease id may be shown. Only for secrets of
    /// full random strength; a password could be guessed from it.
    pub fn short_hash(&self) -> String {
        hex(&digest::digest(&digest::SHA256, self.0.as_bytes()).as_ref()[..8])
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// Lower-case hexadecimal text of `bytes`.
pub fn hex(bytes: &[u8]) -> String {
    let digits = |byte: &u8| [byte >> 4, byte & 15];
    let digit = |half| char::from_digit(u32::from(half), 16).unwrap_or_default();
    // It may become a secret: growing, it would leave copies behind.
    let mut text = String::with_capacity(2 * bytes.len());
    text.extend(bytes.iter().flat_map(digits).map(digit));
    text
}

/// `#[serde(with = "crate::secret::stored")]`: a secret in the state file, the one place where it
/// is written down for ourselves.
pub mod stored {
    use serde::{Deserialize, Deserializer, Serializer};

    use super::Secret;

    /// Writes the text.
    pub fn serialize<S: Serializer>(secret: &Secret, out: S) -> Result<S::Ok, S::Error> {
        out.serialize_str(secret.expose())
    }

    /// Reads the text.
    pub fn deserialize<'de, D: Deserializer<'de>>(input: D) -> Result<Secret, D::Error> {
        String::deserialize(input).map(Secret::new)
    }
}

/// A user name and the password that goes with it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Credential {
    /// The database user; may be logged.
    pub username: String,
    /// Its password.
    #[serde(with = "stored")]
    pub password: Secret,
}
