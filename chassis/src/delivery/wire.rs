//! The two halves of a connection: plain TCP, TLS, or a pipe into an HTTP response body.
//!
//! Reader and shard use it at once: the reader waits for readability, the shard for writability,
//! and each readiness has one waiter. TLS keeps its session under a lock that is held while bytes
//! are sealed or opened, never across an await.

use std::cell::RefCell;
use std::fmt;
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};

use parking_lot::Mutex;
use rustls::ServerConnection;
use socket2::SockRef;
use tokio::io::{AsyncWrite, DuplexStream};
use tokio::net::TcpStream;

use super::peer::Received;
use crate::accept::{Slots, Socket};

/// Reads of all connections of a thread land here; an idle connection owns no buffer.
const READ_BUFFER_BYTES: usize = 64 * 1024;

/// Sealed bytes a TLS session may hold for a socket that takes none.
const SEALED_BYTES_MAX: usize = 16 * 1024;

thread_local! {
    static READ_BUFFER: RefCell<Vec<u8>> = RefCell::new(vec![0; READ_BUFFER_BYTES]);
}

/// How a connection is written.
pub enum Wire {
    /// Plain TCP.
    Tcp(TcpWire),
    /// TLS over TCP.
    Tls(Box<TlsWire>),
    /// The body of an HTTP response; nothing is read from it.
    Pipe(Mutex<DuplexStream>),
}

/// A plain connection and its slots.
#[derive(Debug)]
pub struct TcpWire {
    stream: TcpStream,
    _slots: Slots,
}

/// A TLS connection and its slots.
pub struct TlsWire {
    stream: TcpStream,
    session: Mutex<ServerConnection>,
    _slots: Slots,
}

impl From<Socket> for Wire {
    fn from(socket: Socket) -> Self {
        let (stream, session, slots) = socket.into_parts();
        match session {
            None => Self::Tcp(TcpWire { stream, _slots: slots }),
            Some(mut session) => {
                session.set_buffer_limit(Some(SEALED_BYTES_MAX));
                let session = Mutex::new(session);
                Self::Tls(Box::new(TlsWire { stream, session, _slots: slots }))
            }
        }
    }
}

impl Wire {
    /// A pipe whose other end is the body of a response; it holds at most `bytes_max`.
    #[must_use]
    pub fn pipe(bytes_max: usize) -> (Self, DuplexStream) {
        let (ours, theirs) = tokio::io::duplex(bytes_max);
        (Self::Pipe(Mutex::new(ours)), theirs)
    }

    /// Writes what fits now. Bytes that were taken but not sent yet (sealed ones) are asked for by
    /// [`Wire::is_flushed`].
    pub(super) fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(tcp) => tcp.stream.try_write(bytes),
            Self::Tls(tls) => tls.try_write(bytes),
            Self::Pipe(pipe) => {
                let mut cx = Context::from_waker(Waker::noop());
                match Pin::new(&mut *pipe.lock()).poll_write(&mut cx, bytes) {
                    Poll::Ready(result) => result,
                    Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
                }
            }
        }
    }

    /// Writes what fits, and asks for a wake-up when nothing does.
    pub(super) fn poll_write(&self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let stream = match self {
            Self::Pipe(pipe) => return Pin::new(&mut *pipe.lock()).poll_write(cx, bytes),
            Self::Tcp(tcp) => &tcp.stream,
            Self::Tls(tls) => &tls.stream,
        };
        loop {
            ready!(stream.poll_write_ready(cx))?;
            match self.try_write(bytes) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                result => return Poll::Ready(result),
            }
        }
    }

    /// Sends what is sealed but not sent, and asks for a wake-up when that does not go.
    pub(super) fn poll_flush(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Self::Tls(tls) = self else {
            return Poll::Ready(Ok(()));
        };
        loop {
            ready!(tls.stream.poll_write_ready(cx))?;
            match tls.flush(&mut tls.session.lock()) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                result => return Poll::Ready(result),
            }
        }
    }

    /// False for a pipe: nothing ever comes in by it.
    pub(super) fn is_read(&self) -> bool {
        !matches!(self, Self::Pipe(_))
    }

    /// True when nothing that was taken is still unsent.
    pub(super) fn is_flushed(&self) -> bool {
        match self {
            Self::Tls(tls) => !tls.session.lock().wants_write(),
            Self::Tcp(_) | Self::Pipe(_) => true,
        }
    }

    /// Ends the writing side after everything was written; a peer that is gone is no error.
    pub(super) fn end(&self) {
        match self {
            Self::Tcp(tcp) => shut(&tcp.stream, Shutdown::Write),
            Self::Tls(tls) => {
                let mut session = tls.session.lock();
                session.send_close_notify();
                if let Err(error) = tls.flush(&mut session) {
                    tracing::debug!(%error, "close_notify was not sent");
                }
                shut(&tls.stream, Shutdown::Write);
            }
            Self::Pipe(pipe) => {
                let mut cx = Context::from_waker(Waker::noop());
                // A duplex stream shuts down at once.
                let _done = Pin::new(&mut *pipe.lock()).poll_shutdown(&mut cx).is_ready();
            }
        }
    }

    /// Drops the connection and what the kernel still holds for it.
    pub(super) fn abort(&self) {
        let stream = match self {
            Self::Tcp(tcp) => &tcp.stream,
            Self::Tls(tls) => &tls.stream,
            Self::Pipe(_) => return self.end(),
        };
        // Without it an orphaned socket keeps its send buffer until the peer's window opens.
        if let Err(error) = SockRef::from(stream).set_linger(Some(std::time::Duration::ZERO)) {
            tracing::debug!(%error, "linger was not set");
        }
        shut(stream, Shutdown::Both);
    }

    pub(super) fn poll_read(
        &self,
        cx: &mut Context<'_>,
        each: &mut dyn FnMut(&mut [u8]),
    ) -> Poll<io::Result<Received>> {
        match self {
            Self::Pipe(_) => Poll::Pending,
            Self::Tls(tls) => tls.poll_read(cx, each),
            Self::Tcp(tcp) => loop {
                ready!(tcp.stream.poll_read_ready(cx))?;
                let read = READ_BUFFER.with_borrow_mut(|buffer| {
                    tcp.stream.try_read(buffer).inspect(|&count| each(&mut buffer[..count]))
                });
                match read {
                    Ok(0) => return Poll::Ready(Ok(Received::End)),
                    Ok(_) => return Poll::Ready(Ok(Received::Bytes)),
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    Err(error) => return Poll::Ready(Err(error)),
                }
            },
        }
    }
}

impl TlsWire {
    fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        let mut session = self.session.lock();
        if session.wants_write() {
            self.flush(&mut session)?;
        }
        let taken = session.writer().write(bytes)?;
        match self.flush(&mut session) {
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => Err(error),
            _ if taken == 0 && !bytes.is_empty() => Err(io::ErrorKind::WouldBlock.into()),
            _ => Ok(taken),
        }
    }

    fn flush(&self, session: &mut ServerConnection) -> io::Result<()> {
        while session.wants_write() {
            session.write_tls(&mut Raw(&self.stream))?;
        }
        Ok(())
    }

    fn poll_read(
        &self,
        cx: &mut Context<'_>,
        each: &mut dyn FnMut(&mut [u8]),
    ) -> Poll<io::Result<Received>> {
        loop {
            // What hyper left inside the session at the upgrade comes before the socket.
            if let Some(received) = self.opened(&mut self.session.lock(), each)? {
                return Poll::Ready(Ok(received));
            }
            ready!(self.stream.poll_read_ready(cx))?;
            let mut session = self.session.lock();
            match session.read_tls(&mut Raw(&self.stream)) {
                Ok(0) => return Poll::Ready(Ok(Received::End)),
                Ok(_) => {
                    session.process_new_packets().map_err(io::Error::other)?;
                    // Answers of TLS itself, such as key updates; the shard sends what is left.
                    match self.flush(&mut session) {
                        Err(error) if error.kind() != io::ErrorKind::WouldBlock => {
                            return Poll::Ready(Err(error));
                        }
                        _ => {}
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }

    fn opened(
        &self,
        session: &mut ServerConnection,
        each: &mut dyn FnMut(&mut [u8]),
    ) -> io::Result<Option<Received>> {
        READ_BUFFER.with_borrow_mut(|buffer| match session.reader().read(buffer) {
            Ok(0) => Ok(Some(Received::End)),
            Ok(count) => {
                each(&mut buffer[..count]);
                Ok(Some(Received::Bytes))
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
        })
    }
}

/// The blocking traits rustls wants, over a socket that never blocks.
struct Raw<'a>(&'a TcpStream);

impl Read for Raw<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.0.try_read(buf)
    }
}

impl Write for Raw<'_> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.0.try_write(buf)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn shut(stream: &TcpStream, how: Shutdown) {
    if let Err(error) = SockRef::from(stream).shutdown(how) {
        tracing::debug!(%error, "peer went away before the end");
    }
}

impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp(_) => "Tcp",
            Self::Tls(_) => "Tls",
            Self::Pipe(_) => "Pipe",
        })
    }
}

impl fmt::Debug for TlsWire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsWire").field("stream", &self.stream).finish_non_exhaustive()
    }
}
