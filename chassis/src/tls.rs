//! Certificates with hot reload, TLS 1.3 only.
//!
//! Responsible for: the process-wide cryptography, the server side of TLS for every listener,
//! replacing the certificate while connections are served. Not for: accepting connections and
//! handshake timeouts (`accept`). One [`Acceptor`] per pair of files, shared by all listeners;
//! [`Acceptor::watch`] is its only task. Invariants: there is always a certificate to serve; a
//! new one is taken over whole or not at all; connections already made are not touched.

mod certificate;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use rustls::ServerConfig;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use self::certificate::Certificate;
pub use self::certificate::Error;
use crate::stamp::Stamp;

/// ALPN name of HTTP/2 (RFC 7301).
pub const ALPN_H2: &[u8] = b"h2";

/// ALPN name of HTTP/1.1, which WebSocket upgrades need (RFC 7301).
pub const ALPN_HTTP_1_1: &[u8] = b"http/1.1";

/// Time between two looks at the files: two `stat` calls, and a renewed certificate is served
/// long before the old one expires.
const WATCH_PERIOD: Duration = Duration::from_secs(5);

/// When the certificate served expires, in Unix seconds: what an alert on renewal looks at.
const NOT_AFTER: &str = "tls_certificate_not_after_seconds";

/// Where the certificate and its key lie, as PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The certificate followed by its chain, the issuer of each next.
    pub cert: PathBuf,
    /// The private key: PKCS#8, PKCS#1 or SEC 1, not encrypted.
    pub key: PathBuf,
}

/// The server side of TLS. Cloning it shares the certificate.
#[derive(Debug, Clone)]
pub struct Acceptor {
    served: Arc<Served>,
}

#[derive(Debug)]
struct Served {
    config: Config,
    /// Read by every handshake, written once in a certificate's lifetime.
    current: ArcSwap<Certificate>,
    /// The versions last tried, good or bad. The lock also keeps two reloads apart.
    tried: Mutex<Stamps>,
}

/// The versions of both files; `None` for one that is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamps {
    cert: Option<Stamp>,
    key: Option<Stamp>,
}

impl Acceptor {
    /// Reads the files and checks that they belong together. Blocks: call it at start.
    pub fn load(config: Config) -> Result<Self, Error> {
        install_provider();
        let tried = Mutex::new(Stamps::of(&config));
        let current = Certificate::load(&config)?;
        current.export(NOT_AFTER);
        let current = ArcSwap::from_pointee(current);
        Ok(Self { served: Arc::new(Served { config, current, tried }) })
    }

    /// A configuration for one listener that speaks the protocols of `alpn`, preferred first.
    ///
    /// It serves the certificate as it stands at each handshake and accepts TLS 1.3 only.
    /// Sessions are not resumed: a ticket costs its bytes on every connect and the server a cache
    /// entry each, for connections that live for hours and whose handshake, by an EC key, takes
    /// well under a millisecond.
    pub fn server_config(&self, alpn: &[&[u8]]) -> Arc<ServerConfig> {
        let served: Arc<dyn ResolvesServerCert> = Arc::clone(&self.served) as _;
        let mut config = ServerConfig::builder_with_protocol_versions(&[&rustls::version::TLS13])
            .with_no_client_auth()
            .with_cert_resolver(served);
        config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
        config.send_tls13_tickets = 0;
        config.session_storage = Arc::new(NoServerSessionStorage {});
        Arc::new(config)
    }

    /// Reads the files again if they have changed since they were last tried, and says whether
    /// a new certificate is served now. After an error the old one stays; the same broken files
    /// are not reported twice. Blocks for the time of reading two small files.
    pub fn reload_if_changed(&self) -> Result<bool, Error> {
        let mut tried = self.served.tried.lock();
        let stamps = Stamps::of(&self.served.config);
        if stamps == *tried {
            return Ok(false);
        }
        *tried = stamps;
        let fresh = Certificate::load(&self.served.config)?;
        fresh.export(NOT_AFTER);
        self.served.current.store(Arc::new(fresh));
        Ok(true)
    }

    /// Looks for changed files every five seconds until `cancel`. Spawn it through a tracker.
    pub async fn watch(self, cancel: CancellationToken) {
        let mut ticks = interval(WATCH_PERIOD);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                () = cancel.cancelled() => return,
                _ = ticks.tick() => {}
            }
            let acceptor = self.clone();
            match tokio::task::spawn_blocking(move || acceptor.reload_if_changed()).await {
                Ok(Ok(false)) => {}
                Ok(Ok(true)) => tracing::info!("serving a new certificate"),
                Ok(Err(error)) => {
                    let error = &error as &(dyn std::error::Error + 'static);
                    tracing::warn!(error, "new certificate not usable, serving the old one");
                }
                Err(error) => tracing::error!(%error, "reloading the certificate failed"),
            }
        }
    }

    /// When the certificate served now expires.
    pub fn not_after(&self) -> SystemTime {
        self.served.current.load().not_after()
    }
}

impl ResolvesServerCert for Served {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current.load().key())
    }
}

impl Stamps {
    fn of(config: &Config) -> Self {
        // A file that is not there has no stamp; loading says what is wrong with it.
        Self { cert: Stamp::of(&config.cert).ok(), key: Stamp::of(&config.key).ok() }
    }
}

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

#[cfg(test)]
mod tests;
