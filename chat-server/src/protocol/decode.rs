//! Reads the frames a client sends, one message at a time.
//!
//! A frame is a WebSocket message, the body of an HTTP request or the data of an
//! [`EmulationRequest`]. Lazy: what follows the message last asked for is not looked at, so that
//! a frame can be read up to `connect` while its client is unknown.
//!
//! Two kinds of failure. What is no command at all (not JSON, truncated Protobuf, no or several
//! requests, no id where a reply is due) closes the connection. A command whose content makes no
//! sense is answered with error 107 or 108, and the next one is read.
//!
//! Invariants: total on any input; a message takes memory in proportion to its own bytes;
//! nothing of the frame is kept alive by what was read from it.

mod emulation;
mod json;
mod protobuf;

use secrecy::SecretString;

pub use self::emulation::{EmulationRequest, NotEmulation, decode_emulation};
use super::{Command, DisconnectCode, Encoding, ErrorCode, ErrorReply, Json, Request};

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

/// Reads `frame`. A frame without any message closes the connection like other nonsense; blank
/// lines between JSON messages are skipped.
#[must_use]
pub const fn decode(encoding: Encoding, frame: &[u8]) -> Decoder<'_> {
    Decoder { encoding, rest: frame, state: State::Start }
}

/// The messages of one frame, in order. Ends after [`DecodeError::Disconnect`].
#[derive(Debug, Clone)]
pub struct Decoder<'a> {
    encoding: Encoding,
    rest: &'a [u8],
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// No message was met so far.
    Start,
    Reading,
    Ended,
}

/// A message that is no command; there is one answer to all of them.
struct Nonsense;

impl From<Nonsense> for DecodeError {
    fn from(_: Nonsense) -> Self {
        Self::Disconnect(DisconnectCode::BadRequest)
    }
}

impl Iterator for Decoder<'_> {
    type Item = Result<Incoming, DecodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.state == State::Ended {
            return None;
        }
        let message = match self.encoding {
            Encoding::Json => json::next(&mut self.rest),
            Encoding::Protobuf => protobuf::next(&mut self.rest),
        };
        let message = match (message, self.state) {
            (None, State::Start) => Some(Err(Nonsense.into())),
            (message, _) => message,
        };
        self.state = match message {
            None | Some(Err(DecodeError::Disconnect(_))) => State::Ended,
            _ => State::Reading,
        };
        message
    }
}

impl std::iter::FusedIterator for Decoder<'_> {}

/// Puts id and request together: without an id there is nobody to answer.
fn command(id: u32, request: Result<Request, ErrorReply>) -> Result<Incoming, DecodeError> {
    match request {
        Ok(request) if id > 0 || matches!(request, Request::Send { .. }) => {
            Ok(Incoming::Command(Command { id, request }))
        }
        Err(error) if id > 0 => Err(DecodeError::Refuse { id, error }),
        Ok(_) | Err(_) => Err(Nonsense.into()),
    }
}

/// Data that must be there: a publication cannot be nothing.
fn required_data(request: &'static str, data: Option<&[u8]>) -> Result<Json, ErrorReply> {
    optional_data(request, data)?.ok_or_else(|| {
        ErrorReply::new(ErrorCode::BadRequest)
            .with_message(format!("{request}.data is missing"))
            .with_reason("data_missing")
            .with_field("data")
    })
}

/// Data that may be left out; Protobuf cannot tell absent from empty.
fn optional_data(request: &'static str, data: Option<&[u8]>) -> Result<Option<Json>, ErrorReply> {
    let Some(data) = data.filter(|data| !data.is_empty()) else { return Ok(None) };
    Json::parse(data).map(Some).map_err(|_not_json| {
        let levels = Json::DEPTH_MAX;
        ErrorReply::new(ErrorCode::BadRequest)
            .with_message(format!("{request}.data is not a JSON value of at most {levels} levels"))
            .with_reason("data_not_json")
            .with_field("data")
    })
}

/// A kind of publication or refresh that belongs to features this server does not have.
fn ordinary_kind(request: &'static str, kind: i32) -> Result<(), ErrorReply> {
    if kind == 0 {
        return Ok(());
    }
    Err(ErrorReply::new(ErrorCode::NotAvailable)
        .with_message(format!("{request}.type other than 0 is not available"))
        .with_reason("kind_not_available")
        .with_field("type"))
}

/// An empty token is no token.
fn secret(token: String) -> Option<SecretString> {
    (!token.is_empty()).then(|| token.into())
}

#[cfg(test)]
mod tests;
