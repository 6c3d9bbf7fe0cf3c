//! Public keys: as a JWK, in a JWKS, as PEM.
//!
//! Receives the public half of a key, gives it in the forms that others read. Never holds a
//! symmetric key, nor a private number: what is written here is for everybody.

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ED25519, ParsedPublicKey, RsaPublicKeyComponents,
};
use jsonwebtoken::DecodingKey;
use serde::{Deserialize, Serialize};

use crate::error::Failure;
use crate::jwt::{Algorithm, Unusable, VerifyKey, coordinate, number, pem, text};

/// The public half of a key that signs; written and read as a JWK (RFC 7517).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Members")]
pub struct PublicKey {
    #[serde(flatten)]
    numbers: Numbers,
    #[serde(rename = "use")]
    usage: Usage,
    alg: Algorithm,
    kid: String,
}

/// Its numbers, in base64url.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "kty", rename_all = "UPPERCASE")]
pub(super) enum Numbers {
    Okp { crv: Curve, x: String },
    Ec { crv: Curve, x: String, y: String },
    Rsa { n: String, e: String },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(super) enum Curve {
    Ed25519,
    #[serde(rename = "P-256")]
    P256,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Usage {
    Sig,
}

/// What is read of a JWK. Others are not looked at, so that no private one is copied.
#[derive(Deserialize)]
struct Members {
    kty: String,
    crv: Option<String>,
    x: Option<String>,
    y: Option<String>,
    n: Option<String>,
    e: Option<String>,
    alg: Algorithm,
    kid: String,
}

impl TryFrom<Members> for PublicKey {
    type Error = Unusable;

    fn try_from(members: Members) -> Result<Self, Unusable> {
        let Members { kty, crv, x, y, n, e, alg, kid } = members;
        let numbers = match (alg, kty.as_str(), crv.as_deref()) {
            (Algorithm::EdDSA, "OKP", Some("Ed25519")) => {
                Numbers::Okp { crv: Curve::Ed25519, x: x.ok_or(Unusable)? }
            }
            (Algorithm::ES256, "EC", Some("P-256")) => {
                Numbers::Ec { crv: Curve::P256, x: x.ok_or(Unusable)?, y: y.ok_or(Unusable)? }
            }
            (Algorithm::RS256, "RSA", None) => {
                Numbers::Rsa { n: n.ok_or(Unusable)?, e: e.ok_or(Unusable)? }
            }
            _ => return Err(Unusable),
        };
        Self::named(kid, alg, numbers)
    }
}

impl PublicKey {
    /// A new key, called by its thumbprint.
    pub(super) fn new(alg: Algorithm, numbers: Numbers) -> Result<Self, Unusable> {
        Self::named(numbers.thumbprint(), alg, numbers)
    }

    fn named(kid: String, alg: Algorithm, numbers: Numbers) -> Result<Self, Unusable> {
        numbers.spki()?;
        Ok(Self { numbers, usage: Usage::Sig, alg, kid })
    }

    /// The name that tokens call it by.
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// How its other half signs.
    pub fn algorithm(&self) -> Algorithm {
        self.alg
    }

    /// What the key itself would be called (RFC 7638).
    pub fn thumbprint(&self) -> String {
        self.numbers.thumbprint()
    }

    /// The key as PEM.
    ///
    /// # Errors
    /// Never for a key that could be read.
    pub fn pem(&self) -> Result<String, Failure> {
        let der = self.numbers.spki().map_err(|unusable| self.failure(unusable))?;
        Ok(pem("PUBLIC KEY", der.as_ref()).to_string())
    }

    /// What tokens are verified with.
    ///
    /// # Errors
    /// Never for a key that could be read.
    pub fn verifier(&self) -> Result<VerifyKey, Failure> {
        let key = match &self.numbers {
            Numbers::Okp { x, .. } => DecodingKey::from_ed_components(x),
            Numbers::Ec { x, y, .. } => DecodingKey::from_ec_components(x, y),
            Numbers::Rsa { n, e } => DecodingKey::from_rsa_components(n, e),
        };
        let key = key.map_err(|error| self.failure(error.into()))?;
        Ok(VerifyKey::new(self.kid.clone(), self.alg, key, Some(self.clone())))
    }

    pub(super) fn numbers(&self) -> &Numbers {
        &self.numbers
    }

    fn failure(&self, unusable: Unusable) -> Failure {
        unusable.failure(&self.kid, self.alg)
    }
}

impl Numbers {
    /// The members that make the key, in the order of their names, hashed.
    fn thumbprint(&self) -> String {
        let members = match self {
            Self::Okp { x, .. } => format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}"#),
            Self::Ec { x, y, .. } => {
                format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#)
            }
            Self::Rsa { n, e } => format!(r#"{{"e":"{e}","kty":"RSA","n":"{n}"}}"#),
        };
        text(digest(&SHA256, members.as_bytes()).as_ref())
    }

    /// The key with the name of its kind (RFC 5280); none where the numbers make no key, or one
    /// of a size that no token is verified with.
    fn spki(&self) -> Result<PublicKeyX509Der<'static>, Unusable> {
        let der = match self {
            Self::Okp { x, .. } => ParsedPublicKey::new(&ED25519, coordinate(x)?)?.as_der()?,
            Self::Ec { x, y, .. } => {
                ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point(x, y)?)?.as_der()?
            }
            Self::Rsa { n, e } => {
                let (n, e) = (number(n)?, number(e)?);
                // From 2048 to 8192 bits.
                if !(256..=1024).contains(&n.len()) {
                    return Err(Unusable);
                }
                RsaPublicKeyComponents { n, e }.as_der()?
            }
        };
        Ok(der)
    }
}

/// Both coordinates, as SEC 1 writes a point.
pub(super) fn point(x: &str, y: &str) -> Result<Vec<u8>, Unusable> {
    let (x, y) = (coordinate(x)?, coordinate(y)?);
    Ok([&[4][..], x.as_slice(), y.as_slice()].concat())
}

/// The JWKS of these keys.
pub fn jwks<'a>(keys: impl IntoIterator<Item = &'a PublicKey>) -> String {
    #[derive(Serialize)]
    struct Set<'a> {
        keys: Vec<&'a PublicKey>,
    }
    let set = Set { keys: keys.into_iter().collect() };
    // Numbers and names always serialize.
    serde_json::to_string(&set).unwrap_or_default()
}
