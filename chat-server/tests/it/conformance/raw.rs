//! A WebSocket client that writes exactly the bytes it is told to, and reads strictly.
//!
//! What the server sends is held to the rules on every frame: whole, unmasked, no reserved bits,
//! the shortest length.

use chassis::testing::deadline;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::harness::Stage;

/// Marks the last (or only) frame of a message.
pub const FIN: u8 = 0x80;
pub const CONTINUATION: u8 = 0x0;
pub const TEXT: u8 = 0x1;
pub const BINARY: u8 = 0x2;
pub const CLOSE: u8 = 0x8;
pub const PING: u8 = 0x9;
pub const PONG: u8 = 0xA;

/// The masking key of every frame that does not care.
const MASK: [u8; 4] = [0x37, 0xFA, 0x21, 0x3D];

/// Where WebSocket clients knock.
pub const PATH: &str = "/connection/websocket";

/// A connection, byte by byte.
#[derive(Debug)]
pub struct Raw {
    stream: TcpStream,
    unread: Vec<u8>,
}

/// One frame of the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    pub opcode: u8,
    pub payload: Vec<u8>,
}

/// A frame as clients send it; `first` holds the bits and the opcode.
pub fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    frame_masked(first, payload, MASK)
}

pub fn frame_masked(first: u8, payload: &[u8], mask: [u8; 4]) -> Vec<u8> {
    let mut out = header(first, payload.len() as u64);
    let at = out.len() - 4;
    out[at..].copy_from_slice(&mask);
    out.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, key)| byte ^ key));
    out
}

/// A header alone, with its masking key.
pub fn header(first: u8, len: u64) -> Vec<u8> {
    let mut out = vec![first];
    match len {
        0..126 => out.push(0x80 | u8::try_from(len).unwrap()),
        126..0x1_0000 => {
            out.push(0x80 | 126);
            out.extend(u16::try_from(len).unwrap().to_be_bytes());
        }
        _ => {
            out.push(0x80 | 127);
            out.extend(len.to_be_bytes());
        }
    }
    out.extend(MASK);
    out
}

/// A frame as only servers may send it.
pub fn unmasked(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut out = vec![first, u8::try_from(payload.len()).unwrap()];
    assert!(payload.len() < 126, "no extended length here");
    out.extend_from_slice(payload);
    out
}

/// A close frame.
pub fn close(code: u16, reason: &[u8]) -> Vec<u8> {
    frame(FIN | CLOSE, &[&code.to_be_bytes(), reason].concat())
}

/// A good upgrade request with more lines, each ended by a line break.
pub fn upgrade_request(target: &str, more: &str) -> String {
    format!(
        "GET {target} HTTP/1.1\r\nHost: chat\r\nConnection: keep-alive, Upgrade\r\n\
         Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{more}\r\n"
    )
}

impl Raw {
    /// A connection that nothing was said on.
    pub async fn tcp(stage: &Stage) -> Self {
        let stream = stage.tcp().await;
        // What is written apart leaves apart.
        stream.set_nodelay(true).unwrap();
        Self { stream, unread: Vec::new() }
    }

    /// An upgraded connection.
    pub async fn open(stage: &Stage, target: &str) -> Self {
        let mut raw = Self::tcp(stage).await;
        raw.write(upgrade_request(target, "").as_bytes()).await;
        let head = raw.head().await;
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        raw
    }

    /// Writes; a server that has closed already does not matter, its answers tell.
    pub async fn write(&mut self, bytes: &[u8]) {
        if deadline(self.stream.write_all(bytes)).await.is_ok() {
            // The server gets a turn, so that it reads what was written apart from what follows.
            for _ in 0..3 {
                tokio::task::yield_now().await;
            }
        }
    }

    /// The head of a response; what follows it stays for later.
    pub async fn head(&mut self) -> String {
        loop {
            if let Some(at) = self.unread.windows(4).position(|end| end == b"\r\n\r\n") {
                let head = self.unread.drain(..at + 4).collect();
                return String::from_utf8(head).unwrap();
            }
            assert!(self.more().await, "no response head: {:?}", self.unread);
        }
    }

    /// The next frame, or `None` after an orderly end.
    pub async fn frame(&mut self) -> Option<Frame> {
        while self.unread.len() < 2 {
            if !self.more().await {
                assert!(self.unread.is_empty(), "half a frame: {:?}", self.unread);
                return None;
            }
        }
        let (first, second) = (self.unread[0], self.unread[1]);
        assert_eq!(first & 0xF0, FIN, "servers send whole frames without reserved bits");
        assert!(second < 0x80, "servers do not mask");
        let len = match second {
            126 => {
                let len = u64::from(u16::from_be_bytes(self.bytes_at(2).await));
                assert!(len > 125, "{len} fits into one byte");
                len
            }
            127 => {
                let len = u64::from_be_bytes(self.bytes_at(2).await);
                assert!(len > 0xFFFF, "{len} fits into two bytes");
                len
            }
            len => u64::from(len),
        };
        let header = if second < 126 { 2 } else { 4 + usize::from(second == 127) * 6 };
        let end = header + usize::try_from(len).unwrap();
        while self.unread.len() < end {
            assert!(self.more().await, "the end came inside of a frame");
        }
        let payload = self.unread.drain(..end).skip(header).collect();
        Some(Frame { opcode: first & 0x0F, payload })
    }

    async fn bytes_at<const N: usize>(&mut self, at: usize) -> [u8; N] {
        while self.unread.len() < at + N {
            assert!(self.more().await, "the end came inside of a header");
        }
        self.unread[at..at + N].try_into().unwrap()
    }

    /// Reads once; false at the end.
    async fn more(&mut self) -> bool {
        self.unread.reserve(16 * 1024);
        self.stream.read_buf(&mut self.unread).await.expect("an orderly end, not a reset") > 0
    }
}
