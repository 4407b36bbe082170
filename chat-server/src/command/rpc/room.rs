//! Rooms: making, seeing and changing them; coming, going, bringing somebody in.

use std::sync::Arc;

use chassis::auth::UserId;
use serde::Serialize;

use super::super::fields::invalid;
use super::super::unix_millis;
use super::member::{Placed, settle};
use super::{Call, Refusal, answer, cursor, unknown_method};
use crate::fanout::within;
use crate::protocol::{ErrorCode, ErrorReply, Json};
use crate::room::happening::told_until;
use crate::room::{Act, Kind, Role, RoomId, RoomName, Topic};
use crate::store::{
    Altered, Change, Deed, Founded, Listed, Member, NewRoom, RoomUpdate, Settled, View,
};

/// People that a room can begin with, besides whoever makes it: each gets an event in the room and
/// one in their feed, all in one transaction.
const MEMBERS_MAX: usize = 100;

/// Longest time between two messages of a member.
const SLOW_MODE_SECONDS_MAX: u64 = 6 * 3600;

/// Shortest retention: below it a client that was away for lunch would miss something.
const RETENTION_SECONDS_MIN: u64 = 3600;

/// Longest retention: a hundred years; what is kept for ever is the server's to say.
const RETENTION_SECONDS_MAX: u64 = 100 * 365 * 24 * 3600;

/// A room that was made.
#[derive(Debug, Serialize)]
struct Created {
    id: RoomId,
    channel: String,
    offset: u64,
}

/// A room as one person sees it.
#[derive(Debug, Serialize)]
struct Shown {
    id: RoomId,
    channel: String,
    name: String,
    topic: String,
    visibility: Kind,
    archived: bool,
    slow_mode: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    retention: Option<u64>,
    members: u64,
    head: u64,
    created_at: u64,
    created_by: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<Role>,
    #[serde(flatten)]
    mute: Mute,
}

/// Whether somebody is muted, and until when; nothing at all for everyone else.
#[derive(Debug, Serialize)]
struct Mute {
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    muted: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    muted_until: Option<u64>,
}

/// A member as others see them.
#[derive(Debug, Serialize)]
struct Shared {
    user: String,
    role: Role,
    joined_at: u64,
    #[serde(flatten)]
    mute: Mute,
}

#[derive(Debug, Serialize)]
struct Rooms {
    rooms: Vec<Shown>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

#[derive(Debug, Serialize)]
struct Members {
    members: Vec<Shared>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// What somebody is in a room now, and where it stands.
#[derive(Debug, Serialize)]
struct Seated {
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<Role>,
    offset: u64,
}

pub(super) async fn call(call: &Call<'_>, verb: &str) -> Result<Json, Refusal> {
    match verb {
        "create" => create(call).await,
        "get" => get(call).await,
        "list" => list(call).await,
        "update" => update(call).await,
        "archive" => archive(call).await,
        "members" => members(call).await,
        "join" => {
            let deed = alone(call)?;
            seated(settle(call, deed, async |store, deed| store.join(deed).await).await?)
        }
        "leave" => {
            let deed = alone(call)?;
            seated(settle(call, deed, async |store, deed| store.leave(deed).await).await?)
        }
        "invite" => {
            let user = call.user().and_then(|_| call.person("user"))?;
            let deed = Deed { user: user.as_str().into(), ..alone(call)? };
            seated(settle(call, deed, async |store, deed| store.invite(deed).await).await?)
        }
        _ => Err(unknown_method()),
    }
}

async fn create(call: &Call<'_>) -> Result<Json, Refusal> {
    let by = call.user()?.clone();
    call.fields.text("name")?;
    let name = call.line("name", RoomName::parse)?.ok_or(ErrorCode::Internal)?;
    let topic = call.line("topic", Topic::parse)?;
    let kind = visibility(call)?.unwrap_or(Kind::Private);
    let members: Vec<UserId> = call.fields.words("members", MEMBERS_MAX)?;
    let members = members.iter().map(|user| user.as_str().into()).collect();
    let new = NewRoom { by, name, topic, kind, members };
    let change = call.services.fanout.change(|store| async move { store.create_room(new).await });
    let Founded { id, offset } = change.await?;
    answer(&Created { id, channel: id.channel().to_string(), offset })
}

async fn get(call: &Call<'_>) -> Result<Json, Refusal> {
    let room = call.room()?;
    let view = within(call.services.store.view(room, &call.caller.info.user)).await?;
    let now = unix_millis();
    view.standing.room.authorize(&view.standing.membership, Act::Read, now)?;
    answer(&shown(view, now))
}

async fn list(call: &Call<'_>) -> Result<Json, Refusal> {
    let (listed, list) = match call.fields.maybe_text("filter")? {
        None | Some("joined") => (Listed::Joined, "rooms/joined"),
        Some("public") => (Listed::Public, "rooms/public"),
        Some(_) => return Err(invalid("filter", "format", "filter is joined or public")),
    };
    let user = match listed {
        Listed::Joined => call.user()?,
        Listed::Public => &call.caller.info.user,
    };
    let cursor::Part { after, limit } = cursor::part(&call.fields, list)?;
    let after = after.map(|after| after.parse().map_err(|_not_ours| cursor::refused()));
    let rooms = call.services.store.rooms(listed, user, after.transpose()?, limit + 1);
    let id = |view: &View| view.standing.room.id.to_string();
    let (rooms, next) = cursor::page(list, limit, within(rooms).await?, id);
    let now = unix_millis();
    answer(&Rooms { rooms: rooms.into_iter().map(|view| shown(view, now)).collect(), next })
}

async fn update(call: &Call<'_>) -> Result<Json, Refusal> {
    let by = call.user()?.clone();
    let room = call.room()?;
    let update = RoomUpdate {
        name: call.line("name", RoomName::parse)?,
        topic: call.line("topic", Topic::parse)?,
        kind: visibility(call)?,
        slow_mode_seconds: slow_mode(call)?,
        retention_seconds: retention(call)?,
    };
    alter(call, async move |store| store.update_room(room, by, update).await).await
}

async fn archive(call: &Call<'_>) -> Result<Json, Refusal> {
    let by = call.user()?.clone();
    let room = call.room()?;
    let archived = call.fields.maybe_flag("archived")?.unwrap_or(true);
    alter(call, async move |store| store.archive_room(room, by, archived).await).await
}

async fn members(call: &Call<'_>) -> Result<Json, Refusal> {
    let room = call.room()?;
    call.services.authority.permit(room, &call.caller.info.user, Act::Read).await?;
    let list = format!("members/{room}");
    let cursor::Part { after, limit } = cursor::part(&call.fields, &list)?;
    let after = after.unwrap_or_default();
    if !after.is_empty() && after.parse::<UserId>().is_err() {
        return Err(cursor::refused());
    }
    let members = within(call.services.store.members(room, &after, limit + 1)).await?;
    let (members, next) = cursor::page(&list, limit, members, |member| member.user.clone());
    let now = unix_millis();
    let shared = |member: Member| {
        let Member { user, role, joined_at, muted_until } = member;
        Shared { user, role, joined_at, mute: Mute::at(muted_until, now) }
    };
    answer(&Members { members: members.into_iter().map(shared).collect(), next })
}

/// Changes a room.
async fn alter<F>(
    call: &Call<'_>,
    change: impl FnOnce(Arc<crate::store::Store>) -> F,
) -> Result<Json, Refusal>
where
    F: Future<Output = Result<Change<Altered>, crate::store::Error>> + Send + 'static,
{
    let altered = call.services.fanout.change(change).await?;
    answer(&Placed { offset: altered.offset })
}

/// Somebody does something themselves.
fn alone(call: &Call<'_>) -> Result<Deed, Refusal> {
    let by = call.user()?.clone();
    Ok(Deed { room: call.room()?, user: by.clone(), by, reason: None })
}

fn seated(settled: Settled) -> Result<Json, Refusal> {
    answer(&Seated { role: settled.role, offset: settled.offset })
}

fn visibility(call: &Call<'_>) -> Result<Option<Kind>, Refusal> {
    match call.fields.maybe_text("visibility")? {
        None => Ok(None),
        Some("public") => Ok(Some(Kind::Public)),
        Some("private") => Ok(Some(Kind::Private)),
        Some(_) => Err(invalid("visibility", "format", "visibility is public or private")),
    }
}

fn slow_mode(call: &Call<'_>) -> Result<Option<u32>, Refusal> {
    match call.fields.maybe_number("slow_mode")? {
        Some(got) if got > SLOW_MODE_SECONDS_MAX => {
            Err(out_of_range("slow_mode", SLOW_MODE_SECONDS_MAX, got))
        }
        seconds => Ok(seconds.and_then(|seconds| u32::try_from(seconds).ok())),
    }
}

/// `null` and 0 take back what was set.
fn retention(call: &Call<'_>) -> Result<Option<Option<u64>>, Refusal> {
    if call.fields.is_null("retention") {
        return Ok(Some(None));
    }
    match call.fields.maybe_number("retention")? {
        None => Ok(None),
        Some(0) => Ok(Some(None)),
        Some(got) if got < RETENTION_SECONDS_MIN => {
            Err(out_of_range("retention", RETENTION_SECONDS_MIN, got))
        }
        Some(got) if got > RETENTION_SECONDS_MAX => {
            Err(out_of_range("retention", RETENTION_SECONDS_MAX, got))
        }
        seconds => Ok(Some(seconds)),
    }
}

fn out_of_range(field: &'static str, limit: u64, got: u64) -> Refusal {
    let words = match got < limit {
        true => format!("{field} is at least {limit} seconds"),
        false => format!("{field} is at most {limit} seconds"),
    };
    let error = ErrorReply::new(ErrorCode::Validation).with_message(words).with_reason("range");
    error.with_field(field).with_limit(limit, got).into()
}

fn shown(view: View, now: u64) -> Shown {
    let View { standing, name, topic, retention_seconds, members, head, created_at, created_by } =
        view;
    Shown {
        id: standing.room.id,
        channel: standing.room.id.channel().to_string(),
        name,
        topic,
        visibility: standing.room.kind,
        archived: standing.room.archived,
        slow_mode: standing.room.slow_mode_seconds,
        retention: retention_seconds,
        members,
        head,
        created_at,
        created_by,
        role: standing.membership.role,
        mute: Mute::at(standing.membership.muted_until, now),
    }
}

impl Mute {
    fn at(until: u64, now: u64) -> Self {
        let muted = until > now;
        Self { muted, muted_until: told_until(until).filter(|_| muted) }
    }
}
