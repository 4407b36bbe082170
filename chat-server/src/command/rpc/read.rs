//! What is read and what is not: `read.mark`, `unread.list`.

use serde::Serialize;

use super::cursor::{self, Part};
use super::{Call, Refusal, answer, unknown_method};
use crate::command::read_marks;
use crate::fanout::within;
use crate::protocol::Json;
use crate::room::RoomId;
use crate::store::{Mark, Unread};

/// What cursors of this list say.
const LIST: &str = "unread";

#[derive(Serialize)]
struct Marked {
    unread: u64,
}

#[derive(Serialize)]
struct Page {
    rooms: Vec<Unread>,
    /// What the next page is asked with; none behind the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

pub(super) async fn call(call: &Call<'_>, family: &str, verb: &str) -> Result<Json, Refusal> {
    match (family, verb) {
        ("read", "mark") => mark(call).await,
        ("unread", "list") => list(call).await,
        _ => Err(unknown_method()),
    }
}

async fn mark(call: &Call<'_>) -> Result<Json, Refusal> {
    let (user, room) = (call.user()?.clone(), call.room()?);
    let mark = Mark { room, user, offset: call.fields.number("offset")? };
    let Unread { unread, .. } = read_marks::mark(call.services, mark).await?;
    answer(&Marked { unread })
}

async fn list(call: &Call<'_>) -> Result<Json, Refusal> {
    let user = call.user()?;
    let Part { after, limit } = cursor::part(&call.fields, LIST)?;
    let after: Option<RoomId> = match after {
        None => None,
        Some(room) => Some(room.parse().map_err(|_no_id| cursor::refused())?),
    };
    // One more than asked for tells whether there is a next page.
    let rooms = within(call.services.store.unread_list(user, after, limit + 1)).await?;
    let (rooms, next) = cursor::page(LIST, limit, rooms, |unread| unread.room.to_string());
    answer(&Page { rooms, next })
}
