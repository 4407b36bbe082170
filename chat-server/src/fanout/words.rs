//! Feeds that begin on the word of their readers, on their way to be compared with the store.
//!
//! Thousands who come back to a node cost one query every few seconds instead of one each. Who
//! comes alone is asked about at once, and told in the reply what they missed; so is for a while
//! whose word was wrong: nobody is sent in circles.

use std::sync::Arc;
use std::time::Duration;

use moka::future::Cache;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use crate::channel::Channel;
use crate::protocol::Position;
use crate::room::LogId;

/// Between two comparisons; what somebody missed in their feed comes that much later at most. 100
/// who come back in a second are 200 in a query.
const INTERVAL: Duration = Duration::from_secs(2);

/// Feeds that wait: more than 1,500 connects a second bring. The store is asked about others at
/// once.
const WORDS_MAX: usize = 10_000;

/// How long nothing is believed after a wrong word.
const DOUBT: Duration = Duration::from_secs(60);

/// Feeds that are doubted.
const DOUBTED_MAX: u64 = 100_000;

/// The feeds that wait, and those that are doubted; shared by those who open channels and the one
/// who repairs them.
#[derive(Debug)]
pub(super) struct Words {
    /// Held to add one or to take all.
    given: Mutex<Vec<Arc<Channel>>>,
    added: Notify,
    /// When the store was asked about somebody who came alone.
    asked: Mutex<Option<Instant>>,
    doubted: Cache<LogId, ()>,
}

impl Words {
    pub(super) fn new() -> Arc<Self> {
        let doubted = Cache::builder().max_capacity(DOUBTED_MAX).time_to_live(DOUBT).build();
        let (given, asked) = (Mutex::default(), Mutex::default());
        Arc::new(Self { given, added: Notify::new(), asked, doubted })
    }

    /// Bases a feed on its reader's word, if it is believed; false when the store must be asked.
    pub(super) fn believe(&self, channel: &Arc<Channel>, log: LogId, word: &Position) -> bool {
        if self.doubted.contains_key(&log) || self.is_alone(Instant::now()) {
            return false;
        }
        let mut given = self.given.lock();
        if given.len() >= WORDS_MAX || !channel.base_on_word(word) {
            return false;
        }
        given.push(channel.clone());
        drop(given);
        self.added.notify_one();
        true
    }

    fn is_alone(&self, now: Instant) -> bool {
        let mut asked = self.asked.lock();
        let alone = asked.is_none_or(|asked| now.saturating_duration_since(asked) >= INTERVAL);
        if alone {
            *asked = Some(now);
        }
        alone
    }

    /// Ends when there is something to compare, and it is time.
    pub(super) async fn due(&self, last: Instant) {
        while self.given.lock().is_empty() {
            self.added.notified().await;
        }
        sleep_until(last + INTERVAL).await;
    }

    pub(super) fn take(&self) -> Vec<Arc<Channel>> {
        std::mem::take(&mut *self.given.lock())
    }

    /// They could not be compared: another time.
    pub(super) fn put_back(&self, channels: Vec<Arc<Channel>>) {
        self.given.lock().extend(channels);
    }

    /// A word was wrong.
    pub(super) async fn doubt(&self, log: LogId) {
        self.doubted.insert(log, ()).await;
    }
}
