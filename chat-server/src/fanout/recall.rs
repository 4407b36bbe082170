//! What a channel no longer has in memory, or never had, is read for everyone who missed it.
//!
//! After a restart of a node thousands come back to a few channels of which the new node knows
//! nothing but where they stand. The first who missed something has it read into the memory of the
//! channel; who comes meanwhile waits for that. No task: it is done for whoever asks first, and for
//! the next one if they go.

use std::sync::Arc;
use std::time::Duration;

use moka::future::Cache;

use crate::channel::{Channel, Gap};
use crate::room::LogId;
use crate::store::{self, Range, Store};

/// How soon after another the same is read again, when reading it once was not enough.
const INTERVAL: Duration = Duration::from_millis(100);

/// Channels of which something was read just now.
const RECALLED_MAX: u64 = 10_000;

/// Who comes a little later missed a little more of a room: that much more is read.
const MORE: u64 = 64;

/// How often more may be missing than was read for others.
const ATTEMPTS_MAX: usize = 4;

/// Pages of one recall: a page also ends by its bytes.
const PAGES_MAX: usize = 8;

/// What is read, or was just now: everything before an offset of a log.
#[derive(Debug, Clone)]
pub(super) struct Recalls {
    reading: Cache<(LogId, u64), ()>,
}

impl Recalls {
    pub(super) fn new() -> Self {
        let reading = Cache::builder().max_capacity(RECALLED_MAX).time_to_live(INTERVAL);
        Self { reading: reading.build() }
    }

    /// Has the channel keep everything behind an offset, if it can.
    pub(super) async fn recall(
        &self,
        store: &Store,
        channel: &Channel,
        log: LogId,
        after: u64,
    ) -> Result<(), store::Error> {
        for _ in 0..ATTEMPTS_MAX {
            let Some(gap) = channel.gap(after) else { return Ok(()) };
            let read = read(store, channel, log, gap);
            let read = self.reading.try_get_with((log, gap.before), read).await;
            read.map_err(|error: Arc<store::Error>| store::Error::clone(&error))?;
        }
        Ok(())
    }
}

async fn read(store: &Store, channel: &Channel, log: LogId, gap: Gap) -> Result<(), store::Error> {
    // A feed has nobody else who might want more of it.
    let more = if channel.room().is_some() { MORE } else { 0 };
    let wanted = (gap.missing + more).min(gap.room);
    let (mut publications, mut before) = (Vec::new(), gap.before);
    for _ in 0..PAGES_MAX {
        let left = wanted.saturating_sub(publications.len() as u64);
        if left == 0 {
            break;
        }
        let limit = usize::try_from(left).unwrap_or(usize::MAX);
        let page = store.page(log, Range::Before(before), limit).await?;
        let Some(oldest) = page.last() else { break };
        before = oldest.offset;
        publications.extend(page.iter().map(store::Event::publication));
    }
    channel.recall(gap, publications);
    Ok(())
}
