//! Publishing: one message to everyone in a channel.

use std::sync::Arc;

use chassis::delivery::Class;
use serde::Deserialize;
use tokio::time::Instant;
use uuid::Uuid;

use super::post::{append, draft};
use super::subscribe::{denied, unknown_room};
use super::{Caller, Refusal, Services, unix_millis};
use crate::channel::{Place, Source};
use crate::protocol::{ErrorCode, ErrorReply, Json, Position, Publication, PublishResult};
use crate::room::{Act, RoomId};
use crate::store::{Appended, Conflict};

/// How long a publisher waits when histories are full: some of them age meanwhile.
const FULL_RETRY_MS: u64 = 5_000;

/// How long a publisher waits when delivery is behind.
const BUSY_RETRY_MS: u64 = 100;

/// What is published where.
#[derive(Debug, Clone)]
pub struct Post {
    /// The channel.
    pub channel: String,
    /// The data, as it goes to the receivers.
    pub data: Json,
}

/// Publishes for a caller.
///
/// # Errors
/// 102, 103, 107, 413 for data over `MAX_MESSAGE_SIZE`, 111 while delivery is behind, 503 where the
/// nodes keep a history together and it cannot be reached; in a room also 400, 403, 404, 409, 423
/// and 503.
pub async fn publish(
    services: &Services,
    caller: Caller<'_>,
    post: &Post,
) -> Result<PublishResult, Refusal> {
    let accepted = Instant::now();
    let (name, options) = services.channel(&post.channel)?;
    match name.place() {
        Place::User(_) => return Err(denied("server_publishes").into()),
        // On the heap: a publication that is not durable needs no room for it.
        Place::Room(Some(room)) => {
            return Box::pin(say(services, caller, room, &post.data)).await;
        }
        _ => {}
    }
    caller.may(&name, options, options.allow_publish)?;
    let (limit, got) = (services.limits.message_size_max, post.data.len());
    if got > limit {
        let error = ErrorReply::new(ErrorCode::TooLarge).with_reason("message_size");
        return Err(error.with_field("data").with_limit(limit as u64, got as u64).into());
    }
    if !services.hub.delivery().has_room() {
        let error = ErrorReply::new(ErrorCode::TooManyRequests).with_reason("delivery_busy");
        return Err(error.with_retry_after_ms(BUSY_RETRY_MS).into());
    }
    let is_in_memory = services.hub.source(&name, options) == Source::Memory;
    if is_in_memory && options.history_size > 0 && !services.hub.has_room() {
        let error = ErrorReply::new(ErrorCode::TooManyRequests).with_reason("history_full");
        return Err(error.with_retry_after_ms(FULL_RETRY_MS).into());
    }
    let publication = Publication {
        info: Some((**caller.info).clone()),
        time_ms: i64::try_from(unix_millis()).unwrap_or_default(),
        ..Publication::new(post.data.clone())
    };
    let published = services.fanout.publish_plain(&name, options, publication, accepted).await;
    let Position { offset, epoch } = published?;
    services.metrics.series.messages.increment(1);
    let epoch = if offset > 0 { epoch } else { Arc::from("") };
    Ok(PublishResult { offset, epoch, ..PublishResult::default() })
}

/// A message in a room: durable before it is answered.
async fn say(
    services: &Services,
    caller: Caller<'_>,
    room: RoomId,
    data: &Json,
) -> Result<PublishResult, Refusal> {
    let said = match draft(services, caller, room, data).await.map_err(unknown_room) {
        Ok(draft) => append(services, draft).await,
        Err(refusal) => Err(refusal),
    };
    let Appended { offset, id, duplicate, .. } = match said {
        Ok(appended) => appended,
        // What was said once was said, whatever its author may no longer do.
        Err(refusal) => match said_before(services, caller, room, data, &refusal).await {
            Some(appended) => appended,
            None => return Err(refusal),
        },
    };
    if !duplicate {
        services.metrics.series.messages.increment(1);
    }
    Ok(PublishResult {
        offset,
        epoch: services.hub.log_epoch(),
        id: Some(id.to_string().into()),
        duplicate,
        status: Some("accepted"),
    })
}

/// What became of the same `idem` before, when it was not the store that refused.
async fn said_before(
    services: &Services,
    caller: Caller<'_>,
    room: RoomId,
    data: &Json,
    refusal: &Refusal,
) -> Option<Appended> {
    let Refusal::Error(error) = refusal else { return None };
    let by_state = [
        ErrorCode::PermissionDenied,
        ErrorCode::Muted,
        ErrorCode::NotFound,
        ErrorCode::SlowMode,
        ErrorCode::Conflict,
    ];
    let reused = error.reason == Some(Conflict::IdemReused.reason());
    if reused || !by_state.contains(&error.code) || caller.info.user.is_empty() {
        return None;
    }
    let fields: Idem = serde_json::from_slice(data.as_bytes()).ok()?;
    let before = services.store.said_before(room, &caller.info.user, fields.idem).await;
    before.inspect_err(|error| tracing::debug!(%error, "a key could not be looked up")).ok()?
}

#[derive(Deserialize)]
struct Idem {
    idem: Uuid,
}

#[derive(Deserialize)]
struct Send {
    typing: Option<Typing>,
}

#[derive(Deserialize)]
struct Typing {
    channel: String,
    on: bool,
}

/// What `send` can carry: `{"typing":{"channel":"..","on":true}}` becomes an ephemeral
/// publication for the subscribers of the channel. Anything else, and anything not allowed, is
/// dropped: there is no reply to say so in.
pub async fn typing(services: &Services, caller: Caller<'_>, data: &Json) {
    let Ok(Send { typing: Some(typing) }) = serde_json::from_slice(data.as_bytes()) else { return };
    let Some(sub) = caller.subs.find(&typing.channel) else { return };
    let channel = sub.channel();
    if !channel.options().allow_publish {
        return;
    }
    if let Some(room) = channel.room() {
        let permit = services.authority.permit(room, &caller.info.user, Act::Post).await;
        if permit.is_err() {
            return;
        }
    }
    let words = serde_json::json!({ "type": "typing", "on": typing.on });
    let Ok(data) = Json::from_value(&words) else { return };
    let info = Some((**caller.info).clone());
    let publication = Publication { info, ..Publication::new(data) };
    services.fanout.ephemeral(channel.name(), publication, Class::Typing);
}
