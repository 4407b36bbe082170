//! Reads the frames a client sends.

use super::{Command, DisconnectCode, ErrorReply};

/// One message of a frame.
#[derive(Debug, Clone)]
pub enum Incoming {
    /// The answer to the server's ping.
    Pong,
    Command(Command),
}

/// What the session must do about a message that cannot be understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Close the connection; nothing after this message is read.
    #[error("the connection must be closed: {0}")]
    Disconnect(DisconnectCode),
    /// Answer command `id` with `error` and go on.
    #[error("command {id} must be refused: {}", .error.message)]
    Refuse { id: u32, error: ErrorReply },
}
