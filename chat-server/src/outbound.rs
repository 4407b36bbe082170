//! What chat asks of delivery: how messages become frames, in every wire format.
//!
//! A message is encoded once for each encoding and framed once for each format; the bytes are
//! shared by every receiver. Shedding and the backlog are [`chassis::delivery`]'s; the gap marker
//! that stands in for a backlog is built by [`crate::channel`].

use bytes::Bytes;
use chassis::websocket::frame::{self, HEADER_BYTES_MAX, Opcode};

use crate::metrics::Transport;
use crate::protocol::{
    DisconnectCode, Encoding, Push, Reply, encode_ping, encode_push, encode_reply,
};

/// Replies of one frame; a single larger message still gets a frame of its own.
const FRAME_BYTES_MAX: usize = 64 * 1024;

/// Room for the usual reply; a larger one grows.
const REPLY_BYTES: usize = 128;

/// How messages reach a client: a transport and an encoding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    /// Text frames; several messages are joined by newlines.
    WebSocketJson,
    /// Binary frames of length-delimited messages.
    WebSocketProtobuf,
    /// Server-sent events, one `data:` line a message.
    SseJson,
    /// A response body of one line a message.
    StreamJson,
    /// A response body of length-delimited messages.
    StreamProtobuf,
}

impl Format {
    /// Every format; [`Format::index`] is the place in it.
    pub const ALL: [Self; 5] = [
        Self::WebSocketJson,
        Self::WebSocketProtobuf,
        Self::SseJson,
        Self::StreamJson,
        Self::StreamProtobuf,
    ];

    /// The place in [`Format::ALL`].
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }

    /// How one message is written.
    #[must_use]
    pub const fn encoding(self) -> Encoding {
        match self {
            Self::WebSocketJson | Self::SseJson | Self::StreamJson => Encoding::Json,
            Self::WebSocketProtobuf | Self::StreamProtobuf => Encoding::Protobuf,
        }
    }

    /// How it is counted.
    #[must_use]
    pub const fn transport(self) -> Transport {
        match self {
            Self::WebSocketJson | Self::WebSocketProtobuf => Transport::Websocket,
            Self::SseJson => Transport::Sse,
            Self::StreamJson | Self::StreamProtobuf => Transport::HttpStream,
        }
    }

    /// True when commands come by `/emulation`.
    #[must_use]
    pub const fn is_emulated(self) -> bool {
        matches!(self, Self::SseJson | Self::StreamJson | Self::StreamProtobuf)
    }

    /// One frame around encoded messages (joined as the encoding joins them).
    #[must_use]
    pub fn frame(self, messages: &[u8]) -> Bytes {
        match self {
            Self::WebSocketJson => frame::frame(Opcode::Text, messages),
            Self::WebSocketProtobuf => frame::frame(Opcode::Binary, messages),
            Self::StreamProtobuf => Bytes::copy_from_slice(messages),
            Self::StreamJson => {
                let mut out = Vec::with_capacity(messages.len() + 1);
                out.extend_from_slice(messages);
                out.push(b'\n');
                out.into()
            }
            Self::SseJson => {
                let mut out = Vec::with_capacity(messages.len() + HEADER_BYTES_MAX);
                for line in messages.split(|&byte| byte == b'\n') {
                    out.extend_from_slice(b"data: ");
                    out.extend_from_slice(line);
                    out.push(b'\n');
                }
                out.push(b'\n');
                out.into()
            }
        }
    }

    /// A push as one frame.
    #[must_use]
    pub fn push(self, push: &Push) -> Bytes {
        let mut message = Vec::new();
        encode_push(self.encoding(), push, &mut message);
        self.frame(&message)
    }

    /// The server's question whether the client is there.
    #[must_use]
    pub fn ping(self) -> Bytes {
        let mut message = Vec::new();
        encode_ping(self.encoding(), &mut message);
        self.frame(&message)
    }

    /// The last frame of a connection: a close frame, or a disconnect push where there is none.
    #[must_use]
    pub fn goodbye(self, code: DisconnectCode) -> Bytes {
        if self.is_emulated() {
            return self.push(&Push::Disconnect { code, after_ms: None });
        }
        // Application codes stand in the close frame itself; all are below 5000.
        frame::close(u16::try_from(code.code()).unwrap_or(1011), code.reason())
    }
}

/// Replies on their way into as few frames as the limit allows.
#[derive(Debug)]
pub struct Batch {
    format: Format,
    /// Whole messages, joined.
    open: Vec<u8>,
    /// Frames that are full.
    closed: Vec<u8>,
}

impl Batch {
    /// An empty batch; it owns no memory.
    #[must_use]
    pub fn new(format: Format) -> Self {
        Self { format, open: Vec::new(), closed: Vec::new() }
    }

    /// Adds a reply.
    pub fn reply(&mut self, reply: &Reply) {
        self.add(|encoding, out| encode_reply(encoding, reply, out));
    }

    /// Adds a push.
    pub fn push(&mut self, push: &Push) {
        self.add(|encoding, out| encode_push(encoding, push, out));
    }

    fn add(&mut self, encode: impl FnOnce(Encoding, &mut Vec<u8>)) {
        let before = self.open.len();
        if before == 0 {
            self.open.reserve(REPLY_BYTES);
        } else if self.format.encoding() == Encoding::Json {
            self.open.push(b'\n');
        }
        let start = self.open.len();
        encode(self.format.encoding(), &mut self.open);
        if before > 0 && self.open.len() >= FRAME_BYTES_MAX {
            // It begins the next frame.
            let last = self.open.split_off(start);
            self.open.truncate(before);
            self.close();
            self.open = last;
        }
    }

    /// The bytes in it so far.
    #[must_use]
    pub fn len(&self) -> usize {
        self.open.len() + self.closed.len()
    }

    /// True when nothing was added since the last [`Batch::take`].
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn close(&mut self) {
        if !self.open.is_empty() {
            self.closed.extend_from_slice(&self.format.frame(&self.open));
            self.open.clear();
        }
    }

    /// The frames so far; the batch is empty afterwards.
    pub fn take(&mut self) -> Option<Bytes> {
        if self.closed.is_empty() {
            let open = std::mem::take(&mut self.open);
            return (!open.is_empty()).then(|| self.format.frame(&open));
        }
        self.close();
        Some(std::mem::take(&mut self.closed).into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::ReplyBody;

    fn replies(count: u32) -> Batch {
        let mut batch = Batch::new(Format::WebSocketJson);
        for id in 1..=count {
            batch.reply(&Reply::ok(id, ReplyBody::Ping));
        }
        batch
    }

    #[test]
    fn replies_of_one_frame_are_joined_by_newlines() {
        let frame = replies(2).take().unwrap();
        let lines = std::str::from_utf8(&frame[2..]).unwrap().lines().count();
        assert_eq!((frame[0], lines), (0x81, 2));
        assert!(replies(0).take().is_none());
    }

    #[test]
    fn no_frame_of_replies_exceeds_the_limit() {
        let bytes = replies(10_000).take().unwrap();
        let (mut at, mut frames) = (0, 0);
        while at < bytes.len() {
            let len = match bytes[at + 1] {
                126 => usize::from(u16::from_be_bytes([bytes[at + 2], bytes[at + 3]])) + 4,
                len => usize::from(len) + 2,
            };
            assert!(len <= FRAME_BYTES_MAX + 4);
            at += len;
            frames += 1;
        }
        assert_eq!(at, bytes.len());
        assert!(frames > 1);
    }

    #[test]
    fn every_line_of_an_event_is_a_data_line() {
        let event = Format::SseJson.frame(b"{\"a\":1}\n{\"b\":2}");
        assert_eq!(&event[..], b"data: {\"a\":1}\ndata: {\"b\":2}\n\n");
    }
}
