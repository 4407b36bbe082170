//! What other nodes say, on its way to channels and sessions.
//!
//! Called by the task that listens, one message after the other: nothing here waits.

use std::sync::Arc;

use crate::command::Services;
use crate::fanout::bus::{Message, Receiver, Topic};

/// Where messages of other nodes go.
#[derive(Debug)]
pub(super) struct Incoming {
    services: Arc<Services>,
}

impl Incoming {
    pub(super) fn new(services: &Arc<Services>) -> Self {
        Self { services: services.clone() }
    }

    fn of_channel(&self, name: &str, message: Message) {
        match message {
            Message::Event(event) => self.services.fanout.receive(name, event),
            Message::Ephemeral { class, publication } => {
                if let Some(channel) = self.services.hub.find_by_text(name) {
                    channel.ephemeral(&publication, class);
                }
            }
            Message::Order(order) => {
                self.services.registry.obey(&order);
            }
            other => tracing::debug!(?other, "means nothing in a channel"),
        }
    }
}

impl Receiver for Incoming {
    fn receive(&self, topic: Topic<'_>, message: Message) {
        match topic {
            Topic::Channel(name) => self.of_channel(name, message),
            Topic::Node(_) | Topic::Everyone => {
                tracing::debug!(?message, "means nothing to a node");
            }
        }
    }

    fn resumed(&self) {
        self.services.fanout.compare_soon();
    }
}
