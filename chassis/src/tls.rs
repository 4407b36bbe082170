//! Certificates with hot reload, TLS 1.3 only.

use rustls::crypto::{CryptoProvider, aws_lc_rs};

/// Installs the process-wide cryptography: aws-lc-rs with the TLS 1.3 suites and nothing older.
///
/// Idempotent; call it first in `main` and in tests, before any TLS or HTTP client exists.
pub fn install_provider() {
    if CryptoProvider::get_default().is_none() {
        let suites = aws_lc_rs::DEFAULT_CIPHER_SUITES.iter().copied();
        let provider = CryptoProvider {
            cipher_suites: suites.filter(|suite| suite.tls13().is_some()).collect(),
            ..aws_lc_rs::default_provider()
        };
        // An error means that another thread was first.
        drop(provider.install_default());
    }
}
