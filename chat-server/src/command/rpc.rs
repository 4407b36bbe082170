//! Methods called by `rpc`: rooms, members, messages, what is read.
//!
//! A method is a word, a dot and a verb; one file a family. Fields that are unknown are ignored,
//! fields that are wrong are refused by name.

mod cursor;
mod direct;
mod member;
mod message;
mod read;
mod room;

use std::sync::Arc;

use chassis::auth::UserId;
use serde::Serialize;

use super::fields::{Fields, invalid};
use super::{Caller, Refusal, Services};
use crate::protocol::{ErrorCode, ErrorReply, Json};
use crate::room::{InvalidName, RoomId};

/// One call: who asks what of whom.
#[derive(Debug)]
struct Call<'a> {
    services: &'a Services,
    caller: Caller<'a>,
    fields: Fields,
}

/// Calls a method.
///
/// # Errors
/// 108 for a method that does not exist, and what the method says.
pub async fn rpc(
    services: &Services,
    caller: Caller<'_>,
    method: &str,
    data: Option<&Json>,
) -> Result<Json, Refusal> {
    let Some((family, verb)) = method.split_once('.') else { return Err(unknown_method()) };
    let call = Call { services, caller, fields: Fields::parse(data)? };
    match family {
        "room" => room::call(&call, verb).await,
        "member" => member::call(&call, verb).await,
        "message" => message::call(&call, verb).await,
        "read" | "unread" => read::call(&call, family, verb).await,
        "dm" => direct::call(&call, verb).await,
        _ => Err(unknown_method()),
    }
}

impl Call<'_> {
    /// Who asks; rooms know people, so an anonymous connection is nobody.
    fn user(&self) -> Result<&Arc<str>, Refusal> {
        user(self.caller)
    }

    /// The room it is about.
    fn room(&self) -> Result<RoomId, Refusal> {
        self.fields.word("room")
    }

    /// A person named in a field.
    fn person(&self, field: &'static str) -> Result<UserId, Refusal> {
        self.fields.word(field)
    }

    /// One line for people, if it is there.
    fn line<T>(
        &self,
        field: &'static str,
        parse: impl FnOnce(&str) -> Result<T, InvalidName>,
    ) -> Result<Option<T>, Refusal> {
        let line = self.fields.maybe_text(field)?.map(parse).transpose();
        line.map_err(|error| invalid_line(field, error))
    }
}

/// Who a caller is; an anonymous one is nobody.
pub(super) fn user(caller: Caller<'_>) -> Result<&Arc<str>, Refusal> {
    let user = &caller.info.user;
    if user.is_empty() {
        let error = ErrorReply::new(ErrorCode::Unauthorized).with_reason("user_required");
        return Err(error.with_message("this takes a token with a user").into());
    }
    Ok(user)
}

fn invalid_line(field: &'static str, error: InvalidName) -> Refusal {
    let words = format!("{field} {error}");
    match error {
        InvalidName::TooLong { limit, got } => ErrorReply::new(ErrorCode::Validation)
            .with_message(words)
            .with_reason(error.reason())
            .with_field(field)
            .with_limit(limit as u64, got as u64)
            .into(),
        InvalidName::Empty | InvalidName::Character => invalid(field, error.reason(), words),
    }
}

fn unknown_method() -> Refusal {
    let error = ErrorReply::new(ErrorCode::NotAvailable);
    error.with_reason("unknown_method").with_field("method").into()
}

/// What a method answers.
fn answer(value: &impl Serialize) -> Result<Json, Refusal> {
    Json::from_value(value).map_err(|_not_json| ErrorCode::Internal.into())
}
