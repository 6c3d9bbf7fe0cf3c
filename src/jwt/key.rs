//! A key that signs, with everything that makes it.
//!
//! Receives a secret or a private JWK, gives tokens, the half that verifies, and what Vault and the
//! service are to have. Never shown, and written as PEM and through
//! [`Material`](crate::jwt::Material) only.

use std::time::Duration;

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rsa::KeyPairComponents;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, RsaKeyPair,
    RsaPublicKeyComponents,
};
use jsonwebtoken::{DecodingKey, EncodingKey, Header};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::error::Failure;
use crate::jwt::public::{Numbers, point};
use crate::jwt::{
    Algorithm, PublicKey, Rules, Unusable, VerifyKey, VerifySet, coordinate, der, number, pem,
};
use crate::secret::{Secret, stored};

/// A key that signs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key(Parts);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Parts {
    /// One text, whose bytes as they stand are the key: so applications use `JWT_SECRET`.
    Shared { kid: String, algorithm: Algorithm, secret: Secret },
    /// Two halves.
    Pair { public: PublicKey, private: Private },
}

/// What a private JWK has beside the public one; in base64url.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub(super) enum Private {
    /// On a curve.
    Curve(OnCurve),
    /// RSA.
    Rsa(Box<Rsa>),
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct OnCurve {
    #[serde(with = "stored")]
    pub(super) d: Secret,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Rsa {
    #[serde(with = "stored")]
    pub(super) d: Secret,
    #[serde(with = "stored")]
    pub(super) p: Secret,
    #[serde(with = "stored")]
    pub(super) q: Secret,
    #[serde(with = "stored")]
    pub(super) dp: Secret,
    #[serde(with = "stored")]
    pub(super) dq: Secret,
    #[serde(with = "stored")]
    pub(super) qi: Secret,
}

/// A private key as a JWK.
#[derive(Serialize)]
pub(super) struct PrivateJwk<'a> {
    #[serde(flatten)]
    public: &'a PublicKey,
    #[serde(flatten)]
    private: &'a Private,
}

impl Key {
    /// `secret` as a key for an `algorithm` that takes one.
    pub(super) fn shared(
        kid: String,
        algorithm: Algorithm,
        secret: Secret,
    ) -> Result<Self, Unusable> {
        if !algorithm.is_symmetric() {
            return Err(Unusable);
        }
        Ok(Self(Parts::Shared { kid, algorithm, secret }))
    }

    /// Two halves that belong together.
    pub(super) fn pair(public: PublicKey, private: Private) -> Result<Self, Unusable> {
        private.pkcs8(public.numbers())?;
        Ok(Self(Parts::Pair { public, private }))
    }

    /// The pair that a private JWK holds.
    pub(super) fn from_jwk(json: &str) -> Result<Self, Unusable> {
        let public: PublicKey = serde_json::from_str(json)?;
        let private = match public.numbers() {
            Numbers::Okp { .. } | Numbers::Ec { .. } => Private::Curve(serde_json::from_str(json)?),
            Numbers::Rsa { .. } => Private::Rsa(Box::new(serde_json::from_str(json)?)),
        };
        Self::pair(public, private)
    }

    /// The name that tokens call it by.
    pub fn kid(&self) -> &str {
        match &self.0 {
            Parts::Shared { kid, .. } => kid,
            Parts::Pair { public, .. } => public.kid(),
        }
    }

    /// How it signs.
    pub fn algorithm(&self) -> Algorithm {
        match &self.0 {
            Parts::Shared { algorithm, .. } => *algorithm,
            Parts::Pair { public, .. } => public.algorithm(),
        }
    }

    /// The secret that it is, where it is symmetric.
    pub fn secret(&self) -> Option<&Secret> {
        match &self.0 {
            Parts::Shared { secret, .. } => Some(secret),
            Parts::Pair { .. } => None,
        }
    }

    /// The half that everybody may have; none of a symmetric key.
    pub fn public(&self) -> Option<&PublicKey> {
        match &self.0 {
            Parts::Shared { .. } => None,
            Parts::Pair { public, .. } => Some(public),
        }
    }

    /// The private key as PEM (PKCS #8); none of a symmetric key.
    ///
    /// # Errors
    /// Never for a key that could be read.
    pub fn private_pem(&self) -> Result<Option<Secret>, Failure> {
        match &self.0 {
            Parts::Shared { .. } => Ok(None),
            Parts::Pair { public, private } => {
                let der =
                    private.pkcs8(public.numbers()).map_err(|unusable| self.failure(unusable))?;
                let mut pem = pem("PRIVATE KEY", &der);
                Ok(Some(Secret::new(std::mem::take(&mut *pem))))
            }
        }
    }

    /// What its tokens are verified with.
    ///
    /// # Errors
    /// Never for a key that could be read.
    pub fn verifier(&self) -> Result<VerifyKey, Failure> {
        match &self.0 {
            Parts::Shared { kid, algorithm, secret } => {
                let key = DecodingKey::from_secret(secret.expose().as_bytes());
                Ok(VerifyKey::new(kid.clone(), *algorithm, key, None))
            }
            Parts::Pair { public, .. } => public.verifier(),
        }
    }

    /// A token with these claims, which names this key.
    ///
    /// # Errors
    /// `Ours` when the claims are no JSON object.
    pub fn sign(&self, claims: &impl Serialize) -> Result<Secret, Failure> {
        self.token(claims).map_err(|unusable| self.failure(unusable))
    }

    fn token(&self, claims: &impl Serialize) -> Result<Secret, Unusable> {
        let mut header = Header::new(self.algorithm().library());
        header.kid = Some(self.kid().to_owned());
        let token = jsonwebtoken::encode(&header, claims, &self.encoding_key()?)?;
        Ok(Secret::new(token))
    }

    /// The key itself, once its verifying half has accepted a token of it.
    pub(super) fn proven(self) -> Result<Self, Failure> {
        #[derive(Serialize)]
        struct Probe {
            exp: u64,
        }
        let token = self.sign(&Probe { exp: 1 })?;
        let set = VerifySet::new(Rules::default(), [self.verifier()?]);
        match set.verify(token.expose(), Duration::ZERO) {
            Ok(_) => Ok(self),
            Err(_) => Err(self.failure(Unusable)),
        }
    }

    pub(super) fn encoding_key(&self) -> Result<EncodingKey, Unusable> {
        match &self.0 {
            Parts::Shared { secret, .. } => {
                Ok(EncodingKey::from_secret(secret.expose().as_bytes()))
            }
            Parts::Pair { public, private } => {
                let pkcs8 = private.pkcs8(public.numbers())?;
                Ok(match public.numbers() {
                    Numbers::Okp { .. } => EncodingKey::from_ed_der(&pkcs8),
                    Numbers::Ec { .. } => EncodingKey::from_ec_der(&pkcs8),
                    Numbers::Rsa { .. } => EncodingKey::from_rsa_der(der::pkcs1(&pkcs8)?),
                })
            }
        }
    }

    pub(super) fn private_jwk(&self) -> Option<PrivateJwk<'_>> {
        match &self.0 {
            Parts::Shared { .. } => None,
            Parts::Pair { public, private } => Some(PrivateJwk { public, private }),
        }
    }

    /// Everything of it that no message may repeat.
    pub(super) fn secrets(&self) -> Vec<&Secret> {
        match &self.0 {
            Parts::Shared { secret, .. } => vec![secret],
            Parts::Pair { private: Private::Curve(OnCurve { d }), .. } => vec![d],
            Parts::Pair { private: Private::Rsa(rsa), .. } => {
                let Rsa { d, p, q, dp, dq, qi } = rsa.as_ref();
                vec![d, p, q, dp, dq, qi]
            }
        }
    }

    fn failure(&self, unusable: Unusable) -> Failure {
        unusable.failure(self.kid(), self.algorithm())
    }
}

impl Private {
    /// The whole key as PKCS #8, in the version that every reader takes; none where the halves do
    /// not belong together.
    fn pkcs8(&self, public: &Numbers) -> Result<Zeroizing<Vec<u8>>, Unusable> {
        let secret = |secret: &Secret| number(secret.expose());
        let der = match (public, self) {
            (Numbers::Okp { x, .. }, Self::Curve(OnCurve { d })) => {
                let (d, x) = (coordinate(d.expose())?, coordinate(x)?);
                let pair = Ed25519KeyPair::from_seed_and_public_key(&d, &x)?;
                pair.to_pkcs8v1()?.as_ref().to_vec()
            }
            (Numbers::Ec { x, y, .. }, Self::Curve(OnCurve { d })) => {
                let (d, point) = (coordinate(d.expose())?, point(x, y)?);
                let curve = &ECDSA_P256_SHA256_FIXED_SIGNING;
                let pair = EcdsaKeyPair::from_private_key_and_public_key(curve, &d, &point)?;
                pair.to_pkcs8v1()?.as_ref().to_vec()
            }
            (Numbers::Rsa { n, e }, Self::Rsa(rsa)) => {
                let pair = RsaKeyPair::from_components(&KeyPairComponents {
                    public_key: RsaPublicKeyComponents { n: number(n)?, e: number(e)? },
                    d: secret(&rsa.d)?,
                    p: secret(&rsa.p)?,
                    q: secret(&rsa.q)?,
                    dP: secret(&rsa.dp)?,
                    dQ: secret(&rsa.dq)?,
                    qInv: secret(&rsa.qi)?,
                })?;
                let der: Pkcs8V1Der<'static> = pair.as_der()?;
                der.as_ref().to_vec()
            }
            (Numbers::Okp { .. } | Numbers::Ec { .. }, Self::Rsa(_))
            | (Numbers::Rsa { .. }, Self::Curve(_)) => return Err(Unusable),
        };
        Ok(Zeroizing::new(der))
    }
}
