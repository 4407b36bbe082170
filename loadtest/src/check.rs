//! Verdicts: whether what was written down during a run is what was promised.
//!
//! Everything in here is pure. [`rooms`] compares with the log, [`plain`] with what everyone else
//! saw within an epoch, [`presence`] with who was there. A verdict is a list of what is wrong, each
//! entry with channel, offset and client, and is empty when nothing is.

pub mod plain;
pub mod presence;
mod print;
pub mod rooms;

pub use self::print::{Glimpse, Name, print};
