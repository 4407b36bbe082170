//! Direct conversations: the same people have the same one.

use std::sync::Arc;

use chassis::auth::UserId;
use serde::Serialize;

use super::super::fields::invalid;
use super::{Call, Refusal, answer, unknown_method};
use crate::protocol::{ErrorCode, ErrorReply, Json};
use crate::room::RoomId;

/// People of a conversation, whoever opens it among them: more are a room with a name.
const PEOPLE_MAX: usize = 20;

/// A conversation.
#[derive(Debug, Serialize)]
struct Opened {
    id: RoomId,
    channel: String,
}

pub(super) async fn call(call: &Call<'_>, verb: &str) -> Result<Json, Refusal> {
    match verb {
        "open" => open(call).await,
        _ => Err(unknown_method()),
    }
}

async fn open(call: &Call<'_>) -> Result<Json, Refusal> {
    let by = call.user()?.clone();
    let people = people(call, &by)?;
    let change =
        call.services.fanout.change(|store| async move { store.open_direct(by, people).await });
    let id = change.await?;
    answer(&Opened { id, channel: id.channel().to_string() })
}

/// Everyone in it, each once.
fn people(call: &Call<'_>, by: &Arc<str>) -> Result<Vec<Arc<str>>, Refusal> {
    let field = if call.fields.has("users") { "users" } else { "user" };
    let mut named: Vec<UserId> = call.fields.words("users", PEOPLE_MAX)?;
    if field == "user" || call.fields.has("user") {
        named.push(call.person("user")?);
    }
    let mut people = vec![by.clone()];
    for user in named {
        if people.iter().all(|known| **known != *user.as_str()) {
            people.push(user.as_str().into());
        }
    }
    match people.len() {
        1 => Err(invalid(field, "alone", "a conversation takes somebody else")),
        count if count > PEOPLE_MAX => {
            let error = ErrorReply::new(ErrorCode::Validation).with_reason("too_many");
            Err(error.with_field(field).with_limit(PEOPLE_MAX as u64, count as u64).into())
        }
        _ => Ok(people),
    }
}
