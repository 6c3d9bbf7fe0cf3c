//! Why a TLS connection failed, in words that a person can act on.

use std::error::Error;
use std::io;

use rustls::{AlertDescription, CertificateError};

/// Why TLS failed and what to do about it; `None` where it was not TLS that failed.
#[expect(clippy::wildcard_enum_match_arm, reason = "the library's lists are long and grow")]
pub(in crate::vault) fn refusal(error: &(dyn Error + 'static)) -> Option<(String, &'static str)> {
    if let Some(ours) = refusal_of_ours(error) {
        return Some(ours);
    }
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

/// Why the server does not accept our certificate, or that we have none. It may say so only after
/// our side of the handshake, when the request is on its way already; it does not read that.
#[expect(clippy::wildcard_enum_match_arm, reason = "the library's list is long and grows")]
pub(in crate::vault) fn refusal_of_ours(
    error: &(dyn Error + 'static),
) -> Option<(String, &'static str)> {
    let rustls::Error::AlertReceived(alert) = tls_error(error)? else { return None };
    match alert {
        AlertDescription::CertificateRequired => Some((
            "the server wants a certificate of ours".to_owned(),
            "give it `vault.client_cert` and `vault.client_key`",
        )),
        AlertDescription::BadCertificate
        | AlertDescription::UnsupportedCertificate
        | AlertDescription::CertificateRevoked
        | AlertDescription::CertificateExpired
        | AlertDescription::CertificateUnknown
        | AlertDescription::UnknownCA
        | AlertDescription::AccessDenied => Some((
            format!("the server does not accept our certificate: {alert:?}"),
            "have our certificate (`vault.client_cert`, or that of `vault.auth.cert`) made by an \
             authority that the server believes",
        )),
        _ => None,
    }
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
