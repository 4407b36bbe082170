//! Reading the history of a channel, forward or backward.

use super::{Caller, Refusal, Services};
use crate::channel::{ChannelName, Options, Page, Since, Source};
use crate::fanout::within;
use crate::protocol::{ErrorCode, ErrorReply, History, HistoryResult, Position};
use crate::room::LogId;
use crate::store::{Event, Range};

/// A page of history: limit 0 asks for the position alone, -1 for as much as a page may hold.
///
/// # Errors
/// 102, 103, 107 for a limit below -1, 108 where nothing is kept, 112 for a position of another
/// life or from the future, 503 when it cannot be read.
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
    let channel = services.hub.find(&name).filter(|channel| channel.is_based());
    if let Some(channel) = &channel
        && let Ok(since) = since(request, &channel.top())
        && let Some(page) = channel.whole_page(since, limit)
    {
        return Ok(page.into());
    }
    match services.hub.source(&name, options) {
        Source::Log(log) => of_log(services, log, request, limit).await,
        Source::Shared => of_shared(services, &name, options, request, limit).await,
        Source::Memory => {
            let top = channel.as_ref().map(|channel| channel.top()).unwrap_or_default();
            let since = since(request, &top)?;
            Ok(channel.map(|channel| channel.history(since, limit).into()).unwrap_or_default())
        }
    }
}

/// The end of a history is kept in memory, all of it in Redis: one cursor goes over both.
async fn of_shared(
    services: &Services,
    name: &ChannelName,
    options: &Options,
    request: &History,
    limit: usize,
) -> Result<HistoryResult, Refusal> {
    let page = services.fanout.page(name, options, from(request), limit).await?;
    // Where it stands is known now.
    since(request, &page.top)?;
    Ok(page.into())
}

/// The same with the store.
async fn of_log(
    services: &Services,
    log: LogId,
    request: &History,
    limit: usize,
) -> Result<HistoryResult, Refusal> {
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

/// What is asked for, when that is possible in a channel that stands there.
fn since(request: &History, top: &Position) -> Result<Since, Refusal> {
    if let Some(position) = &request.since {
        check(position, top)?;
    }
    Ok(from(request))
}

fn from(request: &History) -> Since {
    match (&request.since, request.reverse) {
        (None, true) => Since::Newest,
        (None, false) => Since::Oldest,
        (Some(position), true) => Since::Before(position.offset),
        (Some(position), false) => Since::After(position.offset),
    }
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

impl From<Page> for HistoryResult {
    fn from(Page { publications, top: Position { offset, epoch } }: Page) -> Self {
        Self { publications, epoch, offset }
    }
}

fn limit_below_zero() -> ErrorReply {
    ErrorReply::new(ErrorCode::BadRequest)
        .with_message("limit is below -1")
        .with_reason("history_limit")
        .with_field("limit")
}
