//! A certificate chain and its private key, read from PEM and checked.
//!
//! Responsible for: reading the two files, saying exactly which of them is wrong and how, and
//! when the certificate expires. Not for: serving it, and not for judging the chain: clients do.
//! Invariant: in a `Certificate` the key belongs to the first certificate of the chain. The
//! contents of the key file never appear in an error.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls::crypto::CryptoProvider;
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::{self, PemObject as _};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use x509_parser::parse_x509_certificate;

use super::Config;

/// Why a certificate and its key cannot be served. Names the file.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file is missing or may not be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The file is cut short or damaged.
    #[error("{} is not well-formed PEM", path.display())]
    Pem {
        /// The file.
        path: PathBuf,
    },
    /// PEM, but no `CERTIFICATE` in it.
    #[error("no certificate in {}", path.display())]
    NoCertificate {
        /// The file.
        path: PathBuf,
    },
    /// PEM, but no private key in it that is not encrypted.
    #[error("no private key in {} (an encrypted one cannot be used)", path.display())]
    NoKey {
        /// The file.
        path: PathBuf,
    },
    /// The first certificate is damaged or of an unsupported kind.
    #[error("the certificate in {} cannot be used", path.display())]
    BadCertificate {
        /// The file.
        path: PathBuf,
        /// What the cryptographic library says.
        source: rustls::Error,
    },
    /// The key is damaged or of an unsupported kind.
    #[error("the private key in {} cannot be used", path.display())]
    BadKey {
        /// The file.
        path: PathBuf,
        /// What the cryptographic library says.
        source: rustls::Error,
    },
    /// Both are good, but the key is another certificate's.
    #[error("the key in {} is not that of the certificate in {}", key.display(), cert.display())]
    Mismatch {
        /// The certificate file.
        cert: PathBuf,
        /// The key file.
        key: PathBuf,
    },
}

/// A certificate ready to be served.
#[derive(Debug)]
pub(super) struct Certificate {
    key: Arc<CertifiedKey>,
    not_after: SystemTime,
}

impl Certificate {
    /// Reads and checks both files. Blocks.
    pub(super) fn load(config: &Config) -> Result<Self, Error> {
        let chain = read_chain(&config.cert)?;
        let not_after = expiry(&chain, &config.cert)?;
        let key = read_key(&config.key)?;
        let bad_key = |source| Error::BadKey { path: config.key.clone(), source };
        let provider = CryptoProvider::get_default().expect("installed before anything is loaded");
        let key = provider.key_provider.load_private_key(key).map_err(bad_key)?;
        let certified = CertifiedKey::new(chain, key);
        if certified.keys_match().is_err() {
            let Config { cert, key } = config.clone();
            return Err(Error::Mismatch { cert, key });
        }
        Ok(Self { key: Arc::new(certified), not_after })
    }

    pub(super) fn key(&self) -> Arc<CertifiedKey> {
        Arc::clone(&self.key)
    }

    pub(super) fn not_after(&self) -> SystemTime {
        self.not_after
    }

    /// Shows the expiry as the gauge `name`.
    pub(super) fn export(&self, name: &'static str) {
        let since_1970 = self.not_after.duration_since(UNIX_EPOCH).unwrap_or_default();
        metrics::gauge!(name).set(since_1970.as_secs_f64());
    }
}

fn read_chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&read(path)?).collect();
    match chain {
        Ok(chain) if chain.is_empty() => Err(Error::NoCertificate { path: path.to_owned() }),
        Ok(chain) => Ok(chain),
        Err(_) => Err(Error::Pem { path: path.to_owned() }),
    }
}

fn read_key(path: &Path) -> Result<PrivateKeyDer<'static>, Error> {
    let path_buf = path.to_owned();
    match PrivateKeyDer::from_pem_slice(&read(path)?) {
        Ok(key) => Ok(key),
        Err(pem::Error::NoItemsFound) => Err(Error::NoKey { path: path_buf }),
        // The detail may quote a line of the file, which here is a piece of the key.
        Err(_) => Err(Error::Pem { path: path_buf }),
    }
}

fn read(path: &Path) -> Result<Vec<u8>, Error> {
    std::fs::read(path).map_err(|source| Error::Read { path: path.to_owned(), source })
}

fn expiry(chain: &[CertificateDer<'static>], path: &Path) -> Result<SystemTime, Error> {
    let parsed = chain.first().and_then(|leaf| parse_x509_certificate(leaf).ok());
    let Some((_, leaf)) = parsed else {
        let source = rustls::CertificateError::BadEncoding.into();
        return Err(Error::BadCertificate { path: path.to_owned(), source });
    };
    let seconds = leaf.validity().not_after.timestamp();
    // A date before 1970 is as expired as 1970.
    Ok(UNIX_EPOCH + Duration::from_secs(seconds.try_into().unwrap_or(0)))
}
