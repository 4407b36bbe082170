//! Where a client stands in one channel, and how it comes back there.
//!
//! Pure: what is sent and what an answer means, as the official SDKs do it. A [`Stay`] is a stretch
//! without a gap as the server promised it: a recovery goes on with it, a position that could not be
//! recovered begins another.

use serde_json::{Value, json};

use super::wire::{Publication, Subscribed};
use crate::check::plain::Stay;
use crate::check::{Glimpse, Name, print};

/// Whether a channel is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A room, with a log.
    Room,
    /// A channel without one.
    Plain,
}

/// One channel of a client.
#[derive(Debug)]
pub struct Place {
    /// Its name on the wire.
    pub channel: Name,
    /// Of which kind it is.
    pub kind: Kind,
    /// The offset to recover from, in the epoch of the last stay.
    offset: u64,
    /// Everything that was seen; the last one goes on.
    pub stays: Vec<Stay>,
    /// Subscriptions that went on where they had ended.
    pub recoveries: usize,
}

/// The server broke a promise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Broken {
    /// A room always recovers: nothing is removed and its epoch never changes here.
    NotRecovered { epoch: String, offset: u64, now: (String, u64) },
    /// It said that it recovered, in another epoch.
    OtherEpoch { epoch: String, now: String },
    /// The reply names another offset than the last of its publications has.
    PageEnd { offset: u64, last: u64 },
}

impl Place {
    /// One that nobody was in.
    #[must_use]
    pub fn new(channel: Name, kind: Kind) -> Self {
        Self { channel, kind, offset: 0, stays: Vec::new(), recoveries: 0 }
    }

    /// The command that subscribes: anew, or from where the client had left off.
    #[must_use]
    pub fn subscribe(&self) -> Value {
        let mut subscribe = json!({ "channel": &*self.channel });
        if let Some(stay) = self.stays.last() {
            subscribe["recover"] = json!(true);
            subscribe["offset"] = json!(self.offset);
            subscribe["epoch"] = json!(stay.epoch);
        }
        subscribe
    }

    /// Where it stands: epoch and offset.
    #[must_use]
    pub fn position(&self) -> Option<(&str, u64)> {
        self.stays.last().map(|stay| (stay.epoch.as_str(), self.offset))
    }

    /// It is subscribed.
    ///
    /// # Errors
    /// What the reply breaks; the place goes on from it all the same.
    pub fn enter(&mut self, reply: &Subscribed<'_>) -> Result<(), Broken> {
        let now = (reply.epoch.clone(), reply.offset);
        let Some(stay) = self.stays.last() else {
            self.begin(now);
            return Ok(());
        };
        let before = (stay.epoch.clone(), self.offset);
        if !reply.recovered {
            self.begin(now.clone());
            let (epoch, offset) = before;
            return match self.kind {
                Kind::Room => Err(Broken::NotRecovered { epoch, offset, now }),
                Kind::Plain => Ok(()),
            };
        }
        self.recoveries += 1;
        if before.0 != now.0 {
            self.begin(now.clone());
            return Err(Broken::OtherEpoch { epoch: before.0, now: now.0 });
        }
        reply.publications.iter().for_each(|publication| self.see(publication));
        let last = self.offset;
        if last != now.1 {
            return Err(Broken::PageEnd { offset: now.1, last });
        }
        Ok(())
    }

    /// An event came.
    pub fn see(&mut self, publication: &Publication<'_>) {
        let Some(stay) = self.stays.last_mut() else { return };
        self.offset = publication.offset;
        let print = print(publication.data.get());
        stay.seen.push(Glimpse { offset: publication.offset, print });
    }

    fn begin(&mut self, (epoch, offset): (String, u64)) {
        self.stays.push(Stay { epoch, after: offset, seen: Vec::new() });
        self.offset = offset;
    }
}

impl std::fmt::Display for Broken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NotRecovered { epoch, offset, now: (other, to) } => {
                write!(f, "not recovered from {offset} of {epoch}, but put at {to} of {other}")
            }
            Self::OtherEpoch { epoch, now } => {
                write!(f, "recovered in epoch {now} what was of {epoch}")
            }
            Self::PageEnd { offset, last } => {
                write!(f, "the reply says {offset}, its last publication {last}")
            }
        }
    }
}
