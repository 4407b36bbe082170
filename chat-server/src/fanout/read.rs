//! What is no longer in the memory of a channel is read from where its offsets come from.

use super::{Fanout, within};
use crate::channel::{Channel, ChannelName, Options, Page, Since, Source};
use crate::nodes::Unavailable;
use crate::nodes::log::{Age, Extract, Place};
use crate::protocol::{Position, Publication};
use crate::store::{self, Event, Range};

/// Bytes after which a page of a history in Redis ends: as of one in memory.
const PAGE_BYTES_MAX: usize = 512 * 1024;

/// Why something cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The store does not say.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// Redis does not say.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
    /// Redis has lost it: the channel begins a new life, and whoever comes again finds that one.
    #[error("the life of these offsets is over")]
    Over,
}

/// What there is of a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ends {
    /// The newest offset.
    pub head: u64,
    /// Up to here nothing is kept, as far as that is known.
    pub trimmed: u64,
}

impl Fanout {
    /// What there is of a channel whose offsets come from elsewhere.
    ///
    /// # Errors
    /// It cannot be asked.
    pub async fn ends(&self, channel: &Channel) -> Result<Ends, ReadError> {
        if let Source::Log(log) = channel.source() {
            let head = within(self.store.head(log)).await?;
            return Ok(Ends { head: head.offset, trimmed: head.trimmed });
        }
        let Some(log) = &self.shared else { return Ok(Ends { head: 0, trimmed: 0 }) };
        let stands = log.stand(Place::of(channel)).await?;
        self.is_of_this_life(channel, &stands)?;
        Ok(Ends { head: stands.offset, trimmed: 0 })
    }

    /// The publications behind an offset, in order.
    ///
    /// # Errors
    /// They cannot be read.
    pub async fn after(
        &self,
        channel: &Channel,
        offset: u64,
        limit: usize,
    ) -> Result<Vec<Publication>, ReadError> {
        if let Source::Log(log) = channel.source() {
            let events = within(self.store.page(log, Range::After(offset), limit)).await?;
            return Ok(events.iter().map(Event::publication).collect());
        }
        let Some(log) = &self.shared else { return Ok(Vec::new()) };
        let (since, bytes_max, age) = (Since::After(offset), PAGE_BYTES_MAX, Age::Shown);
        let extract = Extract { since, limit, bytes_max, age };
        let page = log.page(Place::of(channel), extract).await?;
        self.is_of_this_life(channel, &page.top)?;
        Ok(page.publications)
    }

    /// An error when Redis has another life of a channel than the one that is live here: what was
    /// missed in this one cannot be had, and nobody is to be told that it goes on without it.
    fn is_of_this_life(&self, channel: &Channel, found: &Position) -> Result<(), ReadError> {
        if found.epoch == channel.epoch() {
            return Ok(());
        }
        self.compare_shared_soon();
        Err(ReadError::Over)
    }

    /// A page of a channel that perhaps nobody uses here, and where it stands; without an epoch
    /// when nothing was ever published.
    ///
    /// # Errors
    /// It cannot be read.
    pub async fn page(
        &self,
        name: &ChannelName,
        options: &Options,
        since: Since,
        limit: usize,
    ) -> Result<Page, ReadError> {
        let nothing = Page { publications: Vec::new(), top: Position::default() };
        let Some(log) = &self.shared else { return Ok(nothing) };
        let place = Place { channel: name.shared(), options, known: None };
        let (bytes_max, age) = (PAGE_BYTES_MAX, Age::Shown);
        Ok(log.page(place, Extract { since, limit, bytes_max, age }).await?)
    }
}
