//! Channels with a log: the store is asked for what they miss.

use std::sync::Arc;

use tokio::time::Instant;

use super::{Fetched, Found, Origin, PAGE};
use crate::channel::{Arrival, Channel, Hub};
use crate::protocol::Position;
use crate::store::{self, Query, Range, State, Store};

/// Heads asked for at once.
const HEADS_MAX: usize = 4096;

/// The store.
#[derive(Debug)]
pub(in super::super) struct Logs(pub(super) Arc<Store>);

impl Origin for Logs {
    type Error = store::Error;

    fn is_up(&self) -> bool {
        self.0.state() == State::Up
    }

    async fn compare(&self, hub: &Hub) -> Result<Found, store::Error> {
        let began = Instant::now();
        let over = Found { is_over: true, ..Found::default() };
        if hub.begin_log_epoch(&self.0.epoch().await?.into()) {
            tracing::warn!("the offsets of all logs have a new life");
            return Ok(over);
        }
        let mut found = Found::default();
        let mut channels = hub.logs();
        // A reader's word says nothing about the store.
        channels.retain(|channel| !channel.is_on_word());
        for channels in channels.chunks(HEADS_MAX) {
            // Before the store is asked: what it says is not older than this.
            let tops: Vec<Position> = channels.iter().map(|channel| channel.top()).collect();
            let logs: Vec<_> = channels.iter().filter_map(|channel| channel.log()).collect();
            let heads = self.0.heads(Query::Compare, &logs).await?;
            for ((channel, top), head) in channels.iter().zip(tops).zip(heads) {
                channel.revise(head.revision);
                if head.offset < top.offset {
                    tracing::error!(
                        channel = %channel.name(), top = top.offset, head = head.offset,
                        "the database lost what was acknowledged: its offsets get a new life"
                    );
                    self.0.begin_epoch().await?;
                    let began = hub.begin_log_epoch(&self.0.epoch().await?.into());
                    return Ok(if began { over } else { found });
                }
                if head.offset > channel.top().offset {
                    found.behind.push((channel.clone(), head.offset));
                }
            }
        }
        hub.compared(began);
        Ok(found)
    }

    async fn fetch(&self, channel: &Channel, upto: u64) -> Result<Fetched, store::Error> {
        let Some(log) = channel.log() else { return Ok(Fetched::All) };
        let mut last = channel.top().offset;
        if last >= upto {
            return Ok(Fetched::All);
        }
        while last < upto {
            let events = self.0.page(log, Range::After(last), PAGE).await?;
            let Some(newest) = events.last() else { break };
            last = newest.offset;
            tracing::debug!(channel = %channel.name(), events = events.len(), "repaired");
            for event in events {
                let (epoch, publication) = (channel.epoch(), event.publication());
                channel.deliver(Arrival { epoch, publication, amends: Vec::new() }, None);
            }
        }
        // Changes to what is kept may have come with events that were missed.
        channel.forget();
        Ok(Fetched::All)
    }
}
