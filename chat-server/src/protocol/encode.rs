//! Writes what the server sends, one message at a time, to the end of a buffer.
//!
//! A message is not yet a frame. In JSON it is one line without its `\n`: the caller joins
//! messages by `\n` (a WebSocket frame) or ends each with it (HTTP streaming). In Protobuf it
//! carries its length in front, so messages join as they are.
//!
//! What is zero, empty or false is left out, as both official SDKs expect, except where one of
//! them needs the key; those places say so.
//!
//! Invariant: whatever a client put into a payload, a message stays one message.

mod json;
mod object;
mod protobuf;

use super::{Encoding, Publication, Push, Reply};

/// Appends the answer to a command.
pub fn encode_reply(encoding: Encoding, reply: &Reply, out: &mut Vec<u8>) {
    match encoding {
        Encoding::Json => json::reply(reply, out),
        Encoding::Protobuf => protobuf::reply(reply, out),
    }
}

/// Appends a push.
pub fn encode_push(encoding: Encoding, push: &Push, out: &mut Vec<u8>) {
    match encoding {
        Encoding::Json => json::push(push, out),
        Encoding::Protobuf => protobuf::push(push, out),
    }
}

/// Appends the push of one publication: [`encode_push`] of [`Push::Pub`] from its parts.
pub fn encode_publication(
    encoding: Encoding,
    channel: &str,
    publication: &Publication,
    out: &mut Vec<u8>,
) {
    match encoding {
        Encoding::Json => json::publication_push(channel, publication, out),
        Encoding::Protobuf => protobuf::publication_push(channel, publication, out),
    }
}

/// Appends the server's ping, which a client answers with the same bytes.
pub fn encode_ping(encoding: Encoding, out: &mut Vec<u8>) {
    match encoding {
        Encoding::Json => out.extend_from_slice(b"{}"),
        Encoding::Protobuf => out.push(0),
    }
}

/// Seconds until expiry as clients read it: a token that expires never has a `ttl` of 0, which
/// the Python SDK would miss.
fn expiry(ttl: Option<u32>) -> Option<u32> {
    ttl.map(|seconds| seconds.max(1))
}

#[cfg(test)]
mod tests;
