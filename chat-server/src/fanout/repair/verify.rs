//! Feeds that began on the word of their readers are compared with the store, many together.

use std::sync::Arc;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::super::words::Words;
use super::{Alarm, report};
use crate::channel::{Channel, ChannelName, Hub, Place, Verdict};
use crate::store::{self, Query, Store};

/// The task that compares.
#[derive(Debug)]
pub(super) struct Verify {
    pub(super) hub: Arc<Hub>,
    pub(super) store: Arc<Store>,
    pub(super) words: Arc<Words>,
    /// Who reads what is missing.
    pub(super) alarm: Alarm,
}

impl Verify {
    /// Compares until `stop`; `begin_again` is called with everybody who was mistaken.
    pub(super) async fn run(self, stop: CancellationToken, begin_again: impl Fn(Arc<str>)) {
        let mut last = Instant::now();
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                () = self.words.due(last) => {}
            }
            last = Instant::now();
            match self.compare().await {
                Ok(mistaken) => mistaken.into_iter().for_each(&begin_again),
                Err(error) => report(&error),
            }
        }
    }

    /// The users who were mistaken.
    async fn compare(&self) -> Result<Vec<Arc<str>>, store::Error> {
        let given = self.words.take();
        let logs: Vec<_> = given.iter().filter_map(|channel| channel.log()).collect();
        let heads = match self.store.heads(Query::Head, &logs).await {
            Ok(heads) => heads,
            Err(error) => {
                self.words.put_back(given);
                return Err(error);
            }
        };
        let mut mistaken = Vec::new();
        for ((channel, log), head) in given.into_iter().zip(logs).zip(heads) {
            match channel.verify(&head) {
                Verdict::Right => {}
                Verdict::More(upto) => self.alarm.behind(channel, upto),
                Verdict::Wrong => {
                    tracing::debug!(channel = %channel.name(), ?head, "a reader is mistaken");
                    self.words.doubt(log).await;
                    self.hub.end(&channel);
                    mistaken.extend(reader(&channel));
                }
            }
        }
        Ok(mistaken)
    }
}

/// Whose feed it is; nothing else begins on a word.
fn reader(channel: &Channel) -> Option<Arc<str>> {
    match ChannelName::parse(channel.name()).ok()?.place() {
        Place::User(user) => Some(user.into()),
        _ => None,
    }
}
