//! New keys, out of the system's randomness.
//!
//! Receives an algorithm, or a secret that is in use already, gives a key that has signed a token
//! and verified it. Never gives one that has not.

use aws_lc_rs::encoding::{AsBigEndian, AsDer, EcPrivateKeyBin, Pkcs8V1Der};
use aws_lc_rs::rand;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RsaKeyPair,
};
use zeroize::Zeroizing;

use crate::error::{Class, Failure};
use crate::jwt::key::{OnCurve, Private, Rsa};
use crate::jwt::public::{Curve, Numbers};
use crate::jwt::{Algorithm, Key, PublicKey, Unusable, der, text};
use crate::secret::{Secret, hex};

/// A new key. One for RS256 takes a good part of a second: not on a thread that others wait for.
///
/// # Errors
/// `Ours` where the system has no randomness.
pub fn key(algorithm: Algorithm) -> Result<Key, Failure> {
    let drawn = match algorithm {
        Algorithm::EdDSA => ed25519(),
        Algorithm::ES256 => p256(),
        Algorithm::RS256 => rsa(),
        Algorithm::HS256 | Algorithm::HS512 => shared_secret(algorithm),
    };
    drawn.map_err(|Unusable| no_randomness(&format!("make a key for {algorithm}")))?.proven()
}

/// A secret that a service has signed with so far, as a key: its tokens stay valid.
///
/// # Errors
/// `Ours` when it is none that this algorithm may use.
pub fn imported(algorithm: Algorithm, secret: Secret) -> Result<Key, Failure> {
    let refuse = |why: &str, hint: &str| {
        let text = format!("import a secret as a key for {algorithm}: {why}");
        Err(Failure::new(Class::Ours, text).hint(hint))
    };
    // As long as the hash (RFC 7518): a shorter one may be found by trying.
    let least = match algorithm {
        Algorithm::HS256 => 32,
        Algorithm::HS512 => 64,
        Algorithm::EdDSA | Algorithm::ES256 | Algorithm::RS256 => {
            return refuse("its keys are no secrets", "name HS256 or HS512");
        }
    };
    let given = secret.expose();
    if given.trim() != given {
        let hint = "give it exactly as the service has it, without the end of its line";
        return refuse("a blank stands at one of its ends", hint);
    }
    if given.len() < least {
        let hint = "have a new key made; tokens of this secret end with it";
        return refuse(&format!("it is shorter than {least} bytes"), hint);
    }
    let key = random_name().and_then(|kid| Key::shared(kid, algorithm, secret));
    key.map_err(|Unusable| no_randomness(&format!("make a key for {algorithm}")))?.proven()
}

fn ed25519() -> Result<Key, Unusable> {
    let seed = random::<32>()?;
    let pair = Ed25519KeyPair::from_seed_unchecked(&*seed)?;
    let x = text(pair.public_key().as_ref());
    let public = PublicKey::new(Algorithm::EdDSA, Numbers::Okp { crv: Curve::Ed25519, x })?;
    Key::pair(public, Private::Curve(OnCurve { d: Secret::new(text(&*seed)) }))
}

fn p256() -> Result<Key, Unusable> {
    let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING)?;
    let d: EcPrivateKeyBin<'static> = pair.private_key().as_be_bytes()?;
    // 4, and both coordinates.
    let point: &[u8] = pair.public_key().as_ref();
    let (x, y) = point.get(1..).and_then(|both| both.split_at_checked(32)).ok_or(Unusable)?;
    let numbers = Numbers::Ec { crv: Curve::P256, x: text(x), y: text(y) };
    let public = PublicKey::new(Algorithm::ES256, numbers)?;
    Key::pair(public, Private::Curve(OnCurve { d: Secret::new(text(d.as_ref())) }))
}

/// With 2048 bits, which everybody takes; it lives for a quarter.
fn rsa() -> Result<Key, Unusable> {
    let pkcs8: Pkcs8V1Der<'static> = RsaKeyPair::generate(KeySize::Rsa2048)?.as_der()?;
    let [n, e, d, p, q, dp, dq, qi] = der::numbers(pkcs8.as_ref())?;
    let public = PublicKey::new(Algorithm::RS256, Numbers::Rsa { n: text(n), e: text(e) })?;
    let secret = |number: &[u8]| Secret::new(text(number));
    let private = Rsa {
        d: secret(d),
        p: secret(p),
        q: secret(q),
        dp: secret(dp),
        dq: secret(dq),
        qi: secret(qi),
    };
    Key::pair(public, Private::Rsa(Box::new(private)))
}

/// 64 bytes in hexadecimal, which as a text is the key.
fn shared_secret(algorithm: Algorithm) -> Result<Key, Unusable> {
    Key::shared(random_name()?, algorithm, Secret::new(hex(&*random::<64>()?)))
}

/// A name for a key set, which no other ever had.
///
/// # Errors
/// `Ours` where the system has no randomness.
pub fn set_id() -> Result<String, Failure> {
    random_name().map_err(|Unusable| no_randomness("make a name for a key set"))
}

/// A name that tells nothing of its key: by a hash of a secret one could try guesses.
fn random_name() -> Result<String, Unusable> {
    Ok(text(&*random::<16>()?))
}

fn no_randomness(doing: &str) -> Failure {
    Failure::new(Class::Ours, format!("{doing}: the system's randomness gives none"))
}

fn random<const LENGTH: usize>() -> Result<Zeroizing<[u8; LENGTH]>, Unusable> {
    let mut bytes = Zeroizing::new([0; LENGTH]);
    rand::fill(&mut *bytes)?;
    Ok(bytes)
}
