//! What a worker and its coordinator say to each other: JSON, a line each.
//!
//! A worker is sent its part first. It answers that it is ready when everyone is in their rooms or
//! has failed, is told when to begin, reports at fixed times after that, and is told when it is
//! enough. When nobody holds the other end of its orders any more, it ends.

use serde::{Deserialize, Serialize};

use crate::load::plan::Part;
use crate::load::tally::{Connections, Published, Received, Tally};
use crate::load::times::Times;

/// What the coordinator says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Order {
    /// What there is to do.
    Prepare(Box<Part>),
    /// The load begins at this time of the common clock.
    Begin(u64),
    /// Nothing more is to come: give the tally and end.
    Finish,
}

/// What a worker says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Report {
    /// Connections are being made.
    Entering(Connections),
    /// Everyone is there, or will not come.
    Ready(Connections),
    /// How it stands.
    Sample(Box<Sample>),
    /// The end.
    Done(Box<Tally>),
    /// It cannot go on.
    Failed(String),
}

/// How a worker stands.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Sample {
    /// Which of the run, from 1: all workers take the same ones at the same times.
    pub number: u32,
    /// When, in nanoseconds since the load began.
    pub at: u64,
    /// Whether it still publishes, or has somebody to bring back.
    pub busy: bool,
    /// Connections.
    pub connections: Connections,
    /// Connections that are in their rooms now.
    pub present: u64,
    /// Messages.
    pub published: Published,
    /// Deliveries.
    pub received: Received,
    /// Delays of what came since the last one.
    pub latency: Times,
}

impl Sample {
    /// Adds another worker's of the same number.
    pub fn add(&mut self, other: &Self) {
        self.at = self.at.max(other.at);
        self.busy |= other.busy;
        self.present += other.present;
        self.connections.add(&other.connections);
        self.published.add(&other.published);
        self.received.add(&other.received);
        self.latency.add(&other.latency);
    }
}
