//! The .proto files of Veza core, by package and version, and the types generated from them.
//!
//! Responsible for field numbers and nothing else: what a message means, and the conversion to
//! the types servers work with, live in the servers. Byte fields are [`bytes::Bytes`](prost::bytes)
//! and maps are ordered, so the same message has the same bytes every time.
//!
//! Invariant: no `Debug` output shows a token or a session secret.

/// The protocol between the nodes of the chat server.
pub mod bus;
/// The protocol between clients and the chat server.
pub mod client;
