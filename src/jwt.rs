//! Keys that sign tokens, and tokens.
//!
//! Receives keys as Vault stores them and tokens as callers show them, gives public keys, and says
//! of a token whether it holds. Never reads a clock: the time is an argument. Randomness is taken
//! in [`generate`] alone, which decisions may not use.

mod der;
pub mod generate;
mod key;
mod material;
mod public;
#[cfg(test)]
mod tests;
mod verify;

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::error::{Class, Failure};

pub use key::Key;
pub use material::{Material, Status};
pub use public::{PublicKey, jwks};
pub use verify::{LONGEST_TOKEN, Refusal, Rules, Verified, VerifyKey, VerifySet};

/// How a key signs, by the standard's own names (RFC 7518, RFC 8037).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Algorithm {
    /// With Ed25519.
    EdDSA,
    /// With ECDSA on P-256.
    ES256,
    /// With RSA as of PKCS #1 1.5; for those who can do nothing else.
    RS256,
    /// With one secret, which whoever verifies can also sign with.
    HS256,
    /// The same with SHA-512.
    HS512,
}

impl Algorithm {
    /// Each of them.
    pub const ALL: [Self; 5] = [Self::EdDSA, Self::ES256, Self::RS256, Self::HS256, Self::HS512];

    /// The name that stands in tokens.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::EdDSA => "EdDSA",
            Self::ES256 => "ES256",
            Self::RS256 => "RS256",
            Self::HS256 => "HS256",
            Self::HS512 => "HS512",
        }
    }

    /// Whether one secret both signs and verifies, so that no key of it is public.
    pub fn is_symmetric(self) -> bool {
        match self {
            Self::HS256 | Self::HS512 => true,
            Self::EdDSA | Self::ES256 | Self::RS256 => false,
        }
    }

    fn library(self) -> jsonwebtoken::Algorithm {
        match self {
            Self::EdDSA => jsonwebtoken::Algorithm::EdDSA,
            Self::ES256 => jsonwebtoken::Algorithm::ES256,
            Self::RS256 => jsonwebtoken::Algorithm::RS256,
            Self::HS256 => jsonwebtoken::Algorithm::HS256,
            Self::HS512 => jsonwebtoken::Algorithm::HS512,
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What should be a key is none. Of what a library says about it nothing is kept: it may quote the
/// key.
#[derive(Debug)]
struct Unusable;

impl Unusable {
    fn failure(self, kid: &str, algorithm: Algorithm) -> Failure {
        Failure::new(Class::Ours, format!("use the key `{kid}`: it is no key for {algorithm}"))
    }
}

impl<E: std::error::Error> From<E> for Unusable {
    fn from(_: E) -> Self {
        Self
    }
}

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("it is no key")
    }
}

/// The number behind its text in a JWK.
fn number(text: &str) -> Result<Zeroizing<Vec<u8>>, Unusable> {
    Ok(Zeroizing::new(URL_SAFE_NO_PAD.decode(text)?))
}

/// The same of one that has 32 bytes, as all on our curves have.
fn coordinate(text: &str) -> Result<Zeroizing<Vec<u8>>, Unusable> {
    let bytes = number(text)?;
    if bytes.len() == 32 { Ok(bytes) } else { Err(Unusable) }
}

/// The text of a number in a JWK.
fn text(number: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(number)
}

/// PEM as OpenSSL writes it.
fn pem(label: &str, der: &[u8]) -> Zeroizing<String> {
    let encoded = Zeroizing::new(STANDARD.encode(der));
    // Growing, it would leave copies behind.
    let mut text = Zeroizing::new(String::with_capacity(2 * encoded.len() + 128));
    let mut rest = encoded.as_str();
    text.push_str(&format!("-----BEGIN {label}-----\n"));
    while !rest.is_empty() {
        let (line, after) = rest.split_at(rest.len().min(64));
        text.push_str(line);
        text.push('\n');
        rest = after;
    }
    text.push_str(&format!("-----END {label}-----\n"));
    text
}
