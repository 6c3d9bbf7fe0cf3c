//! Certificates of the PKI engine, each with a key of its own.
//!
//! Receives what a certificate is to say, gives it with its key and chain, and how long it lives.
//! Never keeps one, and never asks twice: where one may have been made that nobody has, the failure
//! is `Unclear`.

use std::sync::Arc;
use std::time::Duration;

use rustify_derive::Endpoint;
use serde::Deserialize;

use crate::agent::event::Reading;
use crate::error::{Class, Failure};
use crate::lease::Granted;
use crate::secret::{Secret, stored};
use crate::snapshot::{Field, Fields, Version};
use crate::vault::answer::Envelope;
use crate::vault::error::Operation;
use crate::vault::wire::Call;
use crate::vault::{Source, Vault, names};

/// The fields that a certificate has as a secret. `fullchain` is what most servers want for their
/// certificate file, `bundle` has the key in it too.
pub const CERTIFICATE_FIELDS: [&str; 7] =
    ["certificate", "private_key", "chain", "ca", "serial", "fullchain", "bundle"];

/// What a certificate is to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateRequest {
    /// Mount of the PKI engine.
    pub mount: String,
    /// Role.
    pub role: String,
    /// The name that it is of.
    pub common_name: String,
    /// Further DNS names and mail addresses.
    pub alt_names: Vec<String>,
    /// IP addresses.
    pub ip_sans: Vec<String>,
    /// How long it lives, in whole seconds; the role's own where there is none.
    pub ttl: Option<Duration>,
}

// vaultrs answers this with a type that prints the key.

#[derive(Endpoint)]
#[endpoint(path = "{self.mount}/issue/{self.role}", method = "POST")]
struct IssueCertificate {
    #[endpoint(skip)]
    mount: String,
    #[endpoint(skip)]
    role: String,
    common_name: String,
    /// With commas between.
    alt_names: String,
    ip_sans: String,
    ttl: Option<String>,
}

#[derive(Deserialize)]
struct Issued {
    certificate: String,
    #[serde(deserialize_with = "stored::deserialize")]
    private_key: Secret,
    issuing_ca: String,
    /// From the issuer to the root; older servers leave it out where that is the issuer.
    #[serde(default)]
    ca_chain: Option<Vec<String>>,
    serial_number: String,
    /// Seconds since 1970.
    expiration: u64,
    /// The same; older servers do not say.
    #[serde(default)]
    not_before: Option<u64>,
}

impl CertificateRequest {
    /// Why nothing else can be done with it than to have one made.
    pub(super) fn only_made(&self) -> Failure {
        let Self { mount, role, .. } = self;
        Failure::new(
            Class::Ours,
            format!("use `{mount}/issue/{role}`: certificates are made there"),
        )
    }
}

impl Vault {
    /// Has a certificate made.
    ///
    /// # Errors
    /// `Unclear` when one may exist all the same; `Ours` for a source that makes none.
    pub async fn make(&self, token: &Secret, source: &Source) -> Result<Reading, Failure> {
        let Source::Certificate(request) = source else {
            return Err(Failure::new(Class::Ours, "make a certificate: this source gives none"));
        };
        let endpoint = IssueCertificate {
            mount: names::path("mount", &request.mount)?,
            role: names::path("role", &request.role)?,
            common_name: request.common_name.clone(),
            alt_names: request.alt_names.join(","),
            ip_sans: request.ip_sans.join(","),
            ttl: request.ttl.map(|ttl| format!("{}s", ttl.as_secs())),
        };
        let call = Call {
            operation: Operation::Issue,
            doing: format!("issue `{}/issue/{}`", endpoint.mount, endpoint.role),
            token: Some(token),
            hidden: Vec::new(),
        };
        let asked = self.inner.wire.wall();
        let answer: Envelope<Issued> = self.inner.wire.send(&call, &endpoint).await?;
        if !answer.lease_id.expose().is_empty() {
            let failure = call
                .failure(Class::Ours, "vault's answer is a lease, and the certificate ends with it")
                .hint("write `generate_lease=false` to the role: a certificate ends by itself");
            return Ok(Reading::Leased(self.discard(token, &answer.lease_id, failure).await));
        }
        let Some(issued) = answer.data else {
            return Err(call.failure(Class::Unclear, "vault's answer has no `certificate`"));
        };
        let Some(left) = left(&issued, asked) else {
            return Err(call
                .failure(Class::Unclear, "the certificate has ended by this machine's clock")
                .hint("compare this machine's clock with Vault's"));
        };
        let version = shown(&issued.serial_number);
        let content = Granted::Fields(Arc::new(fields(issued)));
        Ok(Reading::New { version, content, left: Some(left) })
    }
}

/// How long it lives for whoever checks it by this machine's clock, and never longer than it is
/// made for: the clock may be behind.
fn left(issued: &Issued, asked: Duration) -> Option<Duration> {
    let end = Duration::from_secs(issued.expiration);
    let whole = issued.not_before.map(|begin| end.saturating_sub(Duration::from_secs(begin)));
    let left = end.saturating_sub(asked);
    Some(whole.map_or(left, |whole| left.min(whole))).filter(|left| !left.is_zero())
}

/// A version is shown; nothing but a serial number gets there.
fn shown(serial: &str) -> Version {
    let digits = serial.chars().filter(|c| c.is_ascii_hexdigit() || *c == ':');
    digits.take(128).collect::<String>().into()
}

/// Each PEM text ends with its line, so that one can stand behind the other.
fn fields(issued: Issued) -> Fields {
    let pem = |text: &str| format!("{}\n", text.trim_end());
    let ca = pem(&issued.issuing_ca);
    let chain: String = match issued.ca_chain {
        Some(chain) if !chain.is_empty() => chain.iter().map(|one| pem(one)).collect(),
        Some(_) | None => ca.clone(),
    };
    let certificate = pem(&issued.certificate);
    let private_key = Secret::new(pem(issued.private_key.expose()));
    let fullchain = format!("{certificate}{chain}");
    let bundle = Secret::new(format!("{}{fullchain}", private_key.expose()));
    let texts = [certificate, chain, ca, issued.serial_number, fullchain];
    let [certificate, chain, ca, serial, fullchain] = texts.map(Secret::new);
    let values = [certificate, private_key, chain, ca, serial, fullchain, bundle];
    let named = CERTIFICATE_FIELDS.into_iter().zip(values);
    named.map(|(name, value)| (name.to_owned(), Field::Text(value))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn issued(json: &str) -> Issued {
        serde_json::from_str(json).unwrap()
    }

    const WHOLE: &str = r#"{
        "certificate": "CERT", "private_key": "KEY", "issuing_ca": "CA\n",
        "ca_chain": ["CA", "ROOT"], "serial_number": "01:02", "expiration": 1100, "not_before": 970
    }"#;
    const OLD: &str = r#"{
        "certificate": "CERT\n", "private_key": "KEY", "issuing_ca": "CA", "serial_number": "1",
        "expiration": 1100
    }"#;

    #[test]
    fn texts_end_with_their_line_and_stand_behind_each_other() {
        let fields = fields(issued(WHOLE));
        let text = |name: &str| match &fields[name] {
            Field::Text(text) => text.expose().to_owned(),
            Field::Json(_) => panic!("{name}"),
        };
        assert_eq!(text("chain"), "CA\nROOT\n");
        assert_eq!(text("serial"), "01:02");
        assert_eq!(text("fullchain"), "CERT\nCA\nROOT\n");
        assert_eq!(text("bundle"), "KEY\nCERT\nCA\nROOT\n");
        assert_eq!(fields.len(), CERTIFICATE_FIELDS.len());
        assert_eq!(super::fields(issued(OLD))["chain"], super::fields(issued(OLD))["ca"]);
    }

    #[test]
    fn its_life_is_what_this_machines_clock_says_and_never_more_than_it_was_made_for() {
        for (json, asked, seconds) in [
            (WHOLE, 1000, Some(100)),
            (OLD, 1000, Some(100)),
            (WHOLE, 500, Some(130)),
            (OLD, 500, Some(600)),
            (WHOLE, 1100, None),
            (WHOLE, 2000, None),
        ] {
            let found = left(&issued(json), Duration::from_secs(asked));
            assert_eq!(found, seconds.map(Duration::from_secs), "{json} {asked}");
        }
    }
}
