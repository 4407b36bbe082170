//! The accept loop and the life of one connection until a service takes it over.
//!
//! Each connection is a task of the tracker; it ends with the HTTP exchange, with the upgrade,
//! or at the deadline for its first request head.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use http::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use rustls::ServerConfig as TlsConfig;
use socket2::{Domain, Protocol, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;
use tracing::Instrument;

use super::admission::{Admission, Ticket};
use super::{Admitted, Hangup, Peer, Socket, client};

/// Spare slots of each listener: health checks of a few monitors and the 503s of a flood.
const SPARE_SLOTS: usize = 64;

/// For the first request of a connection with a spare slot: in a flood nobody may sit on one.
const SPARE_TIMEOUT: Duration = Duration::from_secs(2);

/// Pending handshakes the kernel keeps: a storm of 34k connects a second for about 100 ms.
const LISTEN_BACKLOG: i32 = 4096;

/// What one stalled peer may hold in the kernel; inherited by accepted sockets. Linux doubles it.
const SEND_BUFFER_BYTES: usize = 32 * 1024;

/// How long the loop waits when the process is out of file descriptors.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(50);

/// Concurrent requests of one HTTP/2 connection.
const HTTP2_STREAMS_MAX: u32 = 128;

/// The deadlines of a connection before a service has it.
#[derive(Debug, Clone, Copy)]
pub struct ServerConfig {
    /// For the whole head of each request.
    pub header_timeout: Duration,
    /// For the TLS handshake.
    pub tls_handshake_timeout: Duration,
}

/// A bound socket that does not accept yet.
#[derive(Debug)]
pub struct Listener {
    inner: TcpListener,
}

/// Everything an accept loop needs; cheap to clone, one for each listener.
#[derive(Debug, Clone)]
pub struct Server {
    /// The deadlines.
    pub config: ServerConfig,
    /// The shared budget.
    pub admission: Arc<Admission>,
    /// Certificates, when the listener speaks TLS.
    pub tls: Option<Arc<TlsConfig>>,
    /// The service.
    pub router: Router,
    /// Where connection tasks live.
    pub tracker: TaskTracker,
    /// Ends the loop; open HTTP connections finish their request.
    pub stop: CancellationToken,
}

impl Listener {
    /// Binds `address` (port 0 takes a free one) with address reuse and a bounded send buffer.
    ///
    /// # Errors
    /// What the system says: address in use, no permission.
    pub fn bind(address: SocketAddr) -> io::Result<Self> {
        let socket =
            socket2::Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_reuse_address(true)?;
        socket.set_send_buffer_size(SEND_BUFFER_BYTES)?;
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        socket.listen(LISTEN_BACKLOG)?;
        Ok(Self { inner: TcpListener::from_std(socket.into())? })
    }

    /// The address it got.
    ///
    /// # Errors
    /// What the system says.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.inner.local_addr()
    }
}

impl Server {
    /// Accepts until [`Server::stop`] is cancelled.
    pub async fn run(self, listener: Listener) {
        let spare = Arc::new(Semaphore::new(SPARE_SLOTS));
        loop {
            let accepted = tokio::select! {
                biased;
                () = self.stop.cancelled() => return,
                accepted = listener.inner.accept() => accepted,
            };
            match accepted {
                Ok((stream, address)) => {
                    let from = client(address.ip());
                    let Some(ticket) = self.admission.admit(from, &spare) else {
                        continue;
                    };
                    let span = tracing::debug_span!("connection", port = address.port());
                    self.tracker
                        .spawn(self.clone().connection(stream, address, ticket).instrument(span));
                }
                Err(error) if is_of_one_connection(&error) => {}
                Err(error) => {
                    tracing::warn!(%error, "accept failed");
                    tokio::time::sleep(EXHAUSTED_PAUSE).await;
                }
            }
        }
    }

    async fn connection(self, stream: TcpStream, address: SocketAddr, ticket: Ticket) {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "connection went away");
            return;
        }
        let admitted = ticket.admitted;
        let peer = Peer { address, tls: self.tls.is_some(), admitted };
        let socket = match &self.tls {
            None => Socket::tcp(stream, ticket),
            Some(config) => {
                let handshake = TlsAcceptor::from(config.clone()).accept(stream);
                match tokio::time::timeout(self.config.tls_handshake_timeout, handshake).await {
                    Ok(Ok(stream)) => Socket::tls(stream, ticket),
                    Ok(Err(error)) => return tracing::debug!(%error, "TLS handshake failed"),
                    Err(_elapsed) => return tracing::debug!("TLS handshake timed out"),
                }
            }
        };
        self.http(socket, peer).await;
    }

    async fn http(self, socket: Socket, peer: Peer) {
        let (router, seen) = (self.router, Arc::new(AtomicBool::new(false)));
        let flag = seen.clone();
        let hangup = Hangup::default();
        let given = hangup.clone();
        let service = service_fn(move |request: Request<Incoming>| {
            flag.store(true, Ordering::Relaxed);
            let mut request = request.map(Body::new);
            request.extensions_mut().insert(peer);
            request.extensions_mut().insert(given.clone());
            router.clone().oneshot(request)
        });
        let mut builder = auto::Builder::new(TokioExecutor::new());
        builder
            .http1()
            .timer(TokioTimer::new())
            .header_read_timeout(self.config.header_timeout)
            .http2()
            .timer(TokioTimer::new())
            .keep_alive_interval(Some(self.config.header_timeout))
            .keep_alive_timeout(self.config.header_timeout)
            .max_concurrent_streams(HTTP2_STREAMS_MAX);
        let connection = builder.serve_connection_with_upgrades(TokioIo::new(socket), service);
        let mut connection = std::pin::pin!(connection);
        let patience = match peer.admitted {
            Admitted::Full => self.config.header_timeout,
            Admitted::Spare => self.config.header_timeout.min(SPARE_TIMEOUT),
        };
        let first_request = tokio::time::sleep(patience);
        let mut first_request = std::pin::pin!(first_request);
        let (mut waiting, mut stopping) = (true, false);
        loop {
            tokio::select! {
                biased;
                result = connection.as_mut() => {
                    if let Err(error) = result {
                        tracing::debug!(%error, "HTTP connection ended");
                    }
                    return;
                }
                () = hangup.0.cancelled() => return tracing::debug!("connection was hung up"),
                () = self.stop.cancelled(), if !stopping => {
                    stopping = true;
                    connection.as_mut().graceful_shutdown();
                }
                () = first_request.as_mut(), if waiting => {
                    // The protocol is not even known before the first bytes came in, so hyper's
                    // own timeout does not run yet: a client that drips bytes ends here.
                    if !seen.load(Ordering::Relaxed) {
                        return tracing::debug!("no request in time");
                    }
                    waiting = false;
                }
            }
        }
    }
}

/// Errors that concern the connection which was about to be accepted, not the listener.
fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}
