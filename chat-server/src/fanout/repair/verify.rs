//! Feeds that began on the word of their readers are compared with the store, many together.

use std::sync::Arc;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::super::words::Words;
use super::{Alarm, report};
use crate::channel::{Hub, Verdict};
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
    /// Compares until `stop`; `begin_again` is called when somebody was mistaken.
    pub(super) async fn run(self, stop: CancellationToken, begin_again: impl Fn()) {
        let mut last = Instant::now();
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                () = self.words.due(last) => {}
            }
            last = Instant::now();
            match self.compare().await {
                Ok(0) => {}
                Ok(_mistaken) => begin_again(),
                Err(error) => report(&error),
            }
        }
    }

    /// How many were mistaken.
    async fn compare(&self) -> Result<usize, store::Error> {
        let given = self.words.take();
        let logs: Vec<_> = given.iter().filter_map(|channel| channel.log()).collect();
        let heads = match self.store.heads(Query::Head, &logs).await {
            Ok(heads) => heads,
            Err(error) => {
                self.words.put_back(given);
                return Err(error);
            }
        };
        let mut mistaken = 0;
        for ((channel, log), head) in given.into_iter().zip(logs).zip(heads) {
            match channel.verify(&head) {
                Verdict::Right => {}
                Verdict::More(upto) => self.alarm.behind(channel, upto),
                Verdict::Wrong => {
                    tracing::debug!(channel = %channel.name(), ?head, "a reader is mistaken");
                    self.words.doubt(log).await;
                    self.hub.end(&channel);
                    mistaken += 1;
                }
            }
        }
        Ok(mistaken)
    }
}
