//! How one speaks to a server: what opens a connection, what enters a room, what a message is.
//!
//! Sans IO: a dialect gets whole WebSocket messages and writes frames into buffers. It owns no
//! socket, no clock and nothing per connection, so that one serves all clients of a worker. Control
//! frames of WebSocket are none of its business: the worker answers pings and counts closes.

pub mod frame;
pub mod nats;
pub mod plain;
pub mod stamp;
pub mod veza;

use std::fmt::Debug;

use serde::{Deserialize, Serialize};

pub use self::stamp::Stamp;

/// Which dialect, and what it has to know: the part of a plan that makes a [`Dialect`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Speech {
    /// Ours: JSON over WebSocket.
    Veza(veza::Settings),
    /// nats-server over WebSocket.
    Nats(nats::Settings),
    /// A server where the URL names the room and whatever is sent goes to everybody in it.
    Plain(plain::Settings),
}

/// A client's place in a measurement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seat<'a> {
    /// Of all seats of the measurement, from 0.
    pub number: u32,
    /// The number of its room, from 0.
    pub room: u32,
    /// Whose it is; several seats may belong to one user.
    pub user: u32,
    /// The name of the room where the server has it.
    pub channel: &'a str,
}

/// Where a client stands in the log of its room.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Position {
    /// The life of the offsets.
    pub epoch: String,
    /// Of the last message it has.
    pub offset: u64,
}

/// One of our messages, seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sighting {
    /// What it says of itself.
    pub stamp: Stamp,
    /// Its place in the log of the room; 0 where the server keeps none.
    pub offset: u64,
}

/// What was in one message of the server. Made once and used again, so that hearing allocates
/// nothing.
#[derive(Debug, Default)]
pub struct Heard {
    /// Frames to send at once, ready for the wire: pongs of the dialect's own.
    pub answer: Vec<u8>,
    /// The seat is in its room from now on, at this position if the server has one.
    pub entered: Option<Position>,
    /// Our messages, in the order in which they came.
    pub sightings: Vec<Sighting>,
    /// Publications that were acknowledged, the oldest first.
    pub accepted: u32,
    /// Publications that were refused.
    pub refused: u32,
    /// Why something was refused: the last such text, already counted.
    pub complaint: Option<String>,
    /// The server does not let the client in, or ends the connection: why.
    pub over: Option<String>,
}

/// A way to speak. One for all clients of a worker.
pub trait Dialect: Debug + Send + Sync {
    /// Writes the HTTP request that opens a WebSocket.
    fn request(&self, host: &str, seat: &Seat<'_>, out: &mut Vec<u8>);

    /// Writes what is sent first, as frames; `since` is where a client that returns stood. Where
    /// nothing is written, the client is in its room as soon as the server has answered 101.
    fn greet(&self, seat: &Seat<'_>, since: Option<&Position>, out: &mut Vec<u8>);

    /// Reads one whole message of the server, text or binary, and adds what is in it to `heard`.
    fn hear(&self, message: &[u8], heard: &mut Heard);

    /// Writes the frame that publishes a message of `size` bytes in the room of `seat`.
    fn publish(&self, seat: &Seat<'_>, stamp: Stamp, size: usize, out: &mut Vec<u8>);

    /// Whether each publication is answered, by [`Heard::accepted`] or [`Heard::refused`].
    fn acknowledges(&self) -> bool;
}

impl Heard {
    /// Nothing was heard; the memory stays.
    pub fn clear(&mut self) {
        self.answer.clear();
        self.sightings.clear();
        (self.entered, self.complaint, self.over) = (None, None, None);
        (self.accepted, self.refused) = (0, 0);
    }
}

impl Speech {
    /// The dialect.
    #[must_use]
    pub fn dialect(&self) -> Box<dyn Dialect> {
        match self {
            Self::Veza(settings) => Box::new(veza::Veza::new(settings)),
            Self::Nats(settings) => Box::new(nats::Nats::new(settings)),
            Self::Plain(settings) => Box::new(plain::Plain::new(settings)),
        }
    }
}
