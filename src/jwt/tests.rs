use std::collections::BTreeSet;
use std::time::Duration;

use jsonwebtoken::Header;
use serde_json::{Value, json};

use super::*;
use crate::date::Date;
use crate::secret::Secret;

/// RFC 8037, A.1: d and x.
const ED25519: (&str, &str) =
    ("nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A", "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo");

/// RFC 7515, A.3: x, y and d.
const P256: (&str, &str, &str) = (
    "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
    "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
    "jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI",
);

/// RFC 7515, A.2: n, d, p, q, dp, dq and qi.
const RSA: [&str; 7] = [
    "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4\
     d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5re\
     xMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxX\
     FvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ",
    "Eq5xpGnNCivDflJsRQBXHx1hdR1k6Ulwe2JZD50LpXyWPEAeP88vLNO97IjlA7_GQ5sLKMgvfTeXZx9SE-7YwVol2NXO\
     oAJe46sui395IW_GO-pWJ1O0BkTGoVEn2bKVRUCgu-GjBVaYLU6f3l9kJfFNS3E0QbVdxzubSu3Mkqzjkn439X0M_V51\
     gfpRLI9JYanrC4D4qAdGcopV_0ZHHzQlBjudU2QvXt4ehNYTCBr6XCLQUShb1juUO1ZdiYoFaFQT5Tw8bGUl_x_jTj3c\
     cPDVZFD9pIuhLhBOneufuBiB4cS98l2SR_RQyGWSeWjnczT0QU91p1DhOVRuOopznQ",
    "4BzEEOtIpmVdVEZNCqS7baC4crd0pqnRH_5IB3jw3bcxGn6QLvnEtfdUdiYrqBdss1l58BQ3KhooKeQTa9AB0Hw_Py5P\
     JdTJNPY8cQn7ouZ2KKDcmnPGBY5t7yLc1QlQ5xHdwW1VhvKn-nXqhJTBgIPgtldC-KDV5z-y2XDwGUc",
    "uQPEfgmVtjL0Uyyx88GZFF1fOunH3-7cepKmtH4pxhtCoHqpWmT8YAmZxaewHgHAjLYsp1ZSe7zFYHj7C6ul7TjeLQeZ\
     D_YwD66t62wDmpe_HlB-TnBA-njbglfIsRLtXlnDzQkv5dTltRJ11BKBBypeeF6689rjcJIDEz9RWdc",
    "BwKfV3Akq5_MFZDFZCnW-wzl-CCo83WoZvnLQwCTeDv8uzluRSnm71I3QCLdhrqE2e9YkxvuxdBfpT_PI7Yz-FOKnu1R\
     6HsJeDCjn12Sk3vmAktV2zb34MCdy7cpdTh_YVr7tss2u6vneTwrA86rZtu5Mbr1C1XsmvkxHQAdYo0",
    "h_96-mK1R_7glhsum81dZxjTnYynPbZpHziZjeeHcXYsXaaMwkOlODsWa7I9xXDoRwbKgB719rrmI2oKr6N3Do9U0aja\
     HF-NKJnwgjMd2w9cjz3_-kyNlxAr2v4IKhGNpmM5iIgOS1VZnOZ68m6_pbLBSp3nssTdlqvd0tIiTHU",
    "IYd7DHOhrWvxkwPQsRM2tOgrjbcrfvtQJipd-DlcxyVuuM9sQLdgjVk2oy26F0EmpScGLq2MowX7fhd_QJQ3ydy5cY7Y\
     IBi87w93IKLEdfnbJtoOPLUW0ITrJReOgo1cq9SbsxYawBgfp_gh6A5603k2-ZQwVK0JKSHuLFkuQ3U",
];

/// What the tokens of RFC 7515 say: issuer `joe`, and that they end at this second.
const PAYLOAD: &str = "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9p\
     c19yb290Ijp0cnVlfQ";
const END: u64 = 1_300_819_380;

const ES256_SIGNATURE: &str = "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQ\
     xfKTUJqPP3-Kg6NU1Q";
const RS256_SIGNATURE: &str = "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuH\
     Im4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h\
     6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqv\
     hJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw";

fn private_jwk(algorithm: Algorithm) -> Value {
    match algorithm {
        Algorithm::EdDSA => {
            let (d, x) = ED25519;
            json!({ "kty": "OKP", "crv": "Ed25519", "x": x, "d": d, "alg": "EdDSA", "kid": "ed" })
        }
        Algorithm::ES256 => {
            let (x, y, d) = P256;
            json!({
                "kty": "EC", "crv": "P-256", "x": x, "y": y, "d": d, "alg": "ES256", "kid": "ec",
            })
        }
        Algorithm::RS256 => {
            let [n, d, p, q, dp, dq, qi] = RSA;
            json!({
                "kty": "RSA", "n": n, "e": "AQAB", "d": d, "p": p, "q": q, "dp": dp, "dq": dq,
                "qi": qi, "alg": "RS256", "kid": "rsa",
            })
        }
        Algorithm::HS256 | Algorithm::HS512 => panic!("it has no JWK"),
    }
}

fn known(algorithm: Algorithm) -> Key {
    Key::from_jwk(&private_jwk(algorithm).to_string()).unwrap()
}

fn fresh(algorithm: Algorithm) -> Key {
    generate::key(algorithm).unwrap()
}

fn set<'a>(rules: Rules, keys: impl IntoIterator<Item = &'a Key>) -> VerifySet {
    VerifySet::new(rules, keys.into_iter().map(|key| key.verifier().unwrap()))
}

/// The name of the key that `token` holds by.
fn verdict(set: &VerifySet, token: &str, now: u64) -> Result<String, Refusal> {
    set.verify(token, Duration::from_secs(now)).map(|token| token.kid.to_owned())
}

/// A token of `key` that does not name it, as applications sign that know no names.
fn unnamed(key: &Key, claims: &Value) -> String {
    let header = Header::new(key.algorithm().library());
    jsonwebtoken::encode(&header, claims, &key.encoding_key().unwrap()).unwrap()
}

/// A token by hand, whose signature is nothing.
fn unsigned(header: &Value, claims: &Value) -> String {
    let part = |json: &Value| text(json.to_string().as_bytes());
    format!("{}.{}.AAAA", part(header), part(claims))
}

#[test]
fn thumbprints_are_those_of_the_standards() {
    // RFC 7638, 3.1.
    let n = "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc\
             _BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQ\
             R0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bF\
             TWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw";
    let jwk = json!({ "kty": "RSA", "n": n, "e": "AQAB", "alg": "RS256", "kid": "2011-04-29" });
    let key: PublicKey = serde_json::from_value(jwk).unwrap();
    assert_eq!(key.thumbprint(), "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs");
    for (algorithm, thumbprint) in [
        // RFC 8037, A.3.
        (Algorithm::EdDSA, "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"),
        (Algorithm::ES256, "oKIywvGUpTVTyxMQ3bwIIeQUudfr_CkLMjCE19ECD-U"),
        (Algorithm::RS256, "IsUn6_e04MaShXFIISMp4kG62LWzMIPy_MvSA5pJgX8"),
    ] {
        assert_eq!(known(algorithm).public().unwrap().thumbprint(), thumbprint);
    }
}

#[test]
fn signatures_are_those_of_the_standards() {
    for (header, signature, algorithm, kid) in [
        ("eyJhbGciOiJFUzI1NiJ9", ES256_SIGNATURE, Algorithm::ES256, "ec"),
        ("eyJhbGciOiJSUzI1NiJ9", RS256_SIGNATURE, Algorithm::RS256, "rsa"),
    ] {
        let token = format!("{header}.{PAYLOAD}.{signature}");
        let rules = Rules { issuer: Some("joe".to_owned()), ..Rules::default() };
        let set = set(rules, [&known(algorithm)]);
        assert_eq!(verdict(&set, &token, END - 1), Ok(kid.to_owned()));
        assert_eq!(verdict(&set, &token, END), Err(Refusal::Expired));
    }
    // RFC 8037, A.4: what is signed there are no claims.
    let token = "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.hgyY0il_MGCjP0JzlnLWG1PPO\
                 t7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg";
    let set = set(Rules::default(), [&known(Algorithm::EdDSA)]);
    assert_eq!(verdict(&set, token, 0), Err(Refusal::Malformed));
    assert_eq!(verdict(&set, &token.replace(".hgyY", ".hgyX"), 0), Err(Refusal::Signature));
}

#[test]
fn a_secret_signs_as_it_does_for_applications() {
    // By Python's hmac, the key being the text and not what it is the hexadecimal of.
    let token = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.\
                 eyJzdWIiOiJ1MSIsImlhdCI6MTcwMDAwMDAwMCwiZXhwIjoxNzAwMDAwOTAwfQ.\
                 dMhTTzp4L29NOzT_AEnB8hfPQCeluu4_6-yX-jY_L0E";
    let secret = Secret::new("0123456789abcdef".repeat(8));
    let key = generate::imported(Algorithm::HS256, secret).unwrap();
    let set = set(Rules::default(), [&fresh(Algorithm::HS256), &key]);
    assert_eq!(verdict(&set, token, 1_700_000_899), Ok(key.kid().to_owned()));
}

#[test]
fn a_new_key_is_stored_and_read_again_and_signs() {
    for algorithm in Algorithm::ALL {
        let date = |text: &str| -> Date { text.parse().unwrap() };
        let material = Material {
            version: 2,
            created_at: date("2026-01-01T00:00:00Z"),
            expires_at: date("2026-04-01T00:00:00.5Z"),
            status: Status::Rotating,
            key: fresh(algorithm),
        };
        let text = serde_json::to_string(&material).unwrap();
        let document: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(document["version"], 2);
        assert_eq!(document["created_at"], "2026-01-01T00:00:00.000Z");
        assert_eq!(document["expires_at"], "2026-04-01T00:00:00.500Z");
        assert_eq!(document["status"], "rotating");
        assert_eq!(document["alg"], algorithm.as_str());
        assert_eq!(document["kid"], material.key.kid());
        assert_ne!(document.get("secret").is_some(), document.get("private_jwk").is_some());

        let read: Material = serde_json::from_str(&text).unwrap();
        assert_eq!(read, material);
        let token = read.key.sign(&json!({ "exp": 900 })).unwrap();
        let set = set(Rules::default(), [&material.key]);
        assert_eq!(verdict(&set, token.expose(), 899), Ok(material.key.kid().to_owned()));

        let shown = format!("{material:?} {set:?}");
        for secret in material.secrets() {
            assert!(!shown.contains(secret.expose()), "{shown}");
        }
    }
}

#[test]
fn new_secrets_are_hexadecimal_and_no_two_are_alike() {
    let mut seen = BTreeSet::new();
    for _ in 0..1000 {
        let key = fresh(Algorithm::HS256);
        let secret = key.secret().unwrap().expose();
        assert!(secret.len() == 128 && secret.chars().all(|c| "0123456789abcdef".contains(c)));
        assert!(seen.insert(secret.to_owned()) && seen.insert(key.kid().to_owned()));
    }
}

#[test]
fn a_key_pair_is_called_by_its_thumbprint_and_a_secret_by_nothing_of_its_own() {
    for algorithm in [Algorithm::EdDSA, Algorithm::ES256] {
        let key = fresh(algorithm);
        assert_eq!(key.kid(), key.public().unwrap().thumbprint());
    }
    let secret = || Secret::new("x".repeat(64));
    let kid = || generate::imported(Algorithm::HS512, secret()).unwrap().kid().to_owned();
    assert_ne!(kid(), kid());
}

#[test]
fn what_is_no_key_is_refused_and_not_shown() {
    let changed = |algorithm, member: &str, value: Value| {
        let mut jwk = private_jwk(algorithm);
        jwk[member] = value;
        jwk
    };
    for jwk in [
        changed(Algorithm::EdDSA, "x", json!(P256.0)),
        changed(Algorithm::EdDSA, "d", json!("AAAA")),
        changed(Algorithm::EdDSA, "crv", json!("Ed448")),
        changed(Algorithm::EdDSA, "alg", json!("ES256")),
        changed(Algorithm::ES256, "d", json!(ED25519.0)),
        changed(Algorithm::ES256, "y", json!(P256.0)),
        changed(Algorithm::ES256, "x", Value::Null),
        changed(Algorithm::RS256, "d", json!(RSA[2])),
        changed(Algorithm::RS256, "n", json!(RSA[2])),
        changed(Algorithm::RS256, "n", json!("not base64!")),
        json!({ "kty": "oct", "k": "c2VjcmV0", "alg": "HS256", "kid": "x" }),
    ] {
        assert!(Key::from_jwk(&jwk.to_string()).is_err(), "{jwk}");
        let document = json!({
            "private_jwk": jwk, "version": 1, "status": "active", "alg": jwk["alg"],
            "kid": jwk["kid"], "created_at": "2026-01-01T00:00:00Z",
            "expires_at": "2026-01-01T00:00:00Z",
        });
        let error =
            serde_json::from_str::<Material>(&document.to_string()).unwrap_err().to_string();
        assert!(!error.contains("AAAA") && !error.contains(ED25519.0), "{error}");
    }
}

#[test]
fn only_a_secret_that_cannot_be_guessed_is_taken_over() {
    for (algorithm, secret, why) in [
        (Algorithm::HS256, "x".repeat(31), "shorter than 32 bytes"),
        (Algorithm::HS512, "x".repeat(63), "shorter than 64 bytes"),
        (Algorithm::HS256, "x".repeat(64) + "\n", "a blank stands"),
        (Algorithm::EdDSA, "x".repeat(64), "no secrets"),
    ] {
        let failure = generate::imported(algorithm, Secret::new(secret)).unwrap_err();
        assert!(failure.text.contains(why), "{failure}");
    }
}

#[test]
fn a_jwks_holds_public_numbers_only() {
    let key = known(Algorithm::EdDSA);
    let x = ED25519.1;
    let jwk = format!(
        r#"{{"kty":"OKP","crv":"Ed25519","x":"{x}","use":"sig","alg":"EdDSA","kid":"ed"}}"#
    );
    let set_of = |keys: &[&Key]| set(Rules::default(), keys.iter().copied());
    assert_eq!(set_of(&[&key]).jwks(), format!(r#"{{"keys":[{jwk}]}}"#));
    assert_eq!(set_of(&[&fresh(Algorithm::HS256)]).jwks(), r#"{"keys":[]}"#);

    let both = [known(Algorithm::ES256), known(Algorithm::RS256)];
    let all = set_of(&[&both[0], &both[1]]);
    let read: Value = serde_json::from_str(all.jwks()).unwrap();
    for (jwk, key) in read["keys"].as_array().unwrap().iter().zip(&both) {
        assert_eq!(serde_json::from_value::<PublicKey>(jwk.clone()).ok().as_ref(), key.public());
        for member in ["d", "p", "q", "dp", "dq", "qi", "k"] {
            assert_eq!(jwk.get(member), None);
        }
    }
}

#[test]
fn pem_is_what_openssl_reads() {
    let public = "-----BEGIN PUBLIC KEY-----\n\
                  MCowBQYDK2VwAyEA11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=\n\
                  -----END PUBLIC KEY-----\n";
    let private = "-----BEGIN PRIVATE KEY-----\n\
                   MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g\n\
                   -----END PRIVATE KEY-----\n";
    let key = known(Algorithm::EdDSA);
    assert_eq!(key.public().unwrap().pem().unwrap(), public);
    assert_eq!(key.private_pem().unwrap().unwrap().expose(), private);

    let public = "-----BEGIN PUBLIC KEY-----\n\
                  MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEf83OJ3D2xF1Bg8vub9tLe1gHMzV7\n\
                  6e8Tus9uPHvRVEXH8UTNG72bfocs3+257rn0s2ldbqkLJK2KRiMohYjlrQ==\n\
                  -----END PUBLIC KEY-----\n";
    assert_eq!(known(Algorithm::ES256).public().unwrap().pem().unwrap(), public);
    let public = known(Algorithm::RS256).public().unwrap().pem().unwrap();
    assert!(
        public.contains("\nMIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAofgWCuLjybRlzo0tZWJj\n")
    );
    assert!(fresh(Algorithm::HS256).private_pem().unwrap().is_none());
}

#[test]
fn a_token_is_verified_with_the_key_that_it_names_or_with_the_newest_three() {
    let keys: Vec<Key> =
        [Algorithm::EdDSA, Algorithm::HS256, Algorithm::HS512, Algorithm::EdDSA, Algorithm::HS256]
            .map(fresh)
            .into();
    let claims = json!({ "exp": 900 });
    for count in 1..=keys.len() {
        // Newest first, as a set has them.
        let valid = &keys[keys.len() - count..];
        let set = set(Rules::default(), valid);
        for (age, key) in valid.iter().enumerate() {
            let own = Ok(key.kid().to_owned());
            let token = key.sign(&claims).unwrap();
            assert_eq!(verdict(&set, token.expose(), 0), own);
            let found = verdict(&set, &unnamed(key, &claims), 0);
            assert_eq!(found.is_ok(), age < 3, "{age} of {count}: {found:?}");
            assert!(found.is_err() || found == own);
        }
        for gone in &keys[..keys.len() - count] {
            let token = gone.sign(&claims).unwrap();
            assert_eq!(verdict(&set, token.expose(), 0), Err(Refusal::UnknownKey));
            let found = verdict(&set, &unnamed(gone, &claims), 0);
            assert!(matches!(found, Err(Refusal::Signature | Refusal::Algorithm)), "{found:?}");
        }
    }
    let none = set(Rules::default(), []);
    assert_eq!(verdict(&none, &unnamed(&keys[0], &claims), 0), Err(Refusal::UnknownKey));
}

#[test]
fn claims_are_judged_once_the_signature_holds() {
    let key = fresh(Algorithm::EdDSA);
    let rules = Rules {
        issuer: Some("us".to_owned()),
        audience: ["api", "web"].map(str::to_owned).into(),
        leeway: Duration::from_secs(60),
        max_token_ttl: Some(Duration::from_secs(900)),
    };
    let strict = set(rules, [&key]);
    let free = set(Rules::default(), [&key]);
    // What one with rules says, and one without.
    let ours = |more: Value| {
        let mut claims = json!({ "iss": "us", "aud": "api", "iat": 1000, "exp": 1900 });
        for (name, value) in more.as_object().unwrap() {
            claims[name] = value.clone();
        }
        claims
    };
    let fits = Ok(());
    for (claims, now, by_rules, without) in [
        (ours(json!({})), 1000, fits, fits),
        (ours(json!({})), 1900, fits, Err(Refusal::Expired)),
        (ours(json!({})), 1960, Err(Refusal::Expired), Err(Refusal::Expired)),
        (ours(json!({ "exp": 1900.5 })), 1900, fits, fits),
        (ours(json!({ "nbf": 1060 })), 1000, fits, Err(Refusal::NotYet)),
        (ours(json!({ "nbf": 1060.5 })), 1000, Err(Refusal::NotYet), Err(Refusal::NotYet)),
        (ours(json!({ "exp": null })), 1000, Err(Refusal::Endless), Err(Refusal::Endless)),
        (ours(json!({ "exp": "1900" })), 1000, Err(Refusal::Malformed), Err(Refusal::Malformed)),
        (ours(json!({ "iss": "them" })), 1000, Err(Refusal::Issuer), fits),
        (ours(json!({ "iss": null })), 1000, Err(Refusal::Issuer), fits),
        (ours(json!({ "aud": ["other", "web"] })), 1000, fits, fits),
        (ours(json!({ "aud": ["other"] })), 1000, Err(Refusal::Audience), fits),
        (ours(json!({ "aud": null })), 1000, Err(Refusal::Audience), fits),
        // Whom it is not for a fresh one does not help.
        (ours(json!({ "aud": "other" })), 9999, Err(Refusal::Audience), Err(Refusal::Expired)),
    ] {
        let token = key.sign(&claims).unwrap();
        for (set, expected) in [(&strict, by_rules), (&free, without)] {
            let found = verdict(set, token.expose(), now).map(drop);
            assert_eq!(found, expected, "{claims} at {now}");
        }
        // Of an expired one that nobody signed the caller learns nothing.
        let (signed, _) = token.expose().rsplit_once('.').unwrap();
        let forged = format!("{signed}.{}", text(&[0; 64]));
        assert_eq!(verdict(&strict, &forged, now).map(drop), Err(Refusal::Signature));
    }
    for (exp, outlives) in [(1900, false), (1901, true)] {
        let token = key.sign(&ours(json!({ "exp": exp }))).unwrap();
        let verified = strict.verify(token.expose(), Duration::from_secs(1000)).ok().unwrap();
        assert_eq!(verified.outlives, outlives);
    }
}

#[test]
fn a_token_does_not_choose_how_it_is_verified() {
    let key = known(Algorithm::RS256);
    let set = set(Rules::default(), [&key]);
    let claims = json!({ "exp": 900 });
    // With the public key as the secret.
    let pem = Secret::new(key.public().unwrap().pem().unwrap());
    let confused = Key::shared("rsa".to_owned(), Algorithm::HS256, pem).ok().unwrap();
    let token = confused.sign(&claims).unwrap();
    assert_eq!(verdict(&set, token.expose(), 0), Err(Refusal::Algorithm));
    assert_eq!(verdict(&set, &unnamed(&confused, &claims), 0), Err(Refusal::Algorithm));
    for (header, refusal) in [
        (json!({ "alg": "none" }), Refusal::Malformed),
        (json!({ "alg": "RS256", "kid": "other" }), Refusal::UnknownKey),
        (json!({ "alg": "RS512", "kid": "rsa" }), Refusal::Algorithm),
        (
            json!({ "alg": "RS256", "kid": "rsa", "crit": ["b64"], "b64": false }),
            Refusal::Malformed,
        ),
        (json!({ "alg": "RS256", "kid": 7 }), Refusal::Malformed),
        (json!({ "kid": "rsa" }), Refusal::Malformed),
    ] {
        assert_eq!(verdict(&set, &unsigned(&header, &claims), 0), Err(refusal), "{header}");
    }
    for nonsense in ["", ".", "..", "a.b", "a.b.c", "a.b.c.d.e", "\0", "ä.ö.ü"] {
        assert_eq!(verdict(&set, nonsense, 0), Err(Refusal::Malformed), "{nonsense:?}");
    }
}

#[test]
fn a_token_that_is_too_long_is_not_looked_at() {
    let key = fresh(Algorithm::HS256);
    let set = set(Rules::default(), [&key]);
    let of = |length: usize| key.sign(&json!({ "exp": 900, "x": "x".repeat(length) })).unwrap();
    assert!(verdict(&set, of(5000).expose(), 0).is_ok());
    assert_eq!(verdict(&set, of(7000).expose(), 0), Err(Refusal::TooLong));
    assert_eq!(verdict(&set, &"x".repeat(LONGEST_TOKEN), 0), Err(Refusal::Malformed));
    assert_eq!(verdict(&set, &"x".repeat(LONGEST_TOKEN + 1), 0), Err(Refusal::TooLong));
}

#[test]
fn reasons_are_told_apart_and_callers_learn_one_thing() {
    let reasons: BTreeSet<&str> = Refusal::ALL.map(Refusal::reason).into();
    assert_eq!(reasons.len(), Refusal::ALL.len());
    for refusal in Refusal::ALL {
        let expected = if refusal == Refusal::Expired { "Token expired" } else { "Invalid token" };
        assert_eq!(refusal.answer(), expected);
    }
}
