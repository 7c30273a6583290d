//! The cluster's own authority, and the certificates that its media pods and its gateway show.

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use std::time::Duration;
use time::OffsetDateTime;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// How long an authority is trusted.
const AUTHORITY_LIFE: Duration = DAY.saturating_mul(3650);
/// How long a server's certificate is good.
const CERTIFICATE_LIFE: Duration = DAY.saturating_mul(90);
/// Clocks of hosts that are behind still take a new certificate.
const BEHIND: Duration = Duration::from_secs(60 * 60);

/// A certificate and its key, in PEM.
#[derive(Clone, Debug)]
pub struct Pair {
    pub certificate: String,
    pub key: String,
    /// When another one should take its place, in time since 1970: a third of its life is left.
    pub renew_at: Duration,
}

/// A new authority.
///
/// # Errors
/// When the system gives no randomness.
pub fn authority(cluster: &str, now: Duration) -> Result<Pair, rcgen::Error> {
    let key = KeyPair::generate()?;
    let certificate = authority_parameters(cluster, now)?.self_signed(&key)?;
    Ok(Pair {
        certificate: certificate.pem(),
        key: key.serialize_pem(),
        renew_at: renew_at(now, AUTHORITY_LIFE),
    })
}

/// A new certificate for servers of a cluster, signed by its authority's key. It is called by the first
/// of the names; those that are addresses are written as such.
///
/// # Errors
/// When the authority's key is none, or a name cannot be one.
pub fn server(
    cluster: &str,
    authority_key: &str,
    names: &[String],
    now: Duration,
) -> Result<Pair, rcgen::Error> {
    let issuer = Issuer::new(
        authority_parameters(cluster, now)?,
        KeyPair::from_pem(authority_key)?,
    );
    let mut parameters = CertificateParams::new(names)?;
    if let Some(first) = names.first() {
        parameters
            .distinguished_name
            .push(DnType::CommonName, first.as_str());
    }
    parameters.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    parameters.use_authority_key_identifier_extension = true;
    parameters.not_before = date(now.saturating_sub(BEHIND));
    parameters.not_after = date(now + CERTIFICATE_LIFE);
    let key = KeyPair::generate()?;
    let certificate = parameters.signed_by(&key, &issuer)?;
    Ok(Pair {
        certificate: certificate.pem(),
        key: key.serialize_pem(),
        renew_at: renew_at(now, CERTIFICATE_LIFE),
    })
}

/// With the same name and key it is the same authority, whenever the parameters are made.
fn authority_parameters(cluster: &str, now: Duration) -> Result<CertificateParams, rcgen::Error> {
    let mut parameters = CertificateParams::new(Vec::new())?;
    let name = format!("Mafalda {cluster}");
    parameters.distinguished_name.push(DnType::CommonName, name);
    parameters.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    parameters.not_before = date(now.saturating_sub(BEHIND));
    parameters.not_after = date(now + AUTHORITY_LIFE);
    Ok(parameters)
}

fn renew_at(now: Duration, life: Duration) -> Duration {
    now + life * 2 / 3
}

fn date(time: Duration) -> OffsetDateTime {
    let seconds = i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
    OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(OffsetDateTime::UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::SERVER_NAME;
    use crate::pod_api::access::server_name;
    use std::sync::Arc;
    use tokio_rustls::rustls::client::WebPkiServerVerifier;
    use tokio_rustls::rustls::client::danger::ServerCertVerifier;
    use tokio_rustls::rustls::crypto::ring::default_provider;
    use tokio_rustls::rustls::pki_types::pem::PemObject;
    use tokio_rustls::rustls::pki_types::{CertificateDer, UnixTime};
    use tokio_rustls::rustls::{Error, RootCertStore};

    fn verify(authority: &str, certificate: &str, at: Duration) -> Result<(), Error> {
        let der = |pem: &str| CertificateDer::from_pem_slice(pem.as_bytes()).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(der(authority)).unwrap();
        let verifier =
            WebPkiServerVerifier::builder_with_provider(roots.into(), Arc::new(default_provider()))
                .build()
                .unwrap();
        let at = UnixTime::since_unix_epoch(at);
        let certificate = der(certificate);
        let verified = verifier.verify_server_cert(&certificate, &[], &server_name(), &[], at);
        verified.map(drop)
    }

    /// Protects the way to the pods: a certificate is good when it was made, and under an authority
    /// that is as old as it may be; another cluster's is not.
    #[test]
    fn pods_show_what_their_authority_signed() {
        let now = Duration::from_secs(1_800_000_000);
        let (ours, theirs) = (authority("a", now).unwrap(), authority("a", now).unwrap());
        let later = now + DAY * 1000;
        for at in [now, later] {
            let pair = server("a", &ours.key, &[SERVER_NAME.to_owned()], at).unwrap();
            verify(&ours.certificate, &pair.certificate, at).unwrap();
            verify(&ours.certificate, &pair.certificate, pair.renew_at).unwrap();
            let over = at + CERTIFICATE_LIFE + DAY;
            assert!(verify(&ours.certificate, &pair.certificate, over).is_err());
            assert!(verify(&theirs.certificate, &pair.certificate, at).is_err());
        }
    }
}
