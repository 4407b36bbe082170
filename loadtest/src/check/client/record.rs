//! What a client has to say, and what it wrote down.

use std::time::Duration;

use uuid::Uuid;

use super::place::{Kind, Place};
use crate::check::{Name, plain, rooms};

/// One message to be said.
#[derive(Debug, Clone)]
pub struct Line {
    /// Where, as a number of the client's channels.
    pub place: usize,
    /// When, since the start of the run.
    pub due: Duration,
    /// Its key, made up once in a room.
    pub idem: Uuid,
    /// When it was said first, and to which node.
    pub begun: Option<(Duration, usize)>,
}

/// Something that must not happen, as one client met it.
#[derive(Debug, Clone)]
pub struct Odd {
    /// Who met it.
    pub client: Name,
    /// Where, if in a channel.
    pub channel: Option<Name>,
    /// When, since the start of the run.
    pub at: Duration,
    /// What.
    pub what: String,
}

/// All that a client wrote down.
#[derive(Debug, Default)]
pub struct Record {
    /// Who it is.
    pub client: Name,
    /// What it had to say.
    pub lines: Vec<Line>,
    /// What was acknowledged in rooms,
    pub acks: Vec<rooms::Ack>,
    /// and in plain channels.
    pub plain_acks: Vec<plain::Ack>,
    /// What it saw, by channel.
    pub places: Vec<Place>,
    /// What must not happen.
    pub odd: Vec<Odd>,
    /// Commands without an answer in time: when, by which node, which.
    pub unanswered: Vec<(Duration, usize, &'static str)>,
    /// Messages that were never acknowledged.
    pub unsaid: usize,
    /// Connections that were made.
    pub connections: usize,
    /// Subscriptions that the server ended to be made again.
    pub unsubscribed: usize,
    /// Answers that said: this was there already.
    pub duplicates: usize,
}

impl Record {
    /// A record with nothing in it yet.
    #[must_use]
    pub fn new(client: &str, lines: Vec<Line>) -> Self {
        Self { client: client.into(), lines, ..Self::default() }
    }

    /// What it wanted in rooms, as the checker takes it.
    pub fn sent(&self) -> impl Iterator<Item = rooms::Sent> + '_ {
        let lines = self.lines.iter().filter(|line| line.begun.is_some());
        let lines = lines.map(|line| (line, &self.places[line.place]));
        let rooms = lines.filter(|(_, place)| place.kind == Kind::Room);
        rooms.map(|(line, place)| rooms::Sent {
            room: place.channel.clone(),
            client: self.client.clone(),
            idem: line.idem.to_string(),
        })
    }
}

impl std::fmt::Display for Odd {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "at {:.1} s: client {}", self.at.as_secs_f64(), self.client)?;
        if let Some(channel) = &self.channel {
            write!(f, ", channel {channel}")?;
        }
        write!(f, ": {}", self.what)
    }
}
