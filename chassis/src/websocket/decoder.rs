//! What a client sends, frame by frame: sans-IO, any split of the bytes gives the same events.
//!
//! The caller reads into a buffer of its own (shared by all connections of a thread) and feeds
//! what arrived; a whole message is handed on as a slice of that buffer. Only an unfinished
//! frame or message is kept here, so an idle connection owns no buffer. A length is checked
//! against the limit before any of its bytes is kept; after a violation the connection is over.

use std::io::Cursor;

use tokio_tungstenite::tungstenite::protocol::frame::FrameHeader;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{CloseCode, Control, Data, OpCode};

use super::frame::CONTROL_BYTES_MAX;

/// One thing a client said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event<'a> {
    /// A whole text message, checked to be UTF-8.
    Text(&'a str),
    /// A whole binary message.
    Binary(&'a [u8]),
    /// A ping; its payload (at most 125 bytes) goes back in a pong.
    Ping(&'a [u8]),
    /// A pong.
    Pong(&'a [u8]),
    /// The client says goodbye; nothing after it counts.
    Close(Closing),
}

/// The code of a client's close frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Closing {
    /// The code that was sent, or `None` for an empty close frame.
    pub code: Option<u16>,
}

/// Why a connection must be failed (RFC 6455, section 7.1.7).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// A frame against the rules: reserved bits or opcodes, no mask, a fragmented control frame.
    #[error("protocol error: {0}")]
    Protocol(&'static str),
    /// Text that is not UTF-8.
    #[error("text is not UTF-8")]
    Utf8,
    /// A message over the limit.
    #[error("message is over {max} bytes")]
    TooBig {
        /// The limit in bytes.
        max: usize,
    },
}

impl Violation {
    /// The close code that tells the client.
    #[must_use]
    pub fn close_code(self) -> u16 {
        match self {
            Self::Protocol(_) => 1002,
            Self::Utf8 => 1007,
            Self::TooBig { .. } => 1009,
        }
    }
}

/// The state between two reads of one connection.
#[derive(Debug)]
pub struct Decoder {
    /// Bytes of a frame that has not arrived whole: at most a header and `bytes_max`.
    carry: Vec<u8>,
    /// A message of which not all fragments have arrived. Few clients send fragments.
    fragmented: Option<Box<Fragments>>,
    bytes_max: usize,
    closed: bool,
}

/// What has arrived of a message, and what it will be: at most `bytes_max`.
#[derive(Debug)]
struct Fragments {
    kind: Kind,
    bytes: Vec<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    Binary,
}

struct Head {
    opcode: OpCode,
    is_final: bool,
    mask: [u8; 4],
    header_len: usize,
    payload_len: usize,
}

impl Decoder {
    /// A decoder that refuses messages over `bytes_max` bytes.
    #[must_use]
    pub fn new(bytes_max: usize) -> Self {
        Self { carry: Vec::new(), fragmented: None, bytes_max, closed: false }
    }

    /// Bytes that are kept of a message that has not arrived whole.
    #[must_use]
    pub fn kept(&self) -> usize {
        let of_fragments = self.fragmented.as_ref().map_or(0, |it| it.bytes.capacity());
        self.carry.capacity() + of_fragments
    }

    /// Takes what arrived and calls `each` for every event in it, in order.
    ///
    /// `input` is unmasked in place. After a close frame the rest is ignored.
    ///
    /// # Errors
    /// The first [`Violation`]; the events before it have been handed on.
    pub fn feed(
        &mut self,
        input: &mut [u8],
        mut each: impl FnMut(Event<'_>),
    ) -> Result<(), Violation> {
        if self.closed {
            return Ok(());
        }
        if self.carry.is_empty() {
            let used = self.frames(input, &mut each)?;
            if let Some(rest) = input.get(used..)
                && !rest.is_empty()
                && !self.closed
            {
                self.carry = rest.to_vec();
            }
            return Ok(());
        }
        let mut carry = std::mem::take(&mut self.carry);
        carry.extend_from_slice(input);
        let used = self.frames(&mut carry, &mut each)?;
        if used < carry.len() && !self.closed {
            carry.drain(..used);
            self.carry = carry;
        }
        Ok(())
    }

    /// How much has arrived of a message in fragments.
    fn gathered(&self) -> usize {
        self.fragmented.as_ref().map_or(0, |fragments| fragments.bytes.len())
    }

    fn frames(
        &mut self,
        bytes: &mut [u8],
        each: &mut impl FnMut(Event<'_>),
    ) -> Result<usize, Violation> {
        let mut used = 0;
        while !self.closed {
            let rest = &mut bytes[used..];
            let Some(head) = self.head(rest)? else { break };
            let end = head.header_len + head.payload_len;
            let Some(payload) = rest.get_mut(head.header_len..end) else {
                break;
            };
            unmask(payload, head.mask);
            self.frame(&head, payload, each)?;
            used += end;
        }
        Ok(used)
    }

    /// The header at the start of `bytes`, checked in full before its payload is awaited.
    fn head(&self, bytes: &[u8]) -> Result<Option<Head>, Violation> {
        let mut cursor = Cursor::new(bytes);
        let parsed = FrameHeader::parse(&mut cursor)
            .map_err(|_reserved| Violation::Protocol("reserved opcode"))?;
        let Some((header, len)) = parsed else {
            return Ok(None);
        };
        if header.rsv1 || header.rsv2 || header.rsv3 {
            return Err(Violation::Protocol("reserved bits are set"));
        }
        let Some(mask) = header.mask else {
            return Err(Violation::Protocol("frame is not masked"));
        };
        let payload_len = usize::try_from(len).unwrap_or(usize::MAX);
        match header.opcode {
            OpCode::Control(_) if !header.is_final => {
                return Err(Violation::Protocol("fragmented control frame"));
            }
            OpCode::Control(_) if payload_len > CONTROL_BYTES_MAX => {
                return Err(Violation::Protocol("control frame over 125 bytes"));
            }
            OpCode::Control(Control::Reserved(_)) | OpCode::Data(Data::Reserved(_)) => {
                return Err(Violation::Protocol("reserved opcode"));
            }
            OpCode::Data(Data::Continue) if self.fragmented.is_none() => {
                return Err(Violation::Protocol("continuation of nothing"));
            }
            OpCode::Data(Data::Text | Data::Binary) if self.fragmented.is_some() => {
                return Err(Violation::Protocol("new message inside a fragmented one"));
            }
            OpCode::Data(_) if payload_len > self.bytes_max - self.gathered() => {
                return Err(Violation::TooBig { max: self.bytes_max });
            }
            _ => {}
        }
        let header_len = usize::try_from(cursor.position()).unwrap_or(usize::MAX);
        let (opcode, is_final) = (header.opcode, header.is_final);
        Ok(Some(Head { opcode, is_final, mask, header_len, payload_len }))
    }

    fn frame(
        &mut self,
        head: &Head,
        payload: &[u8],
        each: &mut impl FnMut(Event<'_>),
    ) -> Result<(), Violation> {
        match head.opcode {
            OpCode::Control(Control::Ping) => each(Event::Ping(payload)),
            OpCode::Control(Control::Pong) => each(Event::Pong(payload)),
            OpCode::Control(_) => {
                self.closed = true;
                self.fragmented = None;
                each(Event::Close(closing(payload)?));
            }
            OpCode::Data(Data::Continue) => {
                if let Some(fragments) = &mut self.fragmented {
                    fragments.bytes.extend_from_slice(payload);
                }
                if head.is_final
                    && let Some(fragments) = self.fragmented.take()
                {
                    each(whole(fragments.kind, &fragments.bytes)?);
                }
            }
            OpCode::Data(data) => {
                let kind = if data == Data::Text { Kind::Text } else { Kind::Binary };
                if head.is_final {
                    each(whole(kind, payload)?);
                } else {
                    let bytes = payload.to_vec();
                    self.fragmented = Some(Box::new(Fragments { kind, bytes }));
                }
            }
        }
        Ok(())
    }
}

fn whole(kind: Kind, payload: &[u8]) -> Result<Event<'_>, Violation> {
    match kind {
        Kind::Binary => Ok(Event::Binary(payload)),
        Kind::Text => {
            let text = std::str::from_utf8(payload).map_err(|_at| Violation::Utf8)?;
            Ok(Event::Text(text))
        }
    }
}

fn closing(payload: &[u8]) -> Result<Closing, Violation> {
    let Some((code, reason)) = payload.split_first_chunk::<2>() else {
        if payload.is_empty() {
            return Ok(Closing { code: None });
        }
        return Err(Violation::Protocol("close code of one byte"));
    };
    let code = u16::from_be_bytes(*code);
    // Registered after RFC 6455, and unknown to tungstenite.
    let bad_gateway = code == 1014;
    if !bad_gateway && (!CloseCode::from(code).is_allowed() || code >= 5000) {
        return Err(Violation::Protocol("close code that may not be sent"));
    }
    if std::str::from_utf8(reason).is_err() {
        return Err(Violation::Utf8);
    }
    Ok(Closing { code: Some(code) })
}

/// XORs eight bytes at a time: a frame starts at its own mask offset 0.
fn unmask(payload: &mut [u8], mask: [u8; 4]) {
    let [a, b, c, d] = mask;
    let wide = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let (chunks, rest) = payload.as_chunks_mut::<8>();
    for chunk in chunks {
        *chunk = (u64::from_ne_bytes(*chunk) ^ wide).to_ne_bytes();
    }
    for (byte, key) in rest.iter_mut().zip([a, b, c, d, a, b, c]) {
        *byte ^= key;
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, Clone, PartialEq, Eq)]
    enum Owned {
        Text(String),
        Binary(Vec<u8>),
        Ping(Vec<u8>),
        Pong(Vec<u8>),
        Close(Option<u16>),
    }

    impl From<Event<'_>> for Owned {
        fn from(event: Event<'_>) -> Self {
            match event {
                Event::Text(text) => Self::Text(text.to_owned()),
                Event::Binary(bytes) => Self::Binary(bytes.to_vec()),
                Event::Ping(bytes) => Self::Ping(bytes.to_vec()),
                Event::Pong(bytes) => Self::Pong(bytes.to_vec()),
                Event::Close(closing) => Self::Close(closing.code),
            }
        }
    }

    fn masked(first: u8, payload: &[u8], mask: [u8; 4]) -> Vec<u8> {
        let mut out = vec![first];
        if payload.len() < 126 {
            out.push(0x80 | u8::try_from(payload.len()).unwrap());
        } else {
            out.push(0x80 | 126);
            out.extend(u16::try_from(payload.len()).unwrap().to_be_bytes());
        }
        out.extend(mask);
        out.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, key)| byte ^ key));
        out
    }

    fn decode(chunks: &[&[u8]]) -> (Vec<Owned>, Result<(), Violation>) {
        let mut decoder = Decoder::new(1000);
        let mut events = Vec::new();
        for chunk in chunks {
            let result = decoder.feed(&mut chunk.to_vec(), |event| events.push(event.into()));
            if result.is_err() {
                return (events, result);
            }
        }
        (events, Ok(()))
    }

    #[test]
    fn a_control_frame_between_fragments_comes_first() {
        let mut bytes = masked(0x01, "gr".as_bytes(), [1, 2, 3, 4]);
        bytes.extend(masked(0x89, b"are you there", [9, 8, 7, 6]));
        bytes.extend(masked(0x80, "üß".as_bytes(), [0, 0, 0, 0]));
        let (events, end) = decode(&[&bytes]);
        assert_eq!(end, Ok(()));
        assert_eq!(
            events,
            [Owned::Ping(b"are you there".to_vec()), Owned::Text("grüß".to_owned())]
        );
    }

    #[test]
    fn a_length_over_the_limit_fails_before_its_payload_arrives() {
        let head = [0x82, 0xFF, 0, 0, 1, 0, 0, 0, 0, 0, 1, 2, 3, 4];
        assert_eq!(decode(&[&head]).1, Err(Violation::TooBig { max: 1000 }));
    }

    #[test]
    fn fragments_may_not_add_up_to_more_than_the_limit() {
        let first = masked(0x02, &[7; 600], [1, 1, 1, 1]);
        let second = masked(0x80, &[7; 401], [1, 1, 1, 1]);
        assert_eq!(decode(&[&first, &second]).1, Err(Violation::TooBig { max: 1000 }));
    }

    #[test]
    fn nothing_counts_after_a_close_frame() {
        let mut bytes = masked(0x88, &1000u16.to_be_bytes(), [1, 2, 3, 4]);
        bytes.extend(masked(0x81, b"late", [1, 2, 3, 4]));
        let (events, end) = decode(&[&bytes, b"garbage"]);
        assert_eq!((events, end), (vec![Owned::Close(Some(1000))], Ok(())));
    }

    #[test]
    fn an_idle_decoder_holds_no_buffer() {
        let mut decoder = Decoder::new(1000);
        for byte in masked(0x81, b"byte by byte", [1, 2, 3, 4]) {
            decoder.feed(&mut [byte], |_| ()).unwrap();
        }
        assert!(decoder.carry.is_empty() && decoder.fragmented.is_none());
        assert_eq!(decoder.kept(), 0);
    }

    proptest! {
        #[test]
        fn any_split_gives_the_same_events(
            frames in vec((0u8..4, vec(any::<u8>(), 0..120), any::<[u8; 4]>()), 1..6),
            cuts in vec(1usize..50, 0..40),
        ) {
            let opcodes = [0x82, 0x89, 0x8A, 0x02];
            let mut bytes = Vec::new();
            for (kind, payload, mask) in &frames {
                bytes.extend(masked(opcodes[usize::from(*kind)], payload, *mask));
                if *kind == 3 {
                    bytes.extend(masked(0x80, payload, *mask));
                }
            }
            let at_once = decode(&[&bytes]);
            let (mut chunks, mut rest) = (Vec::new(), bytes.as_slice());
            for cut in cuts {
                let (chunk, tail) = rest.split_at(cut.min(rest.len()));
                chunks.push(chunk);
                rest = tail;
            }
            chunks.push(rest);
            prop_assert_eq!(decode(&chunks), at_once);
        }

        #[test]
        fn any_bytes_give_events_or_a_violation(bytes in vec(any::<u8>(), 0..4096)) {
            let mut decoder = Decoder::new(1000);
            let mut held = 0;
            if decoder.feed(&mut bytes.clone(), |_| ()).is_ok() {
                held = decoder.carry.len() + decoder.gathered();
            }
            prop_assert!(held <= bytes.len());
        }
    }
}
