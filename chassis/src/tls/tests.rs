//! Loading, reloading and serving, over real sockets.

use std::net::SocketAddr;
use std::path::Path;

use rustls_pki_types::{CertificateDer, ServerName};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::*;
use crate::testing::{SelfSigned, client_config, deadline, self_signed};

/// A listener that serves handshakes for as long as it lives.
struct Listener {
    address: SocketAddr,
    _tasks: JoinSet<()>,
}

fn load(files: &SelfSigned) -> Result<Acceptor, Error> {
    Acceptor::load(Config { cert: files.cert.clone(), key: files.key.clone() })
}

fn broken(files: &SelfSigned) -> Error {
    load(files).expect_err("broken files")
}

impl Listener {
    async fn bind(acceptor: &Acceptor, alpn: &[&[u8]]) -> Self {
        let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let tls = TlsAcceptor::from(acceptor.server_config(alpn));
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            loop {
                let (stream, _) = socket.accept().await.unwrap();
                // A refused handshake is what some tests are about.
                if let Ok(mut stream) = tls.accept(stream).await {
                    stream.shutdown().await.unwrap();
                }
            }
        });
        Self { address, _tasks: tasks }
    }

    /// Shakes hands and returns the certificate seen and the protocol agreed on.
    async fn greet(
        &self,
        trusted: &[&SelfSigned],
        alpn: &[&[u8]],
    ) -> (CertificateDer<'static>, Option<Vec<u8>>) {
        let trusted: Vec<_> = trusted.iter().map(|files| files.der.clone()).collect();
        let stream = TcpStream::connect(self.address).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let connector = TlsConnector::from(client_config(&trusted, alpn));
        let stream = deadline(connector.connect(name, stream)).await.unwrap();
        let (_, session) = stream.get_ref();
        let seen = session.peer_certificates().unwrap()[0].clone().into_owned();
        (seen, session.alpn_protocol().map(<[u8]>::to_vec))
    }
}

fn fresh() -> (TempDir, SelfSigned) {
    let folder = tempfile::tempdir().unwrap();
    let files = self_signed(folder.path());
    (folder, files)
}

fn names(error: &Error, path: &Path) -> bool {
    error.to_string().contains(path.to_str().unwrap())
}

#[tokio::test]
async fn a_reload_swaps_the_certificate_under_a_live_listener() {
    let (folder, first) = fresh();
    let acceptor = load(&first).unwrap();
    let listener = Listener::bind(&acceptor, &[]).await;
    assert!(!acceptor.reload_if_changed().unwrap());
    assert_eq!(listener.greet(&[&first], &[]).await.0, first.der);

    let second = self_signed(folder.path());
    assert!(acceptor.reload_if_changed().unwrap());
    assert!(!acceptor.reload_if_changed().unwrap());
    assert_eq!(listener.greet(&[&second], &[]).await.0, second.der);
}

#[tokio::test]
async fn a_broken_reload_keeps_the_old_certificate_and_is_reported_once() {
    let (folder, first) = fresh();
    let acceptor = load(&first).unwrap();
    let listener = Listener::bind(&acceptor, &[]).await;
    let trusted = [&first];

    std::fs::write(&first.cert, "-----BEGIN CERTIFICATE-----\nhalf a fi").unwrap();
    assert!(matches!(acceptor.reload_if_changed(), Err(Error::Pem { .. })));
    assert!(matches!(acceptor.reload_if_changed(), Ok(false)));
    assert_eq!(listener.greet(&trusted, &[]).await.0, first.der);

    std::fs::remove_file(&first.cert).unwrap();
    assert!(matches!(acceptor.reload_if_changed(), Err(Error::Read { .. })));
    assert_eq!(listener.greet(&trusted, &[]).await.0, first.der);

    let second = self_signed(folder.path());
    assert!(acceptor.reload_if_changed().unwrap());
    assert_eq!(listener.greet(&[&second], &[]).await.0, second.der);
}

#[tokio::test]
async fn the_watch_takes_over_a_new_certificate_and_ends_when_told() {
    let (folder, first) = fresh();
    let acceptor = load(&first).unwrap();
    let listener = Listener::bind(&acceptor, &[]).await;
    let second = self_signed(folder.path());
    let cancel = CancellationToken::new();
    let mut watch = JoinSet::new();
    watch.spawn(acceptor.clone().watch(cancel.clone()));
    let trusted = [&first, &second];
    deadline(async {
        while listener.greet(&trusted, &[]).await.0 != second.der {
            tokio::task::yield_now().await;
        }
    })
    .await;
    cancel.cancel();
    deadline(watch.join_next()).await.unwrap().unwrap();
}

#[tokio::test]
async fn the_protocol_is_the_listeners_first_that_the_client_offers() {
    let (_folder, files) = fresh();
    let acceptor = load(&files).unwrap();
    let trusted = [&files];
    let both = Listener::bind(&acceptor, &[ALPN_H2, ALPN_HTTP_1_1]).await;
    let agreed = both.greet(&trusted, &[ALPN_HTTP_1_1, ALPN_H2]).await.1;
    assert_eq!(agreed.as_deref(), Some(ALPN_H2));
    let upgrades_only = Listener::bind(&acceptor, &[ALPN_HTTP_1_1]).await;
    let agreed = upgrades_only.greet(&trusted, &[ALPN_H2, ALPN_HTTP_1_1]).await.1;
    assert_eq!(agreed.as_deref(), Some(ALPN_HTTP_1_1));
}

/// A `ClientHello` as TLS 1.2 knows it (RFC 5246, 7.4.1.2): no `supported_versions`.
fn client_hello_1_2() -> Vec<u8> {
    let groups = [0x00, 0x0a, 0, 4, 0, 2, 0x00, 0x17];
    let signatures = [0x00, 0x0d, 0, 4, 0, 2, 0x04, 0x03];
    let mut body = vec![0x03, 0x03];
    body.extend([7; 32]);
    body.extend([0, 0, 2, 0xc0, 0x2b, 1, 0]);
    body.extend([0, 16]);
    body.extend(groups);
    body.extend(signatures);
    let length = u8::try_from(body.len()).unwrap();
    let mut record = vec![0x16, 0x03, 0x01, 0, length + 4, 0x01, 0, 0, length];
    record.extend(body);
    record
}

#[tokio::test]
async fn a_tls_1_2_client_is_refused() {
    let (_folder, files) = fresh();
    let listener = Listener::bind(&load(&files).unwrap(), &[]).await;
    let mut stream = TcpStream::connect(listener.address).await.unwrap();
    stream.write_all(&client_hello_1_2()).await.unwrap();
    let mut answer = Vec::new();
    deadline(stream.read_to_end(&mut answer)).await.unwrap();
    // One record: alert, fatal, protocol_version (RFC 8446, 6).
    assert_eq!((answer[0], answer[5], answer[6]), (0x15, 2, 70), "{answer:?}");
}

#[test]
fn the_provider_has_no_suite_older_than_tls_1_3() {
    install_provider();
    install_provider();
    let provider = CryptoProvider::get_default().unwrap();
    assert!(!provider.cipher_suites.is_empty());
    assert!(provider.cipher_suites.iter().all(|suite| suite.tls13().is_some()));
}

#[test]
fn the_expiry_is_the_certificates_own() {
    let (_folder, files) = fresh();
    // 2040-01-01T00:00:00Z.
    let wanted = std::time::UNIX_EPOCH + Duration::from_secs(2_208_988_800);
    assert_eq!(load(&files).unwrap().not_after(), wanted);
}

#[test]
fn an_error_names_the_file_and_what_is_wrong_with_it() {
    let (_folder, files) = fresh();
    let (_other_folder, other) = fresh();

    let swapped = SelfSigned { key: other.key.clone(), ..files.clone() };
    let error = broken(&swapped);
    assert!(matches!(error, Error::Mismatch { .. }));
    assert!(names(&error, &files.cert) && names(&error, &other.key));

    let error = broken(&SelfSigned { cert: files.key.clone(), ..files.clone() });
    assert!(matches!(error, Error::NoCertificate { .. }) && names(&error, &files.key));
    let error = broken(&SelfSigned { key: files.cert.clone(), ..files.clone() });
    assert!(matches!(error, Error::NoKey { .. }) && names(&error, &files.cert));

    let nowhere = files.cert.with_file_name("nowhere.pem");
    let error = broken(&SelfSigned { cert: nowhere.clone(), ..files.clone() });
    assert!(matches!(error, Error::Read { .. }) && names(&error, &nowhere));
    let error = broken(&SelfSigned { key: nowhere.clone(), ..files.clone() });
    assert!(matches!(error, Error::Read { .. }) && names(&error, &nowhere));

    std::fs::write(&other.cert, pem("CERTIFICATE", "AAAA")).unwrap();
    let error = broken(&other);
    assert!(matches!(error, Error::BadCertificate { .. }) && names(&error, &other.cert));
    std::fs::write(&files.key, pem("PRIVATE KEY", "AAAA")).unwrap();
    let error = broken(&files);
    assert!(matches!(error, Error::BadKey { .. }) && names(&error, &files.key));
}

fn pem(label: &str, base64: &str) -> String {
    format!("-----BEGIN {label}-----\n{base64}\n-----END {label}-----\n")
}
