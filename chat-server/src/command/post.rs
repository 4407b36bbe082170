//! What a client publishes into a room: one message, checked and made ready for the log.
//!
//! ```text
//! draft: right, fields, body -> Draft        append: slow mode -> Committer -> place in the log
//! ```
//! Whether the author may is asked here for the quick answer, and by the store once more under the
//! room's lock for the right one.

mod slow_mode;

use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use uuid::Uuid;

pub use slow_mode::SlowMode;

use super::fields::{Fields, invalid};
use super::{Caller, Refusal, Services};
use crate::protocol::{ClientInfo, ErrorCode, ErrorReply, Json};
use crate::room::say::{Saying, Sender};
use crate::room::{Act, Body, InvalidBody, MessageId, Role, RoomId};
use crate::store::{self, Access, Appended, Draft, EventKind, Missing};

/// What makes a message the same as another, apart from its `idem`.
#[derive(Serialize)]
struct Content<'a> {
    body: &'a Body,
    reply_to: Option<MessageId>,
}

/// Checks what a client publishes into a room.
///
/// # Errors
/// 101 without a user, what the room says, 400 with the field that is wrong, 404 `reply_to`,
/// 413 `body`, 108 for what does not exist yet.
pub(crate) async fn draft(
    services: &Services,
    caller: Caller<'_>,
    room: RoomId,
    data: &Json,
) -> Result<Draft, Refusal> {
    let user = super::rpc::user(caller)?;
    services.authority.permit(room, user, Act::Post).await?;
    let fields = Fields::parse(Some(data))?;
    check_type(&fields)?;
    let body = body(services, &fields)?;
    let idem: Option<Uuid> = fields.maybe_word("idem")?;
    let reply_to: Option<MessageId> = fields.maybe_word("reply_to")?;
    if fields.has("thread") {
        return Err(not_available("threads_not_available", "thread"));
    }
    // An empty list says that there are none.
    if fields.words::<String>("attachments", 0).is_err() {
        return Err(not_available("attachments_not_available", "attachments"));
    }
    if let Some(message) = reply_to {
        services.store.message_offset(room, message).await.map_err(no_such_reply)?;
    }
    let (id, name) = (MessageId::new(), name(caller.info));
    let sender = Sender { id: user, name: name.as_deref() };
    let event = Saying::Message { id, body: &body, sender, idem, reply_to }.event();
    Ok(Draft {
        log: room.log(),
        channel: room.channel(),
        id,
        kind: EventKind::Message,
        sender: user.clone(),
        idem,
        digest: content_digest(&Content { body: &body, reply_to })?,
        data: event.map_err(|_not_json| ErrorCode::Internal)?,
        access: Access::Member,
        accepted: Instant::now(),
    })
}

/// Appends a draft when it is its author's turn.
///
/// # Errors
/// 423 with `retry_after_ms` in slow mode, and what the store says.
pub(crate) async fn append(services: &Services, draft: Draft) -> Result<Appended, Refusal> {
    let room = RoomId::from_uuid(draft.log.uuid());
    let standing = services.authority.standing(room, &draft.sender).await?;
    let interval = Duration::from_secs(standing.room.slow_mode_seconds.into());
    let is_slowed = standing.membership.role.is_none_or(|role| role < Role::Moderator);
    if interval.is_zero() || !is_slowed {
        return Ok(services.committer.append(draft).await?);
    }
    let turn = services.slow_mode.turn(room, &draft, interval).await?;
    let appended = services.committer.append(draft).await?;
    turn.end(&appended);
    Ok(appended)
}

/// The text of a message, from its field `body`.
pub(super) fn body(services: &Services, fields: &Fields) -> Result<Body, Refusal> {
    let body = Body::parse(fields.text("body")?, services.limits.message_size_max);
    body.map_err(|error| {
        let words = format!("body {error}");
        match error {
            InvalidBody::TooLarge { limit, got } => ErrorReply::new(ErrorCode::TooLarge)
                .with_message(words)
                .with_reason(error.reason())
                .with_field("body")
                .with_limit(limit as u64, got as u64)
                .into(),
            _ => invalid("body", error.reason(), words),
        }
    })
}

/// Clients publish messages; everything else that happens in a room has a method of its own.
fn check_type(fields: &Fields) -> Result<(), Refusal> {
    let method = match fields.text("type")? {
        "message" => return Ok(()),
        "edit" => "message.edit",
        "delete" => "message.delete",
        "reaction" => "message.react and message.unreact",
        "read" => "read.mark",
        "member" => "the methods of room and member",
        "room" => "room.update and room.archive",
        "typing" => {
            return Err(invalid("type", "not_published", "typing is sent with the command send"));
        }
        _ => return Err(invalid("type", "unknown_type", "the type of a publication is message")),
    };
    Err(invalid("type", "not_published", format!("this is done with the rpc {method}")))
}

fn not_available(reason: &'static str, field: &'static str) -> Refusal {
    ErrorReply::new(ErrorCode::NotAvailable).with_reason(reason).with_field(field).into()
}

fn no_such_reply(error: store::Error) -> Refusal {
    if !matches!(error, store::Error::Missing(Missing::Message)) {
        return error.into();
    }
    ErrorReply::new(ErrorCode::NotFound)
        .with_message("there is no such message in this room to reply to")
        .with_reason("not_found")
        .with_field("reply_to")
        .into()
}

/// What others call a client, as its token says.
fn name(info: &ClientInfo) -> Option<String> {
    #[derive(Deserialize)]
    struct Known {
        name: Option<String>,
    }
    let known: Known = serde_json::from_slice(info.conn_info.as_ref()?.as_bytes()).ok()?;
    known.name
}

fn content_digest(content: &Content<'_>) -> Result<i64, Refusal> {
    let bytes = serde_json::to_vec(content).map_err(|_not_json| ErrorCode::Internal)?;
    let hash = digest(&SHA256, &bytes);
    let first = hash.as_ref().first_chunk().expect("a SHA-256 has 32 bytes");
    Ok(i64::from_be_bytes(*first))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_is_of_what_was_said_and_to_whom() {
        let digest = |text, reply_to| {
            let body = Body::parse(text, 100).unwrap();
            content_digest(&Content { body: &body, reply_to }).unwrap()
        };
        let (first, second) = (Some(MessageId::new()), Some(MessageId::new()));
        assert_eq!(digest("a\r\nb", first), digest("a\nb", first));
        assert_ne!(digest("a", None), digest("b", None));
        assert_ne!(digest("a", first), digest("a", second));
    }
}
