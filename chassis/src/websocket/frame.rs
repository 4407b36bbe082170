//! The frames a server sends: whole, unmasked, ready to be shared by every receiver.
//!
//! Nothing here is fragmented: a message is one frame (RFC 6455, section 5.2).

use bytes::Bytes;

/// Longest header of an unmasked frame: two bytes and a 64-bit length.
pub const HEADER_BYTES_MAX: usize = 10;

/// Longest payload of a control frame (RFC 6455, section 5.5).
pub const CONTROL_BYTES_MAX: usize = 125;

const FIN: u8 = 0x80;

/// What a frame carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opcode {
    /// UTF-8 text.
    Text,
    /// Any bytes.
    Binary,
    /// The end of the connection, with code and reason.
    Close,
    /// A question for a pong with the same payload.
    Ping,
    /// The answer to a ping.
    Pong,
}

impl Opcode {
    const fn bits(self) -> u8 {
        match self {
            Self::Text => 0x1,
            Self::Binary => 0x2,
            Self::Close => 0x8,
            Self::Ping => 0x9,
            Self::Pong => 0xA,
        }
    }
}

/// Appends the header of a frame whose payload has `len` bytes.
pub fn put_header(out: &mut Vec<u8>, opcode: Opcode, len: usize) {
    out.push(FIN | opcode.bits());
    if let Ok(len) = u8::try_from(len)
        && usize::from(len) <= CONTROL_BYTES_MAX
    {
        out.push(len);
    } else if let Ok(len) = u16::try_from(len) {
        out.push(126);
        out.extend_from_slice(&len.to_be_bytes());
    } else {
        out.push(127);
        out.extend_from_slice(&(len as u64).to_be_bytes());
    }
}

/// What [`put_header`] appends.
const fn header_bytes(len: usize) -> usize {
    match len {
        0..=125 => 2,
        126..=0xFFFF => 4,
        _ => HEADER_BYTES_MAX,
    }
}

/// One whole frame around `payload`.
#[must_use]
pub fn frame(opcode: Opcode, payload: &[u8]) -> Bytes {
    // Exactly: what has room to spare costs another allocation as shared bytes.
    let mut out = Vec::with_capacity(header_bytes(payload.len()) + payload.len());
    put_header(&mut out, opcode, payload.len());
    out.extend_from_slice(payload);
    out.into()
}

/// A close frame; a reason that does not fit into a control frame is cut at a character.
#[must_use]
pub fn close(code: u16, reason: &str) -> Bytes {
    let mut end = reason.len().min(CONTROL_BYTES_MAX - 2);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    let mut payload = Vec::with_capacity(2 + end);
    payload.extend_from_slice(&code.to_be_bytes());
    payload.extend_from_slice(&reason.as_bytes()[..end]);
    frame(Opcode::Close, &payload)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_take_the_shortest_header() {
        for (len, header) in [(0, 2), (125, 2), (126, 4), (65_535, 4), (65_536, 10)] {
            assert_eq!(frame(Opcode::Binary, &vec![7; len]).len(), header + len, "{len}");
            assert_eq!(header_bytes(len), header, "{len}");
        }
    }

    #[test]
    fn a_long_close_reason_is_cut_at_a_character() {
        let bytes = close(3000, &"é".repeat(100));
        assert_eq!(bytes[0], 0x88);
        let reason = std::str::from_utf8(&bytes[4..]).unwrap();
        assert_eq!(reason.chars().count(), 61);
    }
}
