//! `POST /emulation`: commands of a client whose stream only flows down.
//!
//! The body names the node and the session's secret; the commands go into the session's mailbox
//! and the replies down its stream.

use std::sync::Arc;

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use chassis::accept::Peer;
use http::{HeaderMap, StatusCode};
use secrecy::ExposeSecret;

use super::stream::{is_protobuf, read};
use super::{Doors, refusal};
use crate::protocol::{EmulationRequest, Encoding, decode_emulation};
use crate::session::registry::{Directive, Handle};

/// A frame as a JSON text may double in length; the rest is the envelope.
const ESCAPING: usize = 2;
const ENVELOPE_BYTES: usize = 1024;

pub(super) async fn receive(
    State(doors): State<Doors>,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let frame_max = doors.services.limits.frame_bytes_max;
    let body = match read(&doors, body, frame_max * ESCAPING + ENVELOPE_BYTES).await {
        Ok(body) => body,
        Err(refusal) => return refusal,
    };
    let encoding = if is_protobuf(&headers) { Encoding::Protobuf } else { Encoding::Json };
    let Ok(request) = decode_emulation(encoding, &body) else {
        let detail = "the body must hold session, node and data";
        return refusal::problem(StatusCode::BAD_REQUEST, "emulation", detail);
    };
    if request.data.len() > frame_max {
        return refusal::too_large(frame_max, Some(request.data.len() as u64));
    }
    let mailbox = match find(&doors, &request) {
        Ok(mailbox) => mailbox,
        // Secrets are not to be guessed.
        Err(missing) => {
            let counted = doors.count_request(&peer);
            return counted.map_or_else(|full| *full, |()| missing.into_response());
        }
    };
    match mailbox.tell(Directive::Frame(request.data)) {
        Ok(()) => StatusCode::NO_CONTENT.into_response(),
        Err(_full) => refusal::mailbox_full(),
    }
}

/// What a request names that is not here.
enum Missing {
    Node,
    Session,
}

impl IntoResponse for Missing {
    fn into_response(self) -> Response {
        let (reason, detail) = match self {
            Self::Node => ("node", "there is no such node"),
            Self::Session => ("session", "there is no such session"),
        };
        refusal::problem(StatusCode::NOT_FOUND, reason, detail)
    }
}

fn find(doors: &Doors, request: &EmulationRequest) -> Result<Arc<Handle>, Missing> {
    if request.node != *doors.services.node {
        return Err(Missing::Node);
    }
    let secret = u128::from_str_radix(request.session.expose_secret(), 16).ok();
    let session = secret.and_then(|secret| doors.services.registry.emulated(secret));
    session.ok_or(Missing::Session)
}
