//! Channels whose offsets come from Redis: it is asked for what they miss.
//!
//! What Redis keeps can be gone: it was flushed, came back empty or with less than it had, or
//! nobody asked for a channel until its position was forgotten. Then another epoch stands there,
//! and the channel's life is over.

use std::sync::Arc;

use futures_util::{StreamExt, stream};

use super::{Fetched, Found, Origin, PAGE};
use crate::channel::{Arrival, Channel, Hub, Since};
use crate::nodes::log::{Age, Extract, Log, Place, Unavailable};

/// Positions asked for at the same time: an eighth of the questions that there may be.
const ASKED_AT_ONCE: usize = 32;

/// Bytes of a page after which it ends: what a pipeline of the bus may carry.
const PAGE_BYTES_MAX: usize = 1024 * 1024;

/// Redis.
#[derive(Debug)]
pub(in super::super) struct Shared(pub(super) Arc<Log>);

impl Origin for Shared {
    type Error = Unavailable;

    fn is_up(&self) -> bool {
        // One server of several may be away: each question finds out for itself.
        true
    }

    async fn compare(&self, hub: &Hub) -> Result<Found, Unavailable> {
        let compared = stream::iter(hub.shared()).map(|channel| async move {
            // Before Redis is asked: what it says is not older than this.
            let claim = channel.claim();
            let place = Place { known: Some(&claim), ..Place::of(&channel) };
            let stands = self.0.stand(place).await;
            (channel, stands)
        });
        let mut compared = compared.buffer_unordered(ASKED_AT_ONCE);
        let mut found = Found::default();
        while let Some((channel, stands)) = compared.next().await {
            let Ok(stands) = stands else {
                found.is_partial = true;
                continue;
            };
            if stands.epoch != channel.epoch() {
                let channel_name = channel.name();
                tracing::warn!(channel = %channel_name, "its offsets have a new life");
                hub.end(&channel);
                found.is_over = true;
            } else if stands.offset > channel.top().offset {
                found.behind.push((channel, stands.offset));
            }
        }
        Ok(found)
    }

    async fn fetch(&self, channel: &Channel, upto: u64) -> Result<Fetched, Unavailable> {
        loop {
            let top = channel.top();
            if top.offset >= upto || channel.is_over() {
                return Ok(Fetched::All);
            }
            let (since, age) = (Since::After(top.offset), Age::Any);
            let extract = Extract { since, limit: PAGE, bytes_max: PAGE_BYTES_MAX, age };
            let page = self.0.page(Place::of(channel), extract).await?;
            let epoch = page.top.epoch;
            for publication in page.publications {
                let epoch = epoch.clone();
                channel.deliver(Arrival { epoch, publication, amends: Vec::new() }, None);
            }
            let now = channel.top().offset;
            if now == top.offset {
                return Ok(Fetched::Lost);
            }
            let publications = now - top.offset;
            tracing::debug!(channel = %channel.name(), publications, "repaired");
        }
    }
}
