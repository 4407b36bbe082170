//! A connection of the floor: its handshake, its frames, and what could not be written yet.

use std::io::{self, Read as _};

use anyhow::{Result, bail, ensure};
use memchr::memmem;
use mio::net::TcpStream;
use mio::{Interest, Registry, Token};
use rustix::io::Errno;
use rustix::net::{SendFlags, send};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

/// The longest request: an upgrade has 200 bytes.
const REQUEST_MAX: usize = 8 << 10;

/// What a client may be behind before it is let go: what a server of ours allows too.
const REST_MAX: usize = 1 << 20;

/// What is before the name of the room.
const PREFIX: &[u8] = b"GET /room/";

/// The bit of a text frame that is whole.
const TEXT: u8 = 0x81;

/// A connection.
#[derive(Debug)]
pub(super) struct Client {
    /// Its socket.
    pub(super) stream: TcpStream,
    /// Its room, once it has asked for it.
    pub(super) room: Option<usize>,
    /// What was read and is not a whole request or frame yet.
    pub(super) carry: Vec<u8>,
    /// What the socket did not take.
    pub(super) rest: Vec<u8>,
}

impl Client {
    pub(super) fn new(stream: TcpStream) -> Self {
        Self { stream, room: None, carry: Vec::new(), rest: Vec::new() }
    }

    /// Reads once: how much, or `None` when there is nothing now.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        match self.stream.read(buffer) {
            Ok(read) => Ok(Some(read)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Answers its request when it is whole, and gives the name of the room.
    pub(super) fn enter(&mut self) -> Result<Option<Vec<u8>>> {
        let Some(end) = memmem::find(&self.carry, b"\r\n\r\n") else {
            ensure!(self.carry.len() <= REQUEST_MAX, "a request without end");
            return Ok(None);
        };
        let request: Vec<u8> = self.carry.drain(..end + 4).collect();
        let text = String::from_utf8_lossy(&request);
        let key = text.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("sec-websocket-key").then(|| value.trim().to_owned())
        });
        let name =
            request.strip_prefix(PREFIX).and_then(|rest| rest.split(|byte| *byte == b' ').next());
        let (Some(key), Some(name)) = (key, name) else {
            self.send(b"HTTP/1.1 426 Upgrade Required\r\nContent-Length: 0\r\n\r\n")?;
            bail!("no WebSocket, or no room");
        };
        let answer = format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: {}\r\n\r\n",
            derive_accept_key(key.as_bytes())
        );
        self.send(answer.as_bytes())?;
        Ok(Some(name.to_vec()))
    }

    /// Turns each whole frame that was read into one for the members, behind `pending`; gives how
    /// many there were.
    pub(super) fn publish(&mut self, pending: &mut Vec<u8>) -> Result<u32> {
        let (mut used, mut frames) = (0, 0);
        while let Some((mask, payload)) = masked(&self.carry[used..])? {
            head(payload.len(), pending);
            let start = pending.len();
            pending.extend_from_slice(payload);
            let bytes = pending[start..].iter_mut().zip(mask.iter().cycle());
            bytes.for_each(|(byte, mask)| *byte ^= mask);
            used += 4 + payload.len() + head_bytes(payload.len());
            frames += 1;
        }
        self.carry.drain(..used);
        Ok(frames)
    }

    /// Keeps what the socket did not take until it can; false when that is too much.
    pub(super) fn keep(&mut self, bytes: &[u8], number: usize, registry: &Registry) -> bool {
        let first = self.rest.is_empty();
        self.rest.extend_from_slice(bytes);
        let both = Interest::READABLE | Interest::WRITABLE;
        let told = !first || registry.reregister(&mut self.stream, Token(number), both).is_ok();
        told && self.rest.len() <= REST_MAX
    }

    /// Writes what was kept, as far as the socket takes it.
    pub(super) fn write_rest(&mut self) -> io::Result<()> {
        while !self.rest.is_empty() {
            match send(&self.stream, &self.rest, SendFlags::NOSIGNAL | SendFlags::DONTWAIT) {
                Ok(sent) => drop(self.rest.drain(..sent)),
                Err(Errno::AGAIN) => break,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// A short answer: the socket is new and takes it.
    fn send(&self, answer: &[u8]) -> Result<()> {
        let sent = send(&self.stream, answer, SendFlags::NOSIGNAL | SendFlags::DONTWAIT)?;
        ensure!(sent == answer.len(), "a new socket does not take an answer");
        Ok(())
    }
}

/// The first frame of a client: its mask and what is behind it; `None` while it is not whole.
fn masked(bytes: &[u8]) -> Result<Option<([u8; 4], &[u8])>> {
    let [first, second, more @ ..] = bytes else { return Ok(None) };
    // A close, a ping or a fragment: no client of ours sends one and goes on.
    ensure!(*first == TEXT, "not a whole text");
    let (length, more) = match second & 0x7f {
        126 => match more.split_first_chunk() {
            Some((length, more)) => (u16::from_be_bytes(*length).into(), more),
            None => return Ok(None),
        },
        127 => bail!("too long"),
        short => (usize::from(short), more),
    };
    let Some((mask, more)) = more.split_first_chunk() else { return Ok(None) };
    Ok(more.get(..length).map(|payload| (*mask, payload)))
}

/// Writes the head of a frame of a server.
fn head(payload: usize, out: &mut Vec<u8>) {
    out.push(TEXT);
    match u8::try_from(payload) {
        Ok(short) if short < 126 => out.push(short),
        _ => {
            out.push(126);
            let length = u16::try_from(payload).unwrap_or(u16::MAX);
            out.extend_from_slice(&length.to_be_bytes());
        }
    }
}

const fn head_bytes(payload: usize) -> usize {
    if payload < 126 { 2 } else { 4 }
}

/// How many bytes the first `frames` frames have that a server wrote into `pending`.
pub(super) fn span(pending: &[u8], frames: u32) -> usize {
    let mut end = 0;
    for _ in 0..frames {
        let Some([_, second, more @ ..]) = pending.get(end..) else { break };
        let payload = match (second, more.first_chunk()) {
            (126, Some(length)) => u16::from_be_bytes(*length).into(),
            _ => usize::from(*second),
        };
        end += head_bytes(payload) + payload;
    }
    end
}
