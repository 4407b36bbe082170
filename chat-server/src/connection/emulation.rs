//! `POST /emulation`: commands of a client whose stream only flows down.
//!
//! The body names the node and the session's secret; the commands go into the session's mailbox
//! and the replies down its stream. Behind a balancer they come to any node: that hands them to
//! the one the session lives on and answers as that would. Another node is asked at the expense of
//! whoever is not known to have a session there: guesses are counted before they cost anything.

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use chassis::accept::Peer;
use http::{HeaderMap, StatusCode};
use secrecy::ExposeSecret;
use uuid::Uuid;

use super::stream::{is_protobuf, read};
use super::{Doors, refusal};
use crate::fanout::bus::Outcome;
use crate::protocol::{Encoding, decode_emulation};
use crate::session::registry::Directive;
use crate::session::remote::Commands;

/// A frame as a JSON text may double in length; the rest is the envelope.
const ESCAPING: usize = 2;
const ENVELOPE_BYTES: usize = 1024;

pub(super) async fn receive(
    State(doors): State<Doors>,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    match deliver(&doors, &peer, &headers, body).await {
        Ok(()) => StatusCode::NO_CONTENT.into_response(),
        Err(Undelivered { response, is_counted: true }) => response,
        // Secrets are not to be guessed, and nonsense is not for nothing.
        Err(Undelivered { response, is_counted: false }) => {
            match doors.count_request(&peer).await {
                Ok(()) => response,
                Err(too_many) => *too_many,
            }
        }
    }
}

/// A request that reached no session.
struct Undelivered {
    response: Response,
    /// It was counted before it was looked into.
    is_counted: bool,
}

impl From<Response> for Undelivered {
    fn from(response: Response) -> Self {
        Self { response, is_counted: false }
    }
}

async fn deliver(
    doors: &Doors,
    peer: &Peer,
    headers: &HeaderMap,
    body: Body,
) -> Result<(), Undelivered> {
    let frame_max = doors.services.limits.frame_bytes_max;
    let body = read(doors, body, frame_max * ESCAPING + ENVELOPE_BYTES).await?;
    let encoding = if is_protobuf(headers) { Encoding::Protobuf } else { Encoding::Json };
    let request = decode_emulation(encoding, &body).map_err(|_not_one| {
        let detail = "the body must hold session, node and data";
        refusal::problem(StatusCode::BAD_REQUEST, "emulation", detail)
    })?;
    if request.data.len() > frame_max {
        return Err(refusal::too_large(frame_max, Some(request.data.len() as u64)).into());
    }
    // Names that no node can have need not be asked for.
    let node = Uuid::parse_str(&request.node).map_err(|_no_id| refusal::unknown_node())?;
    let session = u128::from_str_radix(request.session.expose_secret(), 16);
    let session = session.map_err(|_no_secret| unknown_session())?;
    if node.to_string() == *doors.services.node {
        let mailbox = doors.services.registry.emulated(session).ok_or_else(unknown_session)?;
        let told = mailbox.tell(Directive::Frame(request.data));
        return Ok(told.map_err(|_full| refusal::mailbox_full())?);
    }
    let is_counted = !doors.services.remote.knows(node, session).await;
    let undelivered = |response| Undelivered { response, is_counted };
    if is_counted {
        doors.count_request(peer).await.map_err(|too_many| undelivered(*too_many))?;
    }
    let commands = Commands { session, frame: request.data };
    let outcome = doors.services.remote.hand(node, commands).await;
    match outcome.map_err(|why| undelivered(refusal::unanswered(why)))? {
        Outcome::Taken => Ok(()),
        Outcome::UnknownSession => Err(undelivered(unknown_session())),
        Outcome::MailboxFull => Err(undelivered(refusal::mailbox_full())),
    }
}

fn unknown_session() -> Response {
    refusal::problem(StatusCode::NOT_FOUND, "session", "there is no such session")
}
