//! One client: what it is doing, and what it has of its room's messages.
//!
//! It owns a socket and little more: 200 bytes while it is idle, no buffer, no task, no timer. The
//! worker's loop gives it a buffer to read into and an ear for what comes.

use std::io;

use memchr::memmem;

use super::wire::{More, Wire};
use crate::load::dialect::frame::{Decoder, Opcode};
use crate::load::thread::Thread;

/// The longest answer to the request for a WebSocket.
const ANSWER_MAX: usize = 16 * 1024;

/// A client.
#[derive(Debug)]
pub(super) struct Client {
    /// What it is doing.
    pub(super) stage: Stage,
    /// Its place in its room's messages.
    pub(super) member: Member,
    /// When this connection was begun.
    pub(super) began: u64,
    /// Unread bytes of the server.
    pub(super) decoder: Decoder,
}

/// What a client is doing.
#[derive(Debug, Default)]
pub(super) enum Stage {
    /// Nothing yet, or it was told to go.
    #[default]
    Away,
    /// TCP, and TLS with it.
    Dialing(Wire),
    /// The request is sent; this much of the answer has come.
    Asking(Wire, Vec<u8>),
    /// It has said who it is.
    Greeting(Wire),
    /// It is in its room.
    Present(Wire),
    /// It failed, or the server ended it.
    Gone,
}

/// A client's place in its room's messages.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Member {
    /// What came.
    pub(super) thread: Thread,
    /// The offset of the last message, or of its entry.
    pub(super) offset: u64,
    /// When it came into its room the last time; 0 before.
    pub(super) entered: u64,
}

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum End {
    /// The server closed it.
    #[error("closed by the server")]
    Closed,
    /// The server said why.
    #[error("{0}")]
    Told(String),
    /// The answer to the request was another than 101.
    #[error("answered {0}")]
    Answered(String),
    /// The network, or TLS.
    #[error("{0}")]
    Broken(#[from] io::Error),
    /// It is no WebSocket.
    #[error("{0}")]
    Strange(#[from] crate::load::dialect::frame::Broken),
    /// It took too long.
    #[error("not in its room in time")]
    Late,
}

/// What a read gave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Gained {
    /// Bytes.
    pub(super) bytes: usize,
    /// Whether to read again.
    pub(super) more: More,
    /// The server has agreed to speak WebSocket just now.
    pub(super) upgraded: bool,
}

impl Default for Client {
    fn default() -> Self {
        Self {
            stage: Stage::Away,
            member: Member::default(),
            began: 0,
            decoder: Decoder::default(),
        }
    }
}

impl Client {
    /// The connection, if there is one.
    pub(super) fn wire(&mut self) -> Option<&mut Wire> {
        match &mut self.stage {
            Stage::Dialing(wire)
            | Stage::Asking(wire, _)
            | Stage::Greeting(wire)
            | Stage::Present(wire) => Some(wire),
            Stage::Away | Stage::Gone => None,
        }
    }

    /// Whether it is in its room.
    pub(super) const fn is_present(&self) -> bool {
        matches!(self.stage, Stage::Present(_))
    }

    /// Whether it is on its way there.
    pub(super) const fn is_entering(&self) -> bool {
        matches!(self.stage, Stage::Dialing(_) | Stage::Asking(..) | Stage::Greeting(_))
    }

    /// Leaves without a word.
    pub(super) fn leave(&mut self) {
        self.stage = Stage::Away;
        self.decoder = Decoder::default();
    }

    /// The next stage, with the same connection.
    pub(super) fn advance(&mut self) {
        self.stage = match std::mem::take(&mut self.stage) {
            Stage::Dialing(wire) => Stage::Asking(wire, Vec::new()),
            Stage::Asking(wire, _) => Stage::Greeting(wire),
            Stage::Greeting(wire) => Stage::Present(wire),
            stage @ (Stage::Away | Stage::Present(_) | Stage::Gone) => stage,
        };
    }

    /// Reads once, and gives each whole message to `each`.
    pub(super) fn read(
        &mut self,
        buffer: &mut [u8],
        mut each: impl FnMut(Opcode, &[u8]),
    ) -> Result<Gained, End> {
        let Self { stage, decoder, .. } = self;
        let (bytes, more) = match stage {
            Stage::Away | Stage::Dialing(_) | Stage::Gone => (0, More::NotNow),
            Stage::Asking(wire, answer) => {
                let (bytes, more) = wire.read(buffer, |bytes| answer.extend_from_slice(bytes))?;
                let upgraded = match self.upgrade()? {
                    None => false,
                    Some(rest) => {
                        self.decoder.feed(&rest, each)?;
                        true
                    }
                };
                return Ok(Gained { bytes, more, upgraded });
            }
            Stage::Greeting(wire) | Stage::Present(wire) => {
                let mut broken = None;
                let read = wire.read(buffer, |bytes| {
                    broken = broken.or(decoder.feed(bytes, &mut each).err());
                })?;
                broken.map_or(Ok(read), |broken| Err(End::Strange(broken)))?
            }
        };
        Ok(Gained { bytes, more, upgraded: false })
    }

    /// Looks at the answer to the request; when it is whole, what came behind it.
    fn upgrade(&mut self) -> Result<Option<Vec<u8>>, End> {
        let Stage::Asking(_, answer) = &mut self.stage else { return Ok(None) };
        let Some(end) = memmem::find(answer, b"\r\n\r\n") else {
            let long = answer.len() > ANSWER_MAX;
            return if long { Err(End::Answered("without an end".to_owned())) } else { Ok(None) };
        };
        if !answer.starts_with(b"HTTP/1.1 101") {
            let line = answer.split(|byte| *byte == b'\r').next().unwrap_or_default();
            return Err(End::Answered(String::from_utf8_lossy(line).into_owned()));
        }
        let rest = answer.split_off(end + 4);
        self.advance();
        Ok(Some(rest))
    }
}

/// What a close frame says.
pub(super) fn close(payload: &[u8]) -> String {
    match payload {
        [high, low, reason @ ..] => {
            let code = u16::from_be_bytes([*high, *low]);
            format!("closed with {code} {}", String::from_utf8_lossy(reason))
        }
        _ => "closed without a code".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idle_client_costs_little() {
        assert!(size_of::<Client>() <= 200, "{}", size_of::<Client>());
    }
}
