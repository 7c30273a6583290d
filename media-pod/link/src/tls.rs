//! Whom a client trusts.

use crate::client::ConnectError;
use std::path::Path;
use std::sync::Arc;
use tokio_rustls::rustls::client::danger::{
    HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier,
};
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::{self, client::WebPkiServerVerifier};
use tokio_rustls::rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
};

/// What a cluster's operator names each pod's certificate. A pod is reached by an address that nobody
/// knew when its certificate was made.
const POD: &str = "pod.mafalda";

/// Trusts the authorities in `ca`, a PEM file, or the system's.
///
/// Authorities that the user names vouch for pods by the name [`POD`] too, besides the name or
/// address in the URL; the system's do not.
pub fn config(ca: Option<&Path>) -> Result<ClientConfig, ConnectError> {
    let setting = |error: &dyn std::fmt::Display| ConnectError::Setting(error.to_string());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| setting(&error))?;
    let mut roots = RootCertStore::empty();
    let Some(path) = ca else {
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        return Ok(builder.with_root_certificates(roots).with_no_client_auth());
    };
    let wrong = |reason: &dyn std::fmt::Display| {
        ConnectError::Setting(format!("MAFALDA_CA, {}: {reason}", path.display()))
    };
    let found = rustls_native_certs::load_certs_from_paths(Some(path), None);
    if let Some(error) = found.errors.first() {
        return Err(wrong(error));
    }
    if found.certs.is_empty() {
        return Err(wrong(&"no certificate in it"));
    }
    roots.add_parsable_certificates(found.certs);
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider)
        .build()
        .map_err(|error| wrong(&error))?;
    Ok(builder
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(PodVerifier(verifier)))
        .with_no_client_auth())
}

/// Checks certificates as usual, for one name or the other.
#[derive(Debug)]
struct PodVerifier(Arc<WebPkiServerVerifier>);

impl ServerCertVerifier for PodVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verify = |name: &ServerName<'_>| {
            self.0
                .verify_server_cert(end_entity, intermediates, name, ocsp_response, now)
        };
        let error = match verify(server_name) {
            Err(error) => error,
            verified => return verified,
        };
        let is_about_the_name = matches!(
            error,
            Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. }
            )
        );
        match ServerName::try_from(POD) {
            // The first error says what the user can change.
            Ok(pod) if is_about_the_name => verify(&pod).map_err(|_| error),
            _ => Err(error),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}
