//! Channels without a log: published in this process alone, or in Redis for all nodes.
//!
//! ```text
//! no Redis:              Channel::publish gives the offset
//! Redis, no history:     Channel::publish here, the bus to the others; neither waits for the other
//! Redis, history kept:   one script gives the offset, keeps and says it -> Channel::deliver
//! ```
//! A publication whose answer was lost may have been kept: it comes like one of another node.

use std::sync::Arc;

use chassis::delivery::Class;
use tokio::time::Instant;

use super::Fanout;
use super::bus::{Bus, Message, Topic};
use crate::channel::{Arrival, Channel, ChannelName, Full, Options, Source};
use crate::nodes::Unavailable;
use crate::nodes::log::Place;
use crate::protocol::{Position, Publication};

/// Why nothing was published in a channel without a log.
#[derive(Debug, Clone, thiserror::Error)]
pub enum PublishError {
    /// There are too many channels.
    #[error(transparent)]
    Full(#[from] Full),
    /// What is kept of it cannot be reached; it may have been published all the same.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

impl Fanout {
    /// Puts a publication before everyone in a channel without a log, on every node.
    ///
    /// # Errors
    /// There are too many channels, or Redis does not take it.
    pub async fn publish_plain(
        &self,
        name: &ChannelName,
        options: &Arc<Options>,
        mut publication: Publication,
        accepted: Instant,
    ) -> Result<Position, PublishError> {
        let is_shared = self.hub.source(name, options) == Source::Shared;
        let Some(log) = self.shared.as_ref().filter(|_| is_shared) else {
            return Ok(self.publish_here(name, options, publication, accepted)?);
        };
        let channel = self.hub.find(name).filter(|channel| channel.is_based());
        let known = channel.map(|channel| channel.claim());
        let place = Place { channel: name.shared(), options, known: known.as_ref() };
        let appended = Box::pin(log.append(place, &publication)).await;
        let position = appended.inspect_err(|_unavailable| {
            // It may be there.
            self.compare_shared_soon();
        })?;
        publication.offset = position.offset;
        let epoch = position.epoch.clone();
        let arrival = Arrival { epoch, publication, amends: Vec::new() };
        self.deliver(name.shared(), arrival, Some(accepted));
        Ok(position)
    }

    fn publish_here(
        &self,
        name: &ChannelName,
        options: &Arc<Options>,
        publication: Publication,
        accepted: Instant,
    ) -> Result<Position, Full> {
        if matches!(self.bus, Bus::Local) {
            return Ok(self.hub.channel(name, options)?.publish(publication, Some(accepted)));
        }
        let message = Message::Publication { epoch: "".into(), publication: publication.clone() };
        self.bus.say(Topic::Channel(name.shared()), &message);
        Ok(match self.hub.find(name) {
            Some(channel) => channel.publish(publication, Some(accepted)),
            None => Position::default(),
        })
    }

    /// Puts a publication of another node before everyone who listens here.
    pub fn receive_plain(&self, channel: &str, epoch: Arc<str>, publication: Publication) {
        if publication.offset > 0 {
            let arrival = Arrival { epoch, publication, amends: Vec::new() };
            return self.deliver(channel, arrival, None);
        }
        let Some(channel) = self.hub.find_by_text(channel) else { return };
        // In any other channel it would be one without an offset among those that have one.
        if channel.source() == Source::Memory && channel.options().history_size == 0 {
            channel.publish(publication, None);
        }
    }

    /// Puts before everyone in a channel, on every node, what nobody can ask for later; it is the
    /// first to go where delivery is behind.
    pub fn ephemeral(&self, channel: &str, publication: Publication, class: Class) {
        self.show(channel, &publication, class);
        self.bus.say(Topic::Channel(channel), &Message::Ephemeral { class, publication });
    }

    /// The same for those who listen here, as another node wants it.
    pub fn show(&self, channel: &str, publication: &Publication, class: Class) {
        if !self.hub.delivery().has_room() {
            return;
        }
        if let Some(channel) = self.hub.find_by_text(channel) {
            channel.ephemeral(publication, class);
        }
    }
}

impl<'a> Place<'a> {
    /// A channel that is in use here.
    pub(super) fn of(channel: &'a Channel) -> Self {
        Self { channel: channel.name(), options: channel.options(), known: None }
    }
}
