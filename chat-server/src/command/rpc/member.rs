//! Members of a room, as those with more rights change them: roles, mutes, kicks, bans.

use std::future::Future;
use std::sync::Arc;

use serde::Serialize;

use super::super::fields::invalid;
use super::super::unix_millis;
use super::{Call, Refusal, answer, unknown_method};
use crate::protocol::Json;
use crate::room::{FOR_EVER, Reason, Role};
use crate::store::{self, Change, Deed, Settled, Store};

/// Where the room stands.
#[derive(Debug, Serialize)]
pub(super) struct Placed {
    pub(super) offset: u64,
}

pub(super) async fn call(call: &Call<'_>, verb: &str) -> Result<Json, Refusal> {
    let settled = match verb {
        "role" => {
            let (deed, role) = (deed(call)?, call.fields.word::<Role>("role")?);
            settle(call, deed, async move |store, deed| store.set_role(deed, role).await).await?
        }
        "mute" => {
            let (deed, until) = (deed(call)?, until(call)?);
            settle(call, deed, async move |store, deed| store.mute(deed, until).await).await?
        }
        "unmute" => settle(call, deed(call)?, async |store, deed| store.unmute(deed).await).await?,
        "kick" => settle(call, deed(call)?, async |store, deed| store.kick(deed).await).await?,
        "ban" => {
            let (deed, until) = (deed(call)?, until(call)?);
            settle(call, deed, async move |store, deed| store.ban(deed, until).await).await?
        }
        "unban" => settle(call, deed(call)?, async |store, deed| store.unban(deed).await).await?,
        _ => return Err(unknown_method()),
    };
    answer(&Placed { offset: settled.offset })
}

/// Does something to somebody.
pub(super) async fn settle<F>(
    call: &Call<'_>,
    deed: Deed,
    change: impl FnOnce(Arc<Store>, Deed) -> F,
) -> Result<Settled, Refusal>
where
    F: Future<Output = Result<Change<Settled>, store::Error>> + Send + 'static,
{
    Ok(call.services.fanout.change(|store| change(store, deed)).await?)
}

/// Who does it to whom, where and why.
fn deed(call: &Call<'_>) -> Result<Deed, Refusal> {
    let by = call.user()?.clone();
    let (room, user) = (call.room()?, call.person("user")?);
    let reason = call.line("reason", Reason::parse)?;
    Ok(Deed { room, by, user: user.as_str().into(), reason })
}

/// When it ends by itself.
fn until(call: &Call<'_>) -> Result<u64, Refusal> {
    match call.fields.maybe_number("until")? {
        None => Ok(FOR_EVER),
        Some(until) if until > unix_millis() => Ok(until),
        Some(_) => {
            let words = "until is a time to come, in Unix milliseconds; without it there is no end";
            Err(invalid("until", "past", words))
        }
    }
}
