//! Reading the history of a channel, forward or backward.

use super::{Caller, Refusal, Services};
use crate::channel::{Place, Since};
use crate::protocol::{ErrorCode, ErrorReply, History, HistoryResult, Position};

/// A page of history: limit 0 asks for the position alone, -1 for as much as a page may hold.
///
/// # Errors
/// 102, 103, 107 for a limit below -1, 108 where nothing is kept, 112 for a position of another
/// life or from the future.
pub fn history(
    services: &Services,
    caller: Caller<'_>,
    request: &History,
) -> Result<HistoryResult, Refusal> {
    let (name, options) = services.channel(&request.channel)?;
    let own = match name.place() {
        Place::User(user) => user == &*caller.info.user,
        _ => true,
    };
    caller.may(&name, options, options.allow_history && own)?;
    if options.history_size == 0 {
        return Err(ErrorReply::new(ErrorCode::NotAvailable).with_reason("no_history").into());
    }
    let most = services.limits.history_limit_max;
    let limit = match request.limit {
        -1 => most,
        limit => usize::try_from(limit).map_err(|_negative| limit_below_zero())?.min(most),
    };
    // Reading makes no channel.
    let channel = services.hub.find(&name);
    let top = channel.as_ref().map(|channel| channel.top()).unwrap_or_default();
    let since = match &request.since {
        None if request.reverse => Since::Newest,
        None => Since::Oldest,
        Some(position) => {
            check(position, &top)?;
            match request.reverse {
                true => Since::Before(position.offset),
                false => Since::After(position.offset),
            }
        }
    };
    let Some(channel) = channel else { return Ok(HistoryResult::default()) };
    let page = channel.history(since, limit);
    let Position { offset, epoch } = page.top;
    Ok(HistoryResult { publications: page.publications, epoch, offset })
}

fn check(position: &Position, top: &Position) -> Result<(), Refusal> {
    let error = ErrorReply::new(ErrorCode::UnrecoverablePosition).with_field("since");
    if !position.epoch.is_empty() && position.epoch != top.epoch {
        return Err(error.with_reason("epoch").into());
    }
    if position.offset > top.offset {
        return Err(error.with_reason("offset").with_limit(top.offset, position.offset).into());
    }
    Ok(())
}

fn limit_below_zero() -> ErrorReply {
    ErrorReply::new(ErrorCode::BadRequest)
        .with_message("limit is below -1")
        .with_reason("history_limit")
        .with_field("limit")
}
