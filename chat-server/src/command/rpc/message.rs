//! Messages that are there: `message.get`, `edit`, `delete`, `react`, `unreact`.

use std::sync::Arc;

use serde::Serialize;
use serde_json::{Value, json};

use super::{Call, Refusal, answer, unknown_method};
use crate::command::post;
use crate::protocol::{ErrorCode, Json};
use crate::room::{Act, Emoji, MessageId, Reason, RoomId};
use crate::store::{Deletion, Edit, Message, Reacted, Reaction};

/// Where an event stands that a method wrote.
#[derive(Serialize)]
struct At {
    offset: u64,
}

pub(super) async fn call(call: &Call<'_>, verb: &str) -> Result<Json, Refusal> {
    match verb {
        "get" => get(call).await,
        "edit" => edit(call).await,
        "delete" => delete(call).await,
        "react" => react(call, Turn::On).await,
        "unreact" => react(call, Turn::Off).await,
        _ => Err(unknown_method()),
    }
}

/// Whether a reaction is put or taken.
#[derive(Clone, Copy)]
enum Turn {
    On,
    Off,
}

async fn get(call: &Call<'_>) -> Result<Json, Refusal> {
    let (room, id) = which(call)?;
    let (services, reader) = (call.services, &call.caller.info.user);
    services.authority.permit(room, reader, Act::Read).await?;
    let Message { event, reactions } = services.store.message(room, id, reader).await?;
    let mut message: Value =
        serde_json::from_slice(event.data.as_bytes()).map_err(|_not_json| ErrorCode::Internal)?;
    message["offset"] = json!(event.offset);
    message["time"] = json!(event.time_ms);
    message["reactions"] = json!(reactions);
    answer(&message)
}

async fn edit(call: &Call<'_>) -> Result<Json, Refusal> {
    let (editor, (room, id)) = (call.user()?.clone(), which(call)?);
    let body = post::body(call.services, &call.fields)?;
    let edit = Edit { room, id, editor, body };
    let fanout = &call.services.fanout;
    let offset = fanout.change(|store| async move { store.edit(&edit).await }).await?;
    answer(&At { offset })
}

async fn delete(call: &Call<'_>) -> Result<Json, Refusal> {
    let (by, (room, id)) = (call.user()?.clone(), which(call)?);
    let reason = call.line("reason", Reason::parse)?;
    let deletion = Deletion { room, id, by, reason };
    let fanout = &call.services.fanout;
    let offset = fanout.change(|store| async move { store.delete(&deletion).await }).await?;
    answer(&At { offset })
}

async fn react(call: &Call<'_>, turn: Turn) -> Result<Json, Refusal> {
    let (by, (room, id)): (Arc<str>, _) = (call.user()?.clone(), which(call)?);
    let emoji: Emoji = call.fields.word("emoji")?;
    let reaction = Reaction { room, id, by, emoji };
    let change = |store: Arc<crate::store::Store>| async move {
        match turn {
            Turn::On => store.react(&reaction).await,
            Turn::Off => store.unreact(&reaction).await,
        }
    };
    let Reacted { offset, count } = call.services.fanout.change(change).await?;
    answer(&json!({ "offset": offset, "count": count }))
}

/// The message that is meant.
fn which(call: &Call<'_>) -> Result<(RoomId, MessageId), Refusal> {
    Ok((call.room()?, call.fields.word("id")?))
}
