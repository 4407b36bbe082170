//! Channels: their names, what may be done in them, and who is in them.
//!
//! ```text
//! name -> Namespaces (options) -> Hub (registry) -> Channel: position, history, presence, fan-out
//! ```
//! Everything here lives in the memory of one process: what other nodes do comes in through
//! `fanout`. A channel assigns offsets, or puts those that the store or Redis gave in order, and
//! queues its frames under one short lock, so every receiver sees one order; nothing is encoded
//! twice and no socket is touched. Nothing here calls a store, a session or a command.

mod changes;
pub(crate) mod epoch;
mod history;
mod hub;
mod live;
mod moves;
mod name;
mod namespace;
mod order;
mod outlet;
mod seats;
#[cfg(test)]
pub(crate) mod testing;

pub use changes::{Changes, Notes};
pub use history::{History, Page, Since};
pub use hub::{Full, Hub};
pub use live::{CROWD, Channel, Delivered, Gap, Leaving, Recovery, Source, Subscription, Verdict};
pub use moves::{Crowded, HOLD, Known, Mark, Moves, Tell};
pub use name::{ChannelName, InvalidName, NAME_BYTES_MAX, Place};
pub use namespace::{LoadError, Namespaces, Options};
pub use order::Arrival;
pub(crate) use seats::ROSTER_MAX;
pub use seats::Ticket;
