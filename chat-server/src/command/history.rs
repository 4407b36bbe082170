//! Reading the history of a channel, forward or backward.

use std::sync::Arc;

use super::{Caller, Refusal, Services};
use crate::channel::{Channel, Since};
use crate::fanout::within;
use crate::protocol::{ErrorCode, ErrorReply, History, HistoryResult, Position};
use crate::room::LogId;
use crate::store::{Event, Range};

/// A page of history: limit 0 asks for the position alone, -1 for as much as a page may hold.
///
/// # Errors
/// 102, 103, 107 for a limit below -1, 108 where nothing is kept, 112 for a position of another
/// life or from the future.
pub async fn history(
    services: &Services,
    caller: Caller<'_>,
    request: &History,
) -> Result<HistoryResult, Refusal> {
    let (name, options) = services.channel(&request.channel)?;
    services.may_read(caller, &name, options, options.allow_history).await?;
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
    if let Some(log) = name.log() {
        return of_log(services, channel, log, request, limit).await;
    }
    let top = channel.as_ref().map(|channel| channel.top()).unwrap_or_default();
    let since = since(request, &top)?;
    let Some(channel) = channel else { return Ok(HistoryResult::default()) };
    let page = channel.history(since, limit);
    let Position { offset, epoch } = page.top;
    Ok(HistoryResult { publications: page.publications, epoch, offset })
}

/// The end of a log is kept in memory, all of it in the store: one cursor goes over both.
async fn of_log(
    services: &Services,
    channel: Option<Arc<Channel>>,
    log: LogId,
    request: &History,
    limit: usize,
) -> Result<HistoryResult, Refusal> {
    if let Some(channel) = channel.filter(|channel| channel.is_based())
        && let Ok(since) = since(request, &channel.top())
        && let Some(page) = channel.whole_page(since, limit)
    {
        let Position { offset, epoch } = page.top;
        return Ok(HistoryResult { publications: page.publications, epoch, offset });
    }
    let (epoch, head) = (services.hub.log_epoch(), within(services.store.head(log)).await?);
    let top = Position { offset: head.offset, epoch: epoch.clone() };
    let range = match since(request, &top)? {
        Since::Oldest => Range::After(0),
        Since::Newest => Range::Before(u64::MAX),
        Since::After(offset) => Range::After(offset),
        Since::Before(offset) => Range::Before(offset),
    };
    let events = match limit {
        0 => Vec::new(),
        _ => within(services.store.page(log, range, limit)).await?,
    };
    let publications: Vec<_> = events.iter().map(Event::publication).collect();
    // Something may have been written between the two questions.
    let newest = publications.iter().map(|publication| publication.offset).max();
    let offset = newest.unwrap_or_default().max(head.offset);
    Ok(HistoryResult { publications, epoch, offset })
}

fn since(request: &History, top: &Position) -> Result<Since, Refusal> {
    let Some(position) = &request.since else {
        return Ok(if request.reverse { Since::Newest } else { Since::Oldest });
    };
    check(position, top)?;
    Ok(match request.reverse {
        true => Since::Before(position.offset),
        false => Since::After(position.offset),
    })
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
