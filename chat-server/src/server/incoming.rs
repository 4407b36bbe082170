//! What other nodes say, on its way to channels and sessions.
//!
//! Called by the task that listens, one message after the other: nothing here waits.

use std::sync::Arc;

use crate::command::Services;
use crate::fanout::bus::{Message, Order, Receiver, Topic, What};
use crate::session::registry::Directive;

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
            Message::Order(order) => self.obey(order),
            other => tracing::debug!(?other, "means nothing in a channel"),
        }
    }

    fn obey(&self, Order { user, what }: Order) {
        let directive = match what {
            What::Disconnect(code) => Directive::Disconnect(code),
            What::Unsubscribe(channel, code) => Directive::Unsubscribe(channel, code),
            What::Subscribe(channel) => Directive::Subscribe(channel),
            What::Refresh(expires_at) => Directive::Refresh(expires_at),
            What::Message(data) => Directive::Message(data),
        };
        for session in self.services.registry.of_user(&user) {
            // A full mailbox belongs to a client that is being cut already.
            if session.tell(directive.clone()).is_err() {
                tracing::debug!("a session could not be told");
            }
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
