//! Why a session ends, what its client is told, and how long it is waited for.

use std::time::Duration;

use bytes::Bytes;
use chassis::delivery::{Member, Received};
use chassis::websocket::{Violation, frame};

use crate::channel::Leaving;
use crate::metrics::Ending;
use crate::outbound::Format;
use crate::protocol::DisconnectCode;

/// For a slow client to take what it is owed: as long as a drain lasts after its last goodbyes.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(8);

/// A client answers a close frame within a round trip; one that does not is not waited for.
const PEER_TIMEOUT: Duration = Duration::from_secs(2);

/// The one reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The client sent a close frame.
    Closed(Option<u16>),
    /// The client went without a word.
    Gone,
    /// The client broke the WebSocket rules.
    Violation(Violation),
    /// A close code of the transport.
    Transport(u16),
    /// A code of the protocol.
    Disconnect(DisconnectCode),
    /// `connect` was refused on a transport that cannot ask twice.
    Refused,
    /// The client did not read and was cut by its shard.
    Cut,
}

/// Whether a client took what it was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parting {
    /// All of it, or it went by itself.
    Taken,
    /// Its connection takes nothing more: waiting for it would be for ever.
    Untaken,
}

impl End {
    /// How it is counted.
    pub(super) fn label(self) -> Ending {
        match self {
            Self::Closed(_) | Self::Gone | Self::Refused => Ending::CLIENT,
            Self::Violation(violation) => Ending::code(violation.close_code()),
            Self::Transport(code) => Ending::code(code),
            Self::Disconnect(code) => Ending::code(u16::try_from(code.code()).unwrap_or_default()),
            Self::Cut => Ending::code(3008),
        }
    }

    /// Whether its client is expected back at once. The `disconnect()` of SDKs closes with 1000 or
    /// without a code; a page that is left or loaded again closes with 1001.
    pub(super) fn leaving(self) -> Leaving {
        match self {
            Self::Closed(None | Some(1000)) | Self::Violation(_) | Self::Refused => {
                Leaving::ForGood
            }
            Self::Disconnect(code) if !code.reconnect() => Leaving::ForGood,
            Self::Closed(_) | Self::Gone | Self::Cut => Leaving::Interrupted,
            Self::Transport(_) | Self::Disconnect(_) => Leaving::Interrupted,
        }
    }

    /// True when the client does not seem to hear us.
    pub(super) fn is_of_deaf(self) -> bool {
        matches!(self, Self::Disconnect(DisconnectCode::NoPong | DisconnectCode::Slow))
    }

    pub(super) fn last_frame(self, format: Format) -> Option<Bytes> {
        match self {
            Self::Gone | Self::Cut | Self::Refused => None,
            Self::Disconnect(code) => Some(format.goodbye(code)),
            _ if format.is_emulated() => None,
            // The echo of the client's own code completes the handshake.
            Self::Closed(code) => Some(frame::close(code.unwrap_or(1000), "")),
            Self::Violation(violation) => {
                Some(frame::close(violation.close_code(), &violation.to_string()))
            }
            Self::Transport(code) => Some(frame::close(code, words(code))),
        }
    }
}

fn words(code: u16) -> &'static str {
    match code {
        1003 => "this connection takes the other kind of frame",
        1012 => "service restart",
        _ => "closed",
    }
}

/// Waits until the client has taken its last bytes, then until it has closed: what is sent to a
/// socket that is closed over unread data is lost to a reset.
pub(super) async fn wait_for_peer(member: &Member, format: Format) -> Parting {
    if tokio::time::timeout(FLUSH_TIMEOUT, member.drained(0)).await.is_err() {
        tracing::debug!("the client did not take its last bytes in time");
        return Parting::Untaken;
    }
    if format.is_emulated() {
        return Parting::Taken;
    }
    let gone = async { while let Ok(Received::Bytes) = member.read(&mut |_| ()).await {} };
    if tokio::time::timeout(PEER_TIMEOUT, gone).await.is_err() {
        tracing::debug!("the client did not close in time");
    }
    Parting::Taken
}
