//! The body of a POST to `/emulation`: how a client whose stream only flows down sends commands.
//!
//! JSON: `{"session":"..","node":"..","data":".."}`, where `data` is text that holds a frame of
//! commands. Protobuf: a bare `EmulationRequest`, where `data` is such a frame in bytes.
//!
//! Invariant: the session is a secret, no `Debug` output shows it.

use bytes::Bytes;
use prost::Message;
use proto::client::v1;
use secrecy::SecretString;
use serde::Deserialize;

use crate::protocol::Encoding;

/// Commands for a session that another request holds open.
#[derive(Debug, Clone)]
pub struct EmulationRequest {
    /// The node that holds the session, as the connect reply named it.
    pub node: String,
    /// The session's secret, as the connect reply gave it.
    pub session: SecretString,
    /// A frame for [`decode`](super::decode).
    pub data: Bytes,
}

/// The body is no emulation request: it cannot be parsed, or names no session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an emulation request")]
pub struct NotEmulation;

#[derive(Deserialize)]
struct Body {
    node: Option<String>,
    session: Option<String>,
    data: Option<String>,
}

/// Reads the body of a POST to `/emulation`.
pub fn decode_emulation(encoding: Encoding, body: &[u8]) -> Result<EmulationRequest, NotEmulation> {
    let (node, session, data) = match encoding {
        Encoding::Json => {
            let body: Body = serde_json::from_slice(body).map_err(|_error| NotEmulation)?;
            let data = body.data.unwrap_or_default().into();
            (body.node.unwrap_or_default(), body.session.unwrap_or_default(), data)
        }
        Encoding::Protobuf => {
            let body = v1::EmulationRequest::decode(body).map_err(|_error| NotEmulation)?;
            (body.node, body.session, body.data)
        }
    };
    if session.is_empty() {
        return Err(NotEmulation);
    }
    Ok(EmulationRequest { node, session: session.into(), data })
}
