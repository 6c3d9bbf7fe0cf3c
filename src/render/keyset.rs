//! Key sets: the fields that every format shows of one, and the two formats for their keys.
//!
//! Receives keys, gives fields; receives fields, gives a JWKS or PEM. Never gives the key that
//! signs to a service that only verifies, but where the two are one.
//!
//! | field | of a symmetric set | of any other |
//! |---|---|---|
//! | `kid` | names the key that signs | the same |
//! | `secret`, `secret_previous` | that key, and the one before it while its tokens live | |
//! | `private_key` | | that key as PEM, for who signs |
//! | `public_keys`, `jwks` | | those that verify, newest first, as PEM and as a JWKS |

use crate::error::{Class, Failure};
use crate::jwt::{Key, PublicKey, jwks};
use crate::render::formats::{Place, fields};
use crate::render::text::Text;
use crate::secret::Secret;
use crate::snapshot::{Field, Fields, Value};

const JWKS: &str = "jwks";
const PRIVATE_KEY: &str = "private_key";
const PUBLIC_KEYS: &str = "public_keys";

/// A key set as a service is given it.
#[derive(Clone, Copy, Debug)]
pub struct Keyset<'a> {
    /// The name of the key that signs.
    pub kid: &'a str,
    /// That key, where the service may have it.
    pub signer: Option<&'a Key>,
    /// The one before it, where its tokens may live and the set is symmetric.
    pub previous: Option<&'a Key>,
    /// The keys that verify, newest first; none where the set is symmetric.
    pub public: &'a [PublicKey],
}

impl Keyset<'_> {
    /// The set as the fields of a secret.
    ///
    /// # Errors
    /// Never for keys that could be read.
    pub fn fields(&self) -> Result<Fields, Failure> {
        let text = |text: &str| Field::Text(Secret::new(text.to_owned()));
        let secret = |key: Option<&Key>| key.and_then(Key::secret).cloned().map(Field::Text);
        let private_key = self.signer.map(Key::private_pem).transpose()?.flatten();
        let mut all = vec![
            ("kid", Some(text(self.kid))),
            ("secret", secret(self.signer)),
            ("secret_previous", secret(self.previous)),
            (PRIVATE_KEY, private_key.map(Field::Text)),
        ];
        if !self.public.is_empty() {
            let pem: Result<String, Failure> = self.public.iter().map(PublicKey::pem).collect();
            all.push((PUBLIC_KEYS, Some(text(&pem?))));
            all.push((JWKS, Some(Field::Json(Secret::new(jwks(self.public))))));
        }
        Ok(all.into_iter().filter_map(|(name, field)| Some((name.to_owned(), field?))).collect())
    }
}

/// The JWKS and the end of its line.
pub(super) fn write_jwks(text: &mut Text, place: Place<'_>, value: &Value) -> Result<(), Failure> {
    write_first(text, place, value, "jwks", &[JWKS])?;
    text.push("\n");
    Ok(())
}

/// The key that signs, where the service has it, else the public keys.
pub(super) fn write_pem(text: &mut Text, place: Place<'_>, value: &Value) -> Result<(), Failure> {
    write_first(text, place, value, "pem", &[PRIVATE_KEY, PUBLIC_KEYS])
}

/// The first of the fields `wanted` that is there.
fn write_first(
    text: &mut Text,
    place: Place<'_>,
    value: &Value,
    format: &str,
    wanted: &[&str],
) -> Result<(), Failure> {
    let fields = fields(value);
    let found = wanted.iter().find_map(|name| fields.iter().find(|(field, _)| field == name));
    let Some((_, item)) = found else {
        let Place { file, secret } = place;
        let text = format!(
            "render `{file}`: a {format} file needs a key set that has public keys, and `{secret}` \
             is none"
        );
        return Err(Failure::new(Class::Ours, text)
            .hint("a symmetric set has one secret for all: publish it as `dotenv` or `raw`"));
    };
    text.push(&item.as_text());
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::jwt::Material;
    use crate::render::Format;
    use crate::render::dotenv::Names;
    use crate::render::tests::{failure, kv, text};

    const X: &str = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";

    fn key(what: &str, kid: &str, alg: &str) -> Key {
        let json = format!(
            r#"{{{what},"version":1,"created_at":"2026-01-01T00:00:00Z","status":"active",
                "expires_at":"2026-04-01T00:00:00Z","kid":"{kid}","alg":"{alg}"}}"#
        );
        serde_json::from_str::<Material>(&json).unwrap().key
    }

    fn shared(kid: &str, secret: &str) -> Key {
        key(&format!(r#""secret":"{secret}""#), kid, "HS256")
    }

    /// The key of RFC 8037.
    fn pair() -> Key {
        let private = format!(
            r#""private_jwk":{{"kty":"OKP","crv":"Ed25519","x":"{X}","alg":"EdDSA","kid":"k2",
                "d":"nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A"}}"#
        );
        key(&private, "k2", "EdDSA")
    }

    fn value(set: Keyset<'_>) -> Value {
        let fields = set.fields().unwrap();
        let fields: Vec<_> =
            fields.iter().map(|(name, field)| (name.as_str(), field.clone())).collect();
        kv(&fields)
    }

    fn symmetric() -> Value {
        let (new, old) = (shared("k2", "aabb"), shared("k1", "0011"));
        value(Keyset { kid: "k2", signer: Some(&new), previous: Some(&old), public: &[] })
    }

    fn verifying() -> Value {
        let public = [pair().public().unwrap().clone()];
        value(Keyset { kid: "k2", signer: None, previous: None, public: &public })
    }

    fn signing() -> Value {
        let key = pair();
        let public = [key.public().unwrap().clone()];
        value(Keyset { kid: "k2", signer: Some(&key), previous: None, public: &public })
    }

    fn shown(format: Format, value: Value) -> String {
        text(format, &[("jwt", value)])
    }

    fn dotenv() -> Format {
        Format::Dotenv { secrets: vec![Arc::from("jwt")], names: Names::default() }
    }

    fn json() -> Format {
        Format::Json { secrets: vec![Arc::from("jwt")] }
    }

    fn jwks() -> Format {
        Format::Jwks { secret: Arc::from("jwt") }
    }

    fn pem() -> Format {
        Format::Pem { secret: Arc::from("jwt") }
    }

    #[test]
    fn golden_of_one_secret_for_all() {
        let expected = "JWT_KID=k2\nJWT_SECRET=aabb\nJWT_SECRET_PREVIOUS=0011\n";
        assert_eq!(shown(dotenv(), symmetric()), expected);
        let expected = r#"{
  "jwt": {
    "kid": "k2",
    "secret": "aabb",
    "secret_previous": "0011"
  }
}
"#;
        assert_eq!(shown(json(), symmetric()), expected);

        let only = shared("k1", "0011");
        let only = value(Keyset { kid: "k1", signer: Some(&only), previous: None, public: &[] });
        assert_eq!(shown(dotenv(), only), "JWT_KID=k1\nJWT_SECRET=0011\n");
    }

    #[test]
    fn golden_of_two_halves() {
        let numbers = format!(r#""kty":"OKP","crv":"Ed25519","x":"{X}""#);
        let set = format!(r#"{{"keys":[{{{numbers},"use":"sig","alg":"EdDSA","kid":"k2"}}]}}"#);
        let public = "-----BEGIN PUBLIC KEY-----\n\
                      MCowBQYDK2VwAyEA11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=\n\
                      -----END PUBLIC KEY-----\n";
        let private = "-----BEGIN PRIVATE KEY-----\n\
                       MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g\n\
                       -----END PRIVATE KEY-----\n";
        assert_eq!(shown(jwks(), verifying()), format!("{set}\n"));
        assert_eq!(shown(jwks(), signing()), format!("{set}\n"));
        assert_eq!(shown(pem(), verifying()), public);
        assert_eq!(shown(pem(), signing()), private);

        let public_line = public.replace('\n', "\\n");
        let expected = format!(
            "{{\n  \"jwt\": {{\n    \"jwks\": {set},\n    \"kid\": \"k2\",\n    \
             \"public_keys\": \"{public_line}\"\n  }}\n}}\n"
        );
        assert_eq!(shown(json(), verifying()), expected);
        let expected = format!("JWT_JWKS='{set}'\nJWT_KID=k2\nJWT_PUBLIC_KEYS='{public}'\n");
        assert_eq!(shown(dotenv(), verifying()), expected);
        let with_key = shown(dotenv(), signing());
        assert!(with_key.contains(&format!("JWT_PRIVATE_KEY='{private}'\n")), "{with_key}");
    }

    #[test]
    fn several_public_keys_are_all_there() {
        let old = format!(r#"{{"kty":"OKP","crv":"Ed25519","x":"{X}","alg":"EdDSA","kid":"k1"}}"#);
        let public = [pair().public().unwrap().clone(), serde_json::from_str(&old).unwrap()];
        let set = value(Keyset { kid: "k2", signer: None, previous: None, public: &public });
        assert_eq!(shown(pem(), set.clone()).matches("-----BEGIN PUBLIC KEY-----\n").count(), 2);
        let read: serde_json::Value = serde_json::from_str(&shown(jwks(), set)).unwrap();
        let kids = [&read["keys"][0]["kid"], &read["keys"][1]["kid"]];
        assert_eq!(kids, ["k2", "k1"]);
    }

    #[test]
    fn a_symmetric_set_has_no_public_keys_and_shows_none() {
        for format in [jwks(), pem()] {
            let failure = failure(format, &[("jwt", symmetric())]);
            assert_eq!(failure.class, Class::Ours);
            assert!(failure.text.contains("`dir/file`") && failure.text.contains("`jwt`"));
            assert!(!failure.to_string().contains("aabb"), "{failure}");
        }
    }
}
