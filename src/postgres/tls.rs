//! TLS as libpq's `sslmode` means it.
//!
//! Receives a connection, reads its CA file at each call, gives what makes TLS sessions for it.
//! Never checks less than the mode asks for.

use std::error::Error;
use std::io;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::error::{Class, Failure, chain};
use crate::snapshot::{Connection, SslMode};

/// What makes the TLS sessions of `connection`; `None` where it wants none.
pub(super) fn connector(connection: &Connection) -> Result<Option<MakeRustlsConnect>, Failure> {
    let file = connection.sslrootcert.as_deref();
    let trust = match (connection.sslmode, file) {
        (SslMode::Disable, _) => return Ok(None),
        (SslMode::Allow | SslMode::Prefer, _) | (SslMode::Require, None) => None,
        // libpq: a CA file makes `require` check the certificate.
        (SslMode::Require | SslMode::VerifyCa, Some(file)) => Some((file, false)),
        (SslMode::VerifyFull, Some(file)) => Some((file, true)),
        (mode @ (SslMode::VerifyCa | SslMode::VerifyFull), None) => {
            let text = format!("connect to the database: sslmode {} has no CA", mode.as_str());
            let hint = "name the CA's certificate in the connection's `sslrootcert`";
            return Err(Failure::new(Class::Ours, text).hint(hint));
        }
    };
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let trust = trust.map(|(file, name)| Trust::read(file, name, &provider)).transpose()?;
    let config = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| Failure::new(Class::Ours, format!("ready TLS: {error}")))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Verifier { provider, trust }))
        .with_no_client_auth();
    Ok(Some(MakeRustlsConnect::new(config)))
}

/// What to do where TLS was the reason.
pub(super) fn hint(error: &(dyn Error + 'static)) -> Option<&'static str> {
    let text = chain(error);
    if text.contains("server does not support TLS") {
        return Some("switch TLS on in the database, or choose a weaker `sslmode`");
    }
    text.contains("invalid peer certificate").then_some(
        "`sslrootcert` must hold the CA of the database's certificate, and with sslmode \
         verify-full the certificate must name the host as a subjectAltName",
    )
}

/// Whom to believe.
#[derive(Debug)]
struct Trust {
    roots: Vec<CertificateDer<'static>>,
    by_roots: Arc<WebPkiServerVerifier>,
    check_name: bool,
}

impl Trust {
    fn read(file: &str, check_name: bool, provider: &Arc<CryptoProvider>) -> Result<Self, Failure> {
        let doing = format!("use the database's CA `{file}`");
        let refuse = |class, why: String| Failure::new(class, format!("{doing}: {why}"));
        let pem = std::fs::read(file).map_err(|error| {
            let missing = error.kind() == io::ErrorKind::NotFound;
            refuse(if missing { Class::Missing } else { Class::Ours }, error.to_string())
        })?;
        let roots: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(&pem)
            .collect::<Result<_, _>>()
            .map_err(|error| refuse(Class::Ours, error.to_string()))?;
        let mut store = RootCertStore::empty();
        for root in &roots {
            store.add(root.clone()).map_err(|error| refuse(Class::Ours, error.to_string()))?;
        }
        let by_roots =
            WebPkiServerVerifier::builder_with_provider(store.into(), Arc::clone(provider))
                .build()
                .map_err(|error| refuse(Class::Ours, error.to_string()))?;
        Ok(Self { roots, by_roots, check_name })
    }
}

/// Checks certificates as far as `trust` asks; with none, not at all.
#[derive(Debug)]
struct Verifier {
    provider: Arc<CryptoProvider>,
    trust: Option<Trust>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let Some(trust) = &self.trust else { return Ok(ServerCertVerified::assertion()) };
        // A self-signed server certificate may be its own root, as in libpq.
        if trust.roots.iter().any(|root| root.as_ref() == end_entity.as_ref()) {
            if trust.check_name {
                let parsed = ParsedCertificate::try_from(end_entity)?;
                rustls::client::verify_server_name(&parsed, server_name)?;
            }
            return Ok(ServerCertVerified::assertion());
        }
        let by_roots = &trust.by_roots;
        match by_roots.verify_server_cert(
            end_entity,
            intermediates,
            server_name,
            ocsp_response,
            now,
        ) {
            // The name is looked at last: everything else was in order.
            Err(rustls::Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) if !trust.check_name => Ok(ServerCertVerified::assertion()),
            verdict => verdict,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        match self.trust {
            Some(_) => verify_tls12_signature(message, cert, dss, algorithms),
            None => Ok(HandshakeSignatureValid::assertion()),
        }
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        match self.trust {
            Some(_) => verify_tls13_signature(message, cert, dss, algorithms),
            None => Ok(HandshakeSignatureValid::assertion()),
        }
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
