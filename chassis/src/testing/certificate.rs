//! Certificates that sign themselves, and clients that trust them.
//!
//! For `localhost` and the loopback addresses; EC P-256, as fast as keys get. Every call makes a
//! new key, so two certificates of one folder are told apart by their DER.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{CertificateParams, KeyPair, date_time_ymd};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::CertificateDer;

use crate::tls;

/// A certificate on disk.
#[derive(Debug, Clone)]
pub struct SelfSigned {
    /// `cert.pem` in the folder it was made in.
    pub cert: PathBuf,
    /// `key.pem` beside it.
    pub key: PathBuf,
    /// What clients must trust, and what they see.
    pub der: CertificateDer<'static>,
}

/// Writes a fresh certificate and its key into `folder`, over those already there. It is valid
/// until the first of January 2040.
pub fn self_signed(folder: &Path) -> SelfSigned {
    tls::install_provider();
    let names = ["localhost", "127.0.0.1", "::1"].map(str::to_owned);
    let mut params = CertificateParams::new(names).expect("the names are valid");
    params.not_after = date_time_ymd(2040, 1, 1);
    let key_pair = KeyPair::generate().expect("the system has randomness for a key");
    let certificate = params.self_signed(&key_pair).expect("a fresh key signs");
    let (cert, key) = (folder.join("cert.pem"), folder.join("key.pem"));
    std::fs::write(&cert, certificate.pem()).expect("the folder can be written");
    std::fs::write(&key, key_pair.serialize_pem()).expect("the folder can be written");
    SelfSigned { cert, key, der: certificate.der().clone() }
}

/// A TLS 1.3 client that trusts exactly `certificates` and offers `alpn`.
pub fn client_config(
    certificates: &[CertificateDer<'static>],
    alpn: &[&[u8]],
) -> Arc<ClientConfig> {
    tls::install_provider();
    let mut roots = RootCertStore::empty();
    for certificate in certificates {
        roots.add(certificate.clone()).expect("a certificate made here is well-formed");
    }
    let mut config = ClientConfig::builder_with_protocol_versions(&[&rustls::version::TLS13])
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
    Arc::new(config)
}
