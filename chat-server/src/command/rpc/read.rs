//! What is read and what is not: `read.mark`, `unread.list`.

use serde::Serialize;

use super::{Call, Refusal, answer, unknown_method};
use crate::command::read_marks;
use crate::fanout::within;
use crate::protocol::Json;
use crate::room::RoomId;
use crate::store::{Mark, Unread};

/// Rooms in a page when the caller does not say, and the most there can be.
const PAGE_DEFAULT: u64 = 50;
const PAGE_MAX: u64 = 100;

#[derive(Serialize)]
struct Marked {
    unread: u64,
}

#[derive(Serialize)]
struct Page {
    rooms: Vec<Unread>,
    /// What the next page is asked with; none behind the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<RoomId>,
}

pub(super) async fn call(call: &Call<'_>, family: &str, verb: &str) -> Result<Json, Refusal> {
    match (family, verb) {
        ("read", "mark") => mark(call).await,
        ("unread", "list") => list(call).await,
        _ => Err(unknown_method()),
    }
}

async fn mark(call: &Call<'_>) -> Result<Json, Refusal> {
    let (user, room) = (call.user()?.clone(), call.fields.word("room")?);
    let mark = Mark { room, user, offset: call.fields.number("offset")? };
    let Unread { unread, .. } = read_marks::mark(call.services, mark).await?;
    answer(&Marked { unread })
}

async fn list(call: &Call<'_>) -> Result<Json, Refusal> {
    let user = call.user()?;
    let after: Option<RoomId> = call.fields.maybe_word("cursor")?;
    let limit = call.fields.maybe_number("limit")?.unwrap_or(PAGE_DEFAULT).clamp(1, PAGE_MAX);
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    // One more than asked for tells whether there is a next page.
    let mut rooms = within(call.services.store.unread_list(user, after, limit + 1)).await?;
    let is_last = rooms.len() <= limit;
    rooms.truncate(limit);
    let next = rooms.last().filter(|_| !is_last).map(|last| last.room);
    answer(&Page { rooms, next })
}
