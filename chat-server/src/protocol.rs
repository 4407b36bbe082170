//! The wire between clients and the chat server, without any IO.
//!
//! The protocol is a superset of the Centrifuge client protocol v2: a client sends [`Command`]s,
//! the server answers each with a [`Reply`] and sends [`Push`]es of its own accord, in JSON or in
//! Protobuf. docs/PROTOCOL.md describes every shape; `proto/veza/client/v1/client.proto` holds
//! the field numbers.
//!
//! Responsible for: reading frames ([`decode`]), writing messages ([`encode_reply`],
//! [`encode_push`], [`encode_ping`]), the table of codes. Not for: channel names, permissions,
//! limits, sockets, clocks.
//!
//! Invariants: total on any input (an error, never a panic); memory is bounded by the size of the
//! frame; one message never spans two lines in JSON, whatever a client put into it.

mod code;
mod command;
mod decode;
#[cfg(test)]
mod documented;
mod encode;
mod error;
mod json;
mod push;
mod reply;

pub use self::code::{DisconnectCode, ErrorCode, UnsubscribeCode};
pub use self::command::{Command, Connect, Extensions, History, Position, Request, Subscribe};
pub use self::decode::{
    DecodeError, Decoder, EmulationRequest, Incoming, NotEmulation, decode, decode_emulation,
};
pub use self::encode::{encode_ping, encode_publication, encode_push, encode_reply};
pub use self::error::ErrorReply;
pub use self::json::{Json, NotJson};
pub use self::push::Push;
pub use self::reply::{
    ClientInfo, ConnectResult, HistoryResult, PresenceStatsResult, Publication, PublishResult,
    RefreshResult, Reply, ReplyBody, SubscribeResult,
};

/// How commands, replies and pushes are written on a connection; fixed when it opens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Encoding {
    /// UTF-8 text, one message per line.
    Json,
    /// Binary, every message preceded by its length as a varint.
    Protobuf,
}
