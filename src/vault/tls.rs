//! The HTTP client and its trust in the server.
//!
//! Receives the CA file, gives a client that trusts nothing else, and says in plain words why a
//! certificate was refused. Never follows a redirect and never uses a proxy: both would carry the
//! token to another host.

use std::error::Error;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use reqwest::redirect::Policy;
use reqwest::{Certificate, Client};
use rustls::CertificateError;

use crate::error::{Class, Failure, chain};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Shorter than what servers and balancers commonly keep an idle connection, so that a request
/// rarely meets one that is just being closed.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);

/// One client, made anew when the CA file changes.
pub(super) struct Clients {
    ca_cert: Option<PathBuf>,
    current: Mutex<Current>,
}

struct Current {
    ca: Vec<u8>,
    client: Client,
}

impl Clients {
    pub(super) fn new(address: &str, ca_cert: Option<PathBuf>) -> Result<Self, Failure> {
        // Fails only where a provider is installed already, and that is as good.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let ca = ca_cert.as_deref().map(read_ca).transpose()?;
        let trust = match ca_cert.as_deref().zip(ca.as_deref()) {
            Some((path, pem)) => Trust::Only(path, pem),
            None if address.starts_with("https:") => Trust::System,
            None => Trust::Nobody,
        };
        let client = build(trust)?;
        Ok(Self { ca_cert, current: Mutex::new(Current { ca: ca.unwrap_or_default(), client }) })
    }

    /// The client for the CA as it is now; while the file cannot be used, the client as it was.
    pub(super) fn client(&self) -> Client {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(path) = &self.ca_cert
            && let Ok(ca) = read_ca(path)
            && ca != current.ca
            && let Ok(client) = build(Trust::Only(path, &ca))
        {
            *current = Current { ca, client };
        }
        current.client.clone()
    }
}

fn read_ca(path: &Path) -> Result<Vec<u8>, Failure> {
    std::fs::read(path).map_err(|error| {
        let class =
            if error.kind() == io::ErrorKind::NotFound { Class::Missing } else { Class::Ours };
        Failure::new(class, format!("read vault's CA `{}`: {error}", path.display()))
            .hint("`vault.ca_cert` names a PEM file that this process can read")
    })
}

/// Whom the client believes.
enum Trust<'a> {
    /// The authorities of this PEM file.
    Only(&'a Path, &'a [u8]),
    /// The system's authorities.
    System,
    /// There is no TLS; reading the system's authorities would only cost time.
    Nobody,
}

fn build(trust: Trust<'_>) -> Result<Client, Failure> {
    let mut builder = Client::builder()
        .user_agent(concat!("leasehold/", env!("CARGO_PKG_VERSION")))
        .redirect(Policy::none())
        .retry(reqwest::retry::never())
        .no_proxy()
        .referer(false)
        .http1_only()
        .connect_timeout(CONNECT_TIMEOUT)
        .pool_idle_timeout(IDLE_TIMEOUT);
    let refuse = |what: String, why: String| Failure::new(Class::Ours, format!("{what}: {why}"));
    let mut what = "ready the vault client".to_owned();
    match trust {
        Trust::System => {}
        Trust::Nobody => builder = builder.tls_certs_only([]),
        Trust::Only(path, pem) => {
            what = format!("use vault's CA `{}`", path.display());
            let roots = Certificate::from_pem_bundle(pem)
                .map_err(|error| refuse(what.clone(), chain(&error)))?;
            if roots.is_empty() {
                return Err(refuse(what, "it holds no PEM certificate".to_owned()));
            }
            builder = builder.tls_certs_only(roots);
        }
    }
    builder.build().map_err(|error| refuse(what, chain(&error)))
}

/// Why TLS failed and what to do about it; `None` where it was not TLS that failed.
#[expect(clippy::wildcard_enum_match_arm, reason = "the library's lists are long and grow")]
pub(super) fn refusal(error: &(dyn Error + 'static)) -> Option<(String, &'static str)> {
    let error = tls_error(error)?;
    let certificate = match error {
        rustls::Error::InvalidCertificate(certificate) => certificate,
        rustls::Error::InvalidMessage(_) => {
            let hint = "begin `vault.address` with http:// where the server has no TLS";
            return Some(("the server does not speak TLS".to_owned(), hint));
        }
        other => {
            return Some((
                format!("TLS failed: {other}"),
                "compare the TLS settings of both sides",
            ));
        }
    };
    Some(match certificate {
        CertificateError::UnknownIssuer => (
            "the server's certificate comes from an unknown authority".to_owned(),
            "name the authority's certificate in `vault.ca_cert`",
        ),
        // An authority that was made anew under its old name.
        CertificateError::BadSignature => (
            "the server's certificate comes from an unknown authority: its signature is not by \
             the key that we know under that name"
                .to_owned(),
            "name the authority's new certificate in `vault.ca_cert`",
        ),
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => (
            format!("the server's certificate is for another name: {certificate}"),
            "use in `vault.address` a name that the certificate has",
        ),
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => (
            format!("the server's certificate has expired: {certificate}"),
            "renew the server's certificate, or set this machine's clock",
        ),
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => (
            format!("the server's certificate is not valid yet: {certificate}"),
            "set this machine's clock",
        ),
        other => (
            format!("the server's certificate is refused: {other}"),
            "the certificate must be X.509 version 3 and name the server as a subjectAltName",
        ),
    })
}

fn tls_error<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a rustls::Error> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref::<rustls::Error>() {
            return Some(found);
        }
        // An io error is silent about the error that it was made of.
        next = match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(inner) => Some(inner),
            None => error.source(),
        };
    }
    None
}
