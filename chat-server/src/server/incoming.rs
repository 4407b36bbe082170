//! What other nodes say, on its way to channels and sessions.
//!
//! Called by the task that listens, one message after the other: nothing here waits.

use std::sync::Arc;

use uuid::Uuid;

use crate::channel::Channel;
use crate::command::Services;
use crate::fanout::bus::{Message, Receiver, Topic};
use crate::session::remote::Commands;

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
            Message::Publication { epoch, publication } => {
                self.services.fanout.receive_plain(name, epoch, publication);
            }
            Message::Ephemeral { class, publication } => {
                self.services.fanout.show(name, &publication, class);
            }
            Message::Order(order) => {
                self.services.registry.obey(&order);
            }
            Message::Joined(_) | Message::Left(_) | Message::Crowd(_) => {
                if let Some(channel) = self.services.hub.find_by_text(name) {
                    of_presence(&channel, &message);
                }
            }
            // Not what it was: that may be a secret.
            _ => tracing::debug!("a message means nothing in a channel"),
        }
    }

    fn of_this_node(&self, from: Uuid, message: Message) {
        match message {
            Message::Commands { question, session, frame } => {
                self.services.remote.take(from, question, Commands { session, frame });
            }
            Message::Taken { question, outcome } => {
                self.services.remote.heard(from, question, outcome);
            }
            _ => tracing::debug!("a message means nothing to a node"),
        }
    }
}

fn of_presence(channel: &Arc<Channel>, message: &Message) {
    match message {
        Message::Joined(info) => channel.joined_elsewhere(info),
        Message::Left(info) => channel.left_elsewhere(info),
        Message::Crowd(crowd) => {
            channel.counted(usize::try_from(crowd.clients).unwrap_or(usize::MAX));
        }
        _ => {}
    }
}

impl Receiver for Incoming {
    fn receive(&self, from: Uuid, topic: Topic<'_>, message: Message) {
        match topic {
            Topic::Channel(name) => self.of_channel(name, message),
            Topic::Node(_) => self.of_this_node(from, message),
        }
    }

    fn resumed(&self) {
        self.services.fanout.compare_soon();
        self.services.presence.write_again();
    }
}
