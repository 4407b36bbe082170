//! The bytes of one connection: a socket that never blocks, with or without TLS over it.
//!
//! What is read goes through the loop's one buffer and is borrowed from it; what cannot be written
//! at once is kept here, up to [`BACKLOG_MAX`]. A connection that is dropped is reset, so that its
//! port is free again at once: a run makes more connections than there are ports to rest.

use std::io::{self, BufRead as _, ErrorKind, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use mio::net::TcpStream;
use mio::{Interest, Registry, Token};
use nix::sys::socket::{setsockopt, sockopt::IpBindAddressNoPort};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustls::client::Resumption;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore};
use socket2::{Domain, Protocol, Socket, Type};

use crate::load::plan::{Part, Tls};

/// What may wait to be written: a publisher whose server takes less is beyond its rate.
const BACKLOG_MAX: usize = 256 * 1024;

/// How connections of a worker are made.
#[derive(Debug, Clone)]
pub(super) struct Dialing {
    /// The address they come from, if servers are on loopback.
    source: Option<Ipv4Addr>,
    /// TLS, and the name it expects.
    tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
}

/// A connection.
#[derive(Debug)]
pub(super) struct Wire {
    socket: TcpStream,
    tls: Option<Box<ClientConnection>>,
    /// Written when the socket takes it. With TLS it waits there instead.
    backlog: Vec<u8>,
}

/// Whether there is more to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum More {
    /// Perhaps.
    Perhaps,
    /// Not now.
    NotNow,
    /// Never again.
    Never,
}

impl Dialing {
    /// As a plan has it. Each worker has a loopback address of its own, and so its own ports.
    pub(super) fn new(part: &Part) -> Result<Self> {
        let loopback = part.plan.doors.iter().all(|door| match door.ip() {
            IpAddr::V4(ip) => ip.is_loopback(),
            IpAddr::V6(_) => false,
        });
        let last = u8::try_from(part.worker + 2).context("too many workers")?;
        Ok(Self {
            source: loopback.then_some(Ipv4Addr::new(127, 0, 0, last)),
            tls: part.plan.tls.as_ref().map(tls_of).transpose()?,
        })
    }
}

impl Wire {
    /// Begins to connect.
    pub(super) fn dial(
        dialing: &Dialing,
        door: SocketAddr,
        registry: &Registry,
        token: Token,
    ) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(door), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_nonblocking(true)?;
        socket.set_tcp_nodelay(true)?;
        socket.set_linger(Some(Duration::ZERO))?;
        if let Some(source) = dialing.source {
            // The port is chosen when the other end is known: each may be used once per server.
            setsockopt(&socket, IpBindAddressNoPort, &true)?;
            socket.bind(&SocketAddr::from((source, 0)).into())?;
        }
        match socket.connect(&door.into()) {
            Err(error) if error.raw_os_error() != Some(nix::errno::Errno::EINPROGRESS as i32) => {
                return Err(error);
            }
            Ok(()) | Err(_) => {}
        }
        let mut socket = TcpStream::from_std(socket.into());
        registry.register(&mut socket, token, Interest::READABLE | Interest::WRITABLE)?;
        let tls = dialing.tls.as_ref().map(|(config, name)| {
            let session = ClientConnection::new(Arc::clone(config), name.clone());
            session.map(Box::new).map_err(io::Error::other)
        });
        Ok(Self { socket, tls: tls.transpose()?, backlog: Vec::new() })
    }

    /// Whether the connection is made; an error when it cannot be.
    pub(super) fn is_made(&self) -> io::Result<bool> {
        if let Some(error) = self.socket.take_error()? {
            return Err(error);
        }
        match self.socket.peer_addr() {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == ErrorKind::NotConnected => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Reads once into `buffer` and gives what the other end said to `take`; and the bytes read.
    pub(super) fn read(
        &mut self,
        buffer: &mut [u8],
        mut take: impl FnMut(&[u8]),
    ) -> io::Result<(usize, More)> {
        let count = match self.socket.read(buffer) {
            Ok(0) => return Ok((0, More::Never)),
            Ok(count) => count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok((0, More::NotNow)),
            Err(error) if error.kind() == ErrorKind::Interrupted => return Ok((0, More::Perhaps)),
            Err(error) => return Err(error),
        };
        // A short read has emptied the socket, and what comes later is told anew.
        let more = if count == buffer.len() { More::Perhaps } else { More::NotNow };
        let read = &buffer[..count];
        match &mut self.tls {
            None => take(read),
            Some(tls) => {
                decrypt(tls, read, take)?;
                if tls.wants_write() {
                    self.flush()?;
                }
            }
        }
        Ok((count, more))
    }

    /// Writes, or keeps what the socket does not take.
    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        if let Some(tls) = &mut self.tls {
            tls.writer().write_all(bytes)?;
            return self.flush();
        }
        let mut rest = bytes;
        if self.backlog.is_empty() {
            match self.socket.write(rest) {
                Ok(count) => rest = &rest[count..],
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        self.backlog.extend_from_slice(rest);
        Ok(())
    }

    /// Writes what was kept, as far as the socket takes it.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        if let Some(tls) = &mut self.tls {
            while tls.wants_write() {
                match tls.write_tls(&mut self.socket) {
                    Ok(_) => {}
                    Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                    Err(error) => return Err(error),
                }
            }
            return Ok(());
        }
        while !self.backlog.is_empty() {
            match self.socket.write(&self.backlog) {
                Ok(count) => drop(self.backlog.drain(..count)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        self.backlog = Vec::new();
        Ok(())
    }

    /// Whether more may be given to write.
    pub(super) fn takes_more(&self) -> bool {
        match &self.tls {
            // What TLS holds cannot be seen, only whether there is any.
            Some(tls) => !tls.wants_write(),
            None => self.backlog.len() < BACKLOG_MAX,
        }
    }
}

/// Lets this process open as many files as it may.
pub(super) fn open_files() -> Result<()> {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }).context("open files")
}

fn tls_of(tls: &Tls) -> Result<(Arc<ClientConfig>, ServerName<'static>)> {
    chassis::tls::install_provider();
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(&tls.roots).context("trusted certificates")? {
        roots.add(certificate.context("a trusted certificate")?)?;
    }
    let mut config = ClientConfig::builder_with_protocol_versions(&[&rustls::version::TLS13])
        .with_root_certificates(roots)
        .with_no_client_auth();
    // Each handshake is a whole one: what it costs is part of what is measured.
    config.resumption = Resumption::disabled();
    Ok((Arc::new(config), ServerName::try_from(tls.name.clone())?))
}

fn decrypt(
    tls: &mut ClientConnection,
    bytes: &[u8],
    mut take: impl FnMut(&[u8]),
) -> io::Result<()> {
    let mut rest = bytes;
    while !rest.is_empty() {
        tls.read_tls(&mut rest)?;
        tls.process_new_packets().map_err(io::Error::other)?;
        loop {
            let mut reader = tls.reader();
            let count = match reader.fill_buf() {
                Ok([]) => return Ok(()),
                Ok(plain) => {
                    take(plain);
                    plain.len()
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            };
            reader.consume(count);
        }
    }
    Ok(())
}
