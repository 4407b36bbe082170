//! Frames of WebSocket, as a client writes and reads them (RFC 6455).
//!
//! Out: masked, with a mask of zeros, which changes nothing and costs nothing. In: whole messages
//! out of whatever a read gave. Bytes are borrowed from the read; only what is left of a frame that
//! has not come whole is kept, and a client between two frames keeps a few hundred bytes at most.
//! Total on any input: an error, never a panic, and memory is bounded by [`MESSAGE_MAX`].

use std::mem;

/// The longest message that is read: a server under pressure may put all it has into one.
pub const MESSAGE_MAX: usize = 16 << 20;

/// What a client between two frames may go on owning, so that reads which end in the middle of a
/// frame do not allocate each time: a frame of the usual 200 bytes with its envelope.
const CARRY_KEPT: usize = 512;

/// The longest head of a frame: two bytes and a length of eight.
const HEAD_MAX: usize = 10;

/// What a message or control frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opcode {
    /// UTF-8.
    Text,
    /// Bytes.
    Binary,
    /// The end of the connection.
    Close,
    /// Asks for a pong.
    Ping,
    /// Answers a ping.
    Pong,
}

/// Why a server's bytes are no frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// Bits or an opcode that were not agreed on, or a mask.
    #[error("a frame that nobody agreed on")]
    Strange,
    /// Over [`MESSAGE_MAX`].
    #[error("a message that is too long")]
    TooLong,
    /// A continuation of nothing, or a message in the middle of another.
    #[error("fragments out of order")]
    Fragments,
}

/// What is left of the last read of a connection.
#[derive(Debug, Default)]
pub struct Decoder {
    /// The beginning of a frame.
    carry: Vec<u8>,
    /// The beginning of a message that comes in several frames: hardly ever there.
    message: Option<Box<(Opcode, Vec<u8>)>>,
}

/// The head of a frame.
#[derive(Debug, Clone, Copy)]
struct Head {
    last: bool,
    /// `None` continues a message.
    opcode: Option<Opcode>,
    /// Bytes of the head itself.
    size: usize,
    /// Bytes behind it.
    payload: usize,
}

impl Opcode {
    const fn bits(self) -> u8 {
        match self {
            Self::Text => 1,
            Self::Binary => 2,
            Self::Close => 8,
            Self::Ping => 9,
            Self::Pong => 10,
        }
    }

    const fn is_control(self) -> bool {
        matches!(self, Self::Close | Self::Ping | Self::Pong)
    }
}

/// Writes a frame around what `fill` writes.
pub fn write(opcode: Opcode, out: &mut Vec<u8>, fill: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    fill(out);
    let payload = out.len() - start;
    let mut head = [0; HEAD_MAX + 4];
    head[0] = 0x80 | opcode.bits();
    let size = match (u8::try_from(payload), u16::try_from(payload)) {
        (Ok(short), _) if short < 126 => {
            head[1] = 0x80 | short;
            2
        }
        (_, Ok(medium)) => {
            head[1] = 0x80 | 126;
            head[2..4].copy_from_slice(&medium.to_be_bytes());
            4
        }
        _ => {
            head[1] = 0x80 | 127;
            head[2..10].copy_from_slice(&(payload as u64).to_be_bytes());
            HEAD_MAX
        }
    };
    // A mask of four zeros stands behind the length.
    out.splice(start..start, head[..size + 4].iter().copied());
}

impl Decoder {
    /// Gives each whole message and control frame in what is kept and `bytes`, in order, and keeps
    /// what is left.
    ///
    /// # Errors
    /// When it is no WebSocket that speaks. Nothing can be read from it any more then.
    pub fn feed(
        &mut self,
        bytes: &[u8],
        mut each: impl FnMut(Opcode, &[u8]),
    ) -> Result<(), Broken> {
        let mut rest = bytes;
        if !self.carry.is_empty() {
            let mut carry = mem::take(&mut self.carry);
            let Some(head) = complete(&mut carry, &mut rest)? else {
                self.carry = carry;
                return Ok(());
            };
            self.frame(head, &carry[head.size..], &mut each)?;
            if carry.capacity() <= CARRY_KEPT {
                carry.clear();
                self.carry = carry;
            }
        }
        while let Some(head) = Head::read(rest)? {
            let Some(frame) = rest.get(..head.size + head.payload) else { break };
            self.frame(head, &frame[head.size..], &mut each)?;
            rest = &rest[frame.len()..];
        }
        self.carry.extend_from_slice(rest);
        Ok(())
    }

    /// Whether the last frame that began has come whole.
    #[must_use]
    pub fn is_between_frames(&self) -> bool {
        self.carry.is_empty() && self.message.is_none()
    }

    fn frame(
        &mut self,
        head: Head,
        payload: &[u8],
        each: &mut impl FnMut(Opcode, &[u8]),
    ) -> Result<(), Broken> {
        match (head.opcode, &mut self.message) {
            (Some(opcode), _) if opcode.is_control() => {
                if !head.last {
                    return Err(Broken::Fragments);
                }
                each(opcode, payload);
            }
            (Some(opcode), None) if head.last => each(opcode, payload),
            (Some(opcode), message @ None) => {
                *message = Some(Box::new((opcode, payload.to_vec())));
            }
            (None, Some(message)) => {
                if message.1.len() + payload.len() > MESSAGE_MAX {
                    return Err(Broken::TooLong);
                }
                message.1.extend_from_slice(payload);
                if head.last {
                    each(message.0, &message.1);
                    self.message = None;
                }
            }
            (Some(_), Some(_)) | (None, None) => return Err(Broken::Fragments),
        }
        Ok(())
    }
}

/// Moves from `rest` what makes the frame in `carry` whole, and gives its head when it is.
fn complete(carry: &mut Vec<u8>, rest: &mut &[u8]) -> Result<Option<Head>, Broken> {
    loop {
        let head = Head::read(carry)?;
        // A byte at a time until the head says how many there will be.
        let wanted = head.map_or(carry.len() + 1, |head| head.size + head.payload);
        let missing = wanted.saturating_sub(carry.len());
        if missing == 0 {
            return Ok(head);
        }
        let (more, behind) = rest.split_at(missing.min(rest.len()));
        if more.is_empty() {
            return Ok(None);
        }
        carry.extend_from_slice(more);
        *rest = behind;
    }
}

impl Head {
    /// The head that `bytes` begin with, if it is whole.
    fn read(bytes: &[u8]) -> Result<Option<Self>, Broken> {
        let [first, second, more @ ..] = bytes else { return Ok(None) };
        let opcode = match first & 0x7f {
            0 => None,
            1 => Some(Opcode::Text),
            2 => Some(Opcode::Binary),
            8 => Some(Opcode::Close),
            9 => Some(Opcode::Ping),
            10 => Some(Opcode::Pong),
            _ => return Err(Broken::Strange),
        };
        let (size, payload) = match second {
            short @ 0..126 => (2, u64::from(*short)),
            126 => match more.first_chunk() {
                Some(length) => (4, u16::from_be_bytes(*length).into()),
                None => return Ok(None),
            },
            127 => match more.first_chunk() {
                Some(length) => (HEAD_MAX, u64::from_be_bytes(*length)),
                None => return Ok(None),
            },
            128.. => return Err(Broken::Strange),
        };
        let payload = usize::try_from(payload).unwrap_or(usize::MAX);
        if payload > MESSAGE_MAX {
            return Err(Broken::TooLong);
        }
        Ok(Some(Self { last: first & 0x80 != 0, opcode, size, payload }))
    }
}

#[cfg(test)]
mod tests;
