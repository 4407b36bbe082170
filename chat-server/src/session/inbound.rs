//! What a client sends over its socket, as whole frames of the protocol.
//!
//! One read may bring several frames: they wait here, and nothing more is read before they are
//! done, so a client is held back by its own speed. Emulated connections have no reading side.
//! What is kept of a frame that did not come whole counts against the budget of all connections;
//! when that is spent, who sends half a frame is told to come back.

use std::collections::VecDeque;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use chassis::delivery::{Charge, Delivery, Member, Received, Spent};
use chassis::websocket::frame::{self, Opcode};
use chassis::websocket::{Decoder, Event};

use super::end::End;
use crate::outbound::Format;
use crate::protocol::{DisconnectCode, Encoding};

/// What came in.
#[derive(Debug)]
pub(super) enum Inbound {
    /// A frame of commands.
    Frame(Vec<u8>),
    /// Bytes that answer the client at once: a pong.
    Reply(Bytes),
    /// The client is done, or must be.
    End(End),
}

#[derive(Debug)]
pub(super) struct Incoming {
    decoder: Decoder,
    encoding: Encoding,
    waiting: VecDeque<Inbound>,
    /// Where half a frame is counted; there is none while none is kept.
    charge: Option<Box<Charge>>,
}

impl Incoming {
    pub(super) fn new(bytes_max: usize, format: Format, early: &[u8]) -> Self {
        let (decoder, encoding) = (Decoder::new(bytes_max), format.encoding());
        let mut incoming = Self { decoder, encoding, waiting: VecDeque::new(), charge: None };
        if !early.is_empty() {
            incoming.feed(&mut early.to_vec());
        }
        incoming
    }

    /// What was read before and is not done yet.
    pub(super) fn next(&mut self) -> Option<Inbound> {
        let inbound = self.waiting.pop_front()?;
        if self.waiting.is_empty() {
            self.waiting = VecDeque::new();
        }
        Some(inbound)
    }

    /// Reads once; what came waits for [`Incoming::next`].
    pub(super) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        member: &Member,
        delivery: &Delivery,
    ) -> Poll<()> {
        let read = ready!(member.poll_read(cx, &mut |bytes| self.feed(bytes)));
        if let Ok(Received::End) | Err(_) = read {
            self.waiting.push_back(Inbound::End(End::Gone));
        }
        if self.count(delivery).is_err() {
            self.waiting.push_back(Inbound::End(End::Disconnect(DisconnectCode::Overloaded)));
        }
        Poll::Ready(())
    }

    /// Most reads end with a frame: nothing is kept then, and nothing is touched.
    fn count(&mut self, delivery: &Delivery) -> Result<(), Spent> {
        match self.decoder.kept() {
            0 => self.charge = None,
            kept => {
                let charge = self.charge.get_or_insert_with(|| Box::new(delivery.charge()));
                charge.resize(kept)?;
            }
        }
        Ok(())
    }

    fn feed(&mut self, bytes: &mut [u8]) {
        let (waiting, encoding) = (&mut self.waiting, self.encoding);
        let result = self.decoder.feed(bytes, |event| {
            let inbound = match (event, encoding) {
                (Event::Text(text), Encoding::Json) => Inbound::Frame(text.as_bytes().to_vec()),
                (Event::Binary(bytes), Encoding::Protobuf) => Inbound::Frame(bytes.to_vec()),
                (Event::Text(_), Encoding::Protobuf) | (Event::Binary(_), Encoding::Json) => {
                    Inbound::End(End::Transport(1003))
                }
                (Event::Ping(payload), _) => Inbound::Reply(frame::frame(Opcode::Pong, payload)),
                (Event::Pong(_), _) => return,
                (Event::Close(closing), _) => Inbound::End(End::Closed(closing.code)),
            };
            waiting.push_back(inbound);
        });
        if let Err(violation) = result {
            self.waiting.push_back(Inbound::End(End::Violation(violation)));
        }
    }
}
