//! Entering a channel: where the client starts, and what it missed.
//!
//! The client enters on hold, its position is read, and [`Entered`] tells the session what to reply
//! and where delivery starts: nothing can fall in between. What it missed comes from memory, or
//! from where the offsets of the channel come from. Who is far behind is not held meanwhile: the
//! session sends the history page by page until little is left.

use std::sync::Arc;

use chassis::delivery::Member;

use super::{Refusal, Services};
use crate::channel::{Channel, Recovery, Source, Subscription};
use crate::fanout::{Ends, EnterError, ReadError};
use crate::outbound::Format;
use crate::protocol::{
    ClientInfo, ErrorCode, ErrorReply, Position, Publication, Subscribe, SubscribeResult,
};

/// Publications of the first recovery page, and of each that follows.
pub(crate) const PAGE_PUBLICATIONS_MAX: usize = 256;

/// What stands around the data of a publication in a reply: offset, time, sender.
const ENVELOPE_BYTES: usize = 256;

/// Bytes of the first recovery page.
const PAGE_BYTES_MAX: usize = 64 * 1024;

/// Who enters.
#[derive(Debug, Clone, Copy)]
pub struct Entering<'a> {
    /// Its connection.
    pub member: &'a Member,
    /// How it wants its messages.
    pub format: Format,
    /// Who it is.
    pub info: &'a Arc<ClientInfo>,
}

/// A client that is in a channel but hears nothing yet.
#[derive(Debug)]
pub struct Entered {
    /// Its place.
    pub subscription: Subscription,
    /// What the subscriber is told first.
    pub result: SubscribeResult,
    /// What it missed beyond the first page, in order.
    pub rest: Vec<Publication>,
    /// Where delivery starts.
    pub start: Start,
    /// When the permission ends, in Unix seconds.
    pub expires_at: Option<u64>,
}

/// Where delivery starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// Behind this offset, now: the client is on hold.
    Behind(u64),
    /// When the log was sent from behind this offset: the client is not on hold yet.
    CatchUp(u64),
}

/// A client on its way in, which takes its place back when nobody waits for it any more: the
/// channel may be known by no name by then.
struct Arriving<'a> {
    member: &'a Member,
    subscription: Option<Subscription>,
}

/// What a client missed.
struct Missed {
    publications: Vec<Publication>,
    recovered: bool,
    /// Where the channel stands.
    top: u64,
    start: Start,
}

impl From<EnterError> for Refusal {
    fn from(error: EnterError) -> Self {
        match error {
            EnterError::Full(full) => ErrorReply::new(ErrorCode::LimitExceeded)
                .with_message(full.to_string())
                .with_reason("channels_max")
                .into(),
            EnterError::Read(error) => error.into(),
        }
    }
}

pub(super) async fn enter(
    services: &Services,
    channel: &Arc<Channel>,
    client: Entering<'_>,
    request: &Subscribe,
) -> Result<Entered, Refusal> {
    let options = channel.options();
    let keeps = options.history_size > 0;
    let recoverable = keeps && (options.force_recovery || request.recoverable);
    let positioned = keeps && (recoverable || request.positioned);
    let Entering { member, format, info } = client;
    let subscription = channel.reserve(member, format, info.clone(), request.join_leave);
    let mut arriving = Arriving { member, subscription: Some(subscription) };
    let subscription = arriving.subscription();
    let from = (request.recover && recoverable)
        .then(|| Position { offset: request.offset, epoch: request.epoch.as_str().into() });
    let missed = match channel.source() {
        Source::Memory => Ok(from_memory(subscription, member, from.as_ref())),
        Source::Log(_) | Source::Shared => {
            from_elsewhere(services, subscription, member, from.as_ref()).await
        }
    };
    let Missed { mut publications, recovered, top, start } = missed?;
    let rest = publications.split_off(page_len(&publications));
    let more = !rest.is_empty() || matches!(start, Start::CatchUp(_));
    let offset = match publications.last() {
        Some(last) if more => last.offset,
        _ => top,
    };
    let result = SubscribeResult {
        recoverable,
        positioned,
        epoch: if positioned { channel.epoch().clone() } else { "".into() },
        offset: if positioned { offset } else { 0 },
        publications,
        recovered,
        was_recovering: request.recover,
        ..SubscribeResult::default()
    };
    let subscription = arriving.arrived();
    Ok(Entered { subscription, result, rest, start, expires_at: None })
}

impl Arriving<'_> {
    fn subscription(&mut self) -> &mut Subscription {
        self.subscription.as_mut().expect("it is there until it has arrived")
    }

    fn arrived(mut self) -> Subscription {
        self.subscription.take().expect("one arrives once")
    }
}

impl Drop for Arriving<'_> {
    fn drop(&mut self) {
        if let Some(subscription) = self.subscription.take() {
            subscription.end(self.member);
        }
    }
}

fn from_memory(
    subscription: &mut Subscription,
    member: &Member,
    from: Option<&Position>,
) -> Missed {
    subscription.attach(member);
    let (top, recovery) = subscription.channel().recover(from);
    let (publications, recovered) = match recovery {
        Recovery::Recovered(publications) => (publications, true),
        Recovery::Fresh | Recovery::Lost => (Vec::new(), false),
    };
    let top = top.offset;
    Missed { publications, recovered, top, start: Start::Behind(top) }
}

async fn from_elsewhere(
    services: &Services,
    subscription: &mut Subscription,
    member: &Member,
    from: Option<&Position>,
) -> Result<Missed, ReadError> {
    let channel = subscription.channel().clone();
    let Some(from) = from else { return Ok(from_memory(subscription, member, None)) };
    let same_life = from.epoch.is_empty() || from.epoch == channel.epoch();
    let behind = channel.top().offset.saturating_sub(from.offset);
    if same_life && behind > PAGE_PUBLICATIONS_MAX as u64 {
        return far_behind(services, subscription, member, from.offset).await;
    }
    if same_life {
        services.fanout.recall(&channel, from.offset).await?;
    }
    let near = from_memory(subscription, member, Some(from));
    if near.recovered || !same_life {
        return Ok(near);
    }
    // Not in memory, or this process has not heard of it yet: where the offsets come from is known.
    let Ends { head, trimmed } = services.fanout.ends(&channel).await?;
    let lost = Missed { publications: Vec::new(), recovered: false, ..near };
    if from.offset > head.max(near.top) || from.offset < trimmed {
        return Ok(lost);
    }
    let start = Start::Behind(near.top.max(from.offset));
    let top = near.top.max(from.offset);
    match between(services, &channel, from.offset, near.top).await? {
        Some(publications) => Ok(Missed { publications, recovered: true, top, start }),
        None => Ok(lost),
    }
}

/// The first page now, the rest by the session.
async fn far_behind(
    services: &Services,
    subscription: &mut Subscription,
    member: &Member,
    offset: u64,
) -> Result<Missed, ReadError> {
    let channel = subscription.channel().clone();
    let mut publications = services.fanout.after(&channel, offset, PAGE_PUBLICATIONS_MAX).await?;
    if publications.first().is_none_or(|first| first.offset != offset + 1) {
        return Ok(from_memory(subscription, member, None));
    }
    publications.truncate(page_len(&publications));
    let last = publications.last().map_or(offset, |last| last.offset);
    let start = Start::CatchUp(last);
    Ok(Missed { publications, recovered: true, top: last, start })
}

/// Everything in a channel behind `after` up to `upto`; `None` when some of it is no longer there.
pub(crate) async fn between(
    services: &Services,
    channel: &Channel,
    after: u64,
    upto: u64,
) -> Result<Option<Vec<Publication>>, ReadError> {
    let (mut last, mut publications) = (after, Vec::new());
    while last < upto {
        let page = services.fanout.after(channel, last, PAGE_PUBLICATIONS_MAX).await?;
        if page.is_empty() {
            return Ok(None);
        }
        for publication in page.into_iter().take_while(|publication| publication.offset <= upto) {
            if publication.offset != last + 1 {
                return Ok(None);
            }
            last = publication.offset;
            publications.push(publication);
        }
    }
    Ok(Some(publications))
}

fn page_len(publications: &[Publication]) -> usize {
    let mut bytes = 0;
    let fits = |publication: &&Publication| {
        bytes += publication.data.len() + ENVELOPE_BYTES;
        bytes <= PAGE_BYTES_MAX
    };
    let fitting = publications.iter().take(PAGE_PUBLICATIONS_MAX).take_while(fits).count();
    // One that is larger than a page is a page: the position told is that of the last one.
    fitting.max(publications.len().min(1))
}

#[cfg(test)]
mod tests {
    use chassis::delivery::Wire;
    use chassis::testing::deadline;

    use super::*;
    use crate::channel::testing;

    #[tokio::test]
    async fn who_stops_waiting_on_the_way_into_a_channel_that_has_ended_is_not_held_there() {
        let hub = testing::hub();
        let (wire, _body) = Wire::pipe(1 << 20);
        let member = hub.delivery().join(wire);
        let channel = testing::channel(&hub, "lobby");

        let format = Format::WebSocketJson;
        let subscription = channel.reserve(&member, format, Arc::default(), false);
        let mut arriving = Arriving { member: &member, subscription: Some(subscription) };
        arriving.subscription().attach(&member);
        hub.end(&channel);
        let channel = {
            let ended = Arc::downgrade(&channel);
            drop(channel);
            ended
        };
        assert!(channel.upgrade().is_some(), "it is on hold there");
        drop(arriving);
        deadline(async {
            // Delivery holds what it delivers for.
            while channel.upgrade().is_some() {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }
}
