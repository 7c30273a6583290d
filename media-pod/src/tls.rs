//! The certificate of the HTTP API.

use crate::config::{ConfigError, Tls};
use std::fmt::Display;
use std::fs::File;
use std::io::BufReader;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};
use tokio_rustls::{TlsAcceptor, rustls};

/// How often the files are looked at, at most: whoever renews a certificate does so long before its
/// end.
const OFTEN: Duration = Duration::from_secs(10);

/// A certificate that is read again when its files change.
pub struct Certificate {
    files: Tls,
    acceptor: TlsAcceptor,
    looked: Instant,
    modified: [Option<SystemTime>; 2],
}

impl Certificate {
    /// Reads the files.
    ///
    /// # Errors
    /// One of them cannot be used: names its flag.
    pub fn read(files: Tls) -> Result<Self, ConfigError> {
        Ok(Self {
            modified: modified(&files),
            acceptor: tls_acceptor(&files)?,
            looked: Instant::now(),
            files,
        })
    }

    /// What makes a connection a TLS one. Files that cannot be used leave the last certificate.
    pub fn acceptor(&mut self) -> &TlsAcceptor {
        if self.looked.elapsed() >= OFTEN {
            self.looked = Instant::now();
            self.read_again();
        }
        &self.acceptor
    }

    fn read_again(&mut self) {
        let modified = modified(&self.files);
        if modified == self.modified {
            return;
        }
        match tls_acceptor(&self.files) {
            Ok(acceptor) => {
                self.acceptor = acceptor;
                self.modified = modified;
                tracing::info!("the certificate was renewed");
            }
            // Perhaps one of the two files is not written yet.
            Err(error) => tracing::warn!(%error, "the certificate was not renewed"),
        }
    }
}

fn modified(files: &Tls) -> [Option<SystemTime>; 2] {
    [&files.certificate, &files.key].map(|path| path.metadata().and_then(|m| m.modified()).ok())
}

/// What the certificate and the key make.
///
/// # Errors
/// One of the files cannot be used: names its flag.
pub fn tls_acceptor(tls: &Tls) -> Result<TlsAcceptor, ConfigError> {
    let certificate = |what: &dyn Display| ConfigError::Flag {
        flag: "--tls-cert",
        reason: format!("{}: {what}", tls.certificate.display()),
    };
    let key_error = |what: &dyn Display| ConfigError::Flag {
        flag: "--tls-key",
        reason: format!("{}: {what}", tls.key.display()),
    };
    let file = File::open(&tls.certificate).map_err(|error| certificate(&error))?;
    let certificates = rustls_pemfile::certs(&mut BufReader::new(file))
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| certificate(&error))?;
    if certificates.is_empty() {
        return Err(certificate(&"no certificate in it"));
    }
    let file = File::open(&tls.key).map_err(|error| key_error(&error))?;
    let key = rustls_pemfile::private_key(&mut BufReader::new(file))
        .map_err(|error| key_error(&error))?
        .ok_or_else(|| key_error(&"no private key in it"))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|builder| {
            builder
                .with_no_client_auth()
                .with_single_cert(certificates, key)
        })
        .map_err(|error| certificate(&error))?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_used_leaves_the_last_certificate() {
        let folder = tempfile::tempdir().unwrap();
        let files = Tls {
            certificate: folder.path().join("tls.crt"),
            key: folder.path().join("tls.key"),
        };
        assert!(Certificate::read(files.clone()).is_err());
        let made = std::process::Command::new("openssl")
            .args(["req", "-x509", "-newkey", "ec", "-pkeyopt"])
            .args(["ec_paramgen_curve:prime256v1", "-nodes", "-subj", "/CN=pod"])
            .arg("-keyout")
            .arg(&files.key)
            .arg("-out")
            .arg(&files.certificate)
            .output()
            .unwrap();
        assert!(made.status.success());
        let mut certificate = Certificate::read(files.clone()).unwrap();
        let before = certificate.modified;
        std::fs::write(&files.key, "no key").unwrap();
        certificate.read_again();
        assert_eq!(certificate.modified, before, "tried again later");
    }
}
