//! An accepted connection as hyper sees it: plain or TLS, with its slots inside.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use rustls::ServerConnection;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

use super::admission::Ticket;

/// An accepted connection; dropping it gives its slots back.
#[derive(Debug)]
pub struct Socket {
    io: Io,
    ticket: Ticket,
}

#[derive(Debug)]
enum Io {
    Tcp(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// Keeps the slots of a connection taken after its parts were pulled apart.
#[derive(Debug)]
pub struct Slots {
    _ticket: Ticket,
}

impl Socket {
    pub(crate) fn tcp(stream: TcpStream, ticket: Ticket) -> Self {
        Self { io: Io::Tcp(stream), ticket }
    }

    pub(super) fn tls(stream: TlsStream<TcpStream>, ticket: Ticket) -> Self {
        Self { io: Io::Tls(Box::new(stream)), ticket }
    }

    /// The raw connection, its TLS state if it has one, and its slots.
    #[must_use]
    pub fn into_parts(self) -> (TcpStream, Option<ServerConnection>, Slots) {
        let slots = Slots { _ticket: self.ticket };
        match self.io {
            Io::Tcp(stream) => (stream, None, slots),
            Io::Tls(stream) => {
                let (stream, session) = stream.into_inner();
                (stream, Some(session), slots)
            }
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut self.io {
            Io::Tcp(stream) => Pin::new(stream).poll_read(cx, buf),
            Io::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        match &mut self.io {
            Io::Tcp(stream) => Pin::new(stream).poll_write(cx, buf),
            Io::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.io {
            Io::Tcp(stream) => Pin::new(stream).poll_flush(cx),
            Io::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.io {
            Io::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Io::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut self.io {
            Io::Tcp(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Io::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }
}
