//! Whether a token holds.
//!
//! Receives a token, the keys that are valid, newest first, and the time; gives its claims or the
//! one reason why not. Never takes from a token how it is to be verified: that is its key's to say.

use std::collections::BTreeSet;
use std::time::Duration;

use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{DecodingKey, Header, Validation};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::jwt::{Algorithm, PublicKey, jwks};

/// A longer token is not looked at, in bytes.
pub const LONGEST_TOKEN: usize = 8 * 1024;

/// How many keys are tried for a token that names none.
const MOST_TRIED: usize = 3;

/// Why a token does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Refusal {
    /// There is none.
    Missing,
    /// It is longer than any that is looked at.
    TooLong,
    /// It is no token, or one that asks for what we do not know.
    Malformed,
    /// It names a key that is not valid, or not any more.
    UnknownKey,
    /// It is signed in another way than its key signs.
    Algorithm,
    /// No key of ours signed it.
    Signature,
    /// It comes from somebody else.
    Issuer,
    /// It is for somebody else.
    Audience,
    /// It would never end.
    Endless,
    /// Its time has not come.
    NotYet,
    /// Its time is over.
    Expired,
}

impl Refusal {
    /// Each of them.
    pub const ALL: [Self; 11] = [
        Self::Missing,
        Self::TooLong,
        Self::Malformed,
        Self::UnknownKey,
        Self::Algorithm,
        Self::Signature,
        Self::Issuer,
        Self::Audience,
        Self::Endless,
        Self::NotYet,
        Self::Expired,
    ];

    /// Its name in metrics.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::TooLong => "too_long",
            Self::Malformed => "malformed",
            Self::UnknownKey => "unknown_key",
            Self::Algorithm => "algorithm",
            Self::Signature => "signature",
            Self::Issuer => "issuer",
            Self::Audience => "audience",
            Self::Endless => "endless",
            Self::NotYet => "not_yet",
            Self::Expired => "expired",
        }
    }

    /// What a caller is told: whether a fresh token would help, and nothing else.
    pub fn answer(self) -> &'static str {
        match self {
            Self::Expired => "Token expired",
            Self::Missing
            | Self::TooLong
            | Self::Malformed
            | Self::UnknownKey
            | Self::Algorithm
            | Self::Signature
            | Self::Issuer
            | Self::Audience
            | Self::Endless
            | Self::NotYet => "Invalid token",
        }
    }
}

/// What a token must say beside being signed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// Who it is from; anybody where there is none.
    pub issuer: Option<String>,
    /// Whom it may be for, one of these; anybody where there is none.
    pub audience: BTreeSet<String>,
    /// How far clocks may be apart.
    pub leeway: Duration,
    /// A token that lives longer holds all the same, and is told apart: keys are removed in the
    /// belief that there is none.
    pub max_token_ttl: Option<Duration>,
}

/// What tokens of one key are verified with.
#[derive(Clone, Debug)]
pub struct VerifyKey {
    kid: String,
    algorithm: Algorithm,
    key: DecodingKey,
    public: Option<PublicKey>,
}

/// Every key that is valid, and the rules.
#[derive(Clone, Debug)]
pub struct VerifySet {
    rules: Rules,
    keys: Vec<VerifyKey>,
    jwks: String,
}

/// A token that holds.
pub struct Verified<'a> {
    /// The key that it was signed with.
    pub kid: &'a str,
    /// Its claims, as they were signed.
    pub claims: Box<RawValue>,
    /// Whether it lives longer than tokens should.
    pub outlives: bool,
}

/// The claims that have a meaning here. A time may have a fraction.
#[derive(Deserialize)]
struct Claims {
    iss: Option<String>,
    aud: Option<Audience>,
    exp: Option<f64>,
    nbf: Option<f64>,
    iat: Option<f64>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Several(Vec<String>),
}

impl VerifyKey {
    pub(super) fn new(
        kid: String,
        algorithm: Algorithm,
        key: DecodingKey,
        public: Option<PublicKey>,
    ) -> Self {
        Self { kid, algorithm, key, public }
    }

    /// The claims of `token`, where this key signed it.
    fn signed(&self, token: &str) -> Result<Box<RawValue>, Refusal> {
        let mut signature_only = Validation::new(self.algorithm.library());
        // What the claims say is judged here: the library would read the clock.
        signature_only.required_spec_claims.clear();
        signature_only.validate_exp = false;
        signature_only.validate_aud = false;
        match jsonwebtoken::decode(token, &self.key, &signature_only) {
            Ok(token) => Ok(token.claims),
            Err(error) if matches!(error.kind(), ErrorKind::InvalidSignature) => {
                Err(Refusal::Signature)
            }
            Err(_) => Err(Refusal::Malformed),
        }
    }
}

impl VerifySet {
    /// The set of `keys`, which come newest first.
    pub fn new(rules: Rules, keys: impl IntoIterator<Item = VerifyKey>) -> Self {
        let keys: Vec<_> = keys.into_iter().collect();
        let jwks = jwks(keys.iter().filter_map(|key| key.public.as_ref()));
        Self { rules, keys, jwks }
    }

    /// The public keys of the set, as a JWKS.
    pub fn jwks(&self) -> &str {
        &self.jwks
    }

    /// Whether `token` holds at `now`, counted from 1970.
    ///
    /// # Errors
    /// Why it does not. Of a token that nobody with a key signed, what it says is not looked at.
    pub fn verify(&self, token: &str, now: Duration) -> Result<Verified<'_>, Refusal> {
        if token.len() > LONGEST_TOKEN {
            return Err(Refusal::TooLong);
        }
        let header = jsonwebtoken::decode_header(token).map_err(|_| Refusal::Malformed)?;
        // It names what a reader must know to read it right; we know none of these.
        if header.crit.is_some() {
            return Err(Refusal::Malformed);
        }
        let candidates = self.candidates(&header);
        if candidates.is_empty() {
            return Err(Refusal::UnknownKey);
        }
        let mut refusal = Refusal::Algorithm;
        for key in candidates {
            if key.algorithm.library() != header.alg {
                continue;
            }
            match key.signed(token) {
                Ok(claims) => {
                    let outlives = self.rules.judge(&claims, now)?;
                    return Ok(Verified { kid: &key.kid, claims, outlives });
                }
                Err(Refusal::Signature) => refusal = Refusal::Signature,
                Err(other) => return Err(other),
            }
        }
        Err(refusal)
    }

    fn candidates(&self, header: &Header) -> Vec<&VerifyKey> {
        match &header.kid {
            Some(kid) => self.keys.iter().filter(|key| key.kid == *kid).take(1).collect(),
            None => self.keys.iter().take(MOST_TRIED).collect(),
        }
    }
}

impl Rules {
    /// Whether what a key of ours signed holds at `now`, and if so, whether it lives too long.
    fn judge(&self, claims: &RawValue, now: Duration) -> Result<bool, Refusal> {
        let claims: Claims = serde_json::from_str(claims.get()).map_err(|_| Refusal::Malformed)?;
        if self.issuer.is_some() && claims.iss != self.issuer {
            return Err(Refusal::Issuer);
        }
        if !self.audience.is_empty() && !self.is_among(claims.aud) {
            return Err(Refusal::Audience);
        }
        let (now, leeway) = (now.as_secs_f64(), self.leeway.as_secs_f64());
        let end = claims.exp.ok_or(Refusal::Endless)?;
        if claims.nbf.is_some_and(|begin| now < begin - leeway) {
            return Err(Refusal::NotYet);
        }
        if now >= end + leeway {
            return Err(Refusal::Expired);
        }
        let life = end - claims.iat.unwrap_or(now);
        Ok(self.max_token_ttl.is_some_and(|most| life > most.as_secs_f64()))
    }

    fn is_among(&self, audience: Option<Audience>) -> bool {
        match audience {
            Some(Audience::One(name)) => self.audience.contains(&name),
            Some(Audience::Several(names)) => names.iter().any(|name| self.audience.contains(name)),
            None => false,
        }
    }
}
