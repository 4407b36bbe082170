//! What the nodes of one deployment share in Redis beside the bus: who lives, who is where, what
//! is kept of channels without a log, and what everyone together may do.
//!
//! Redis commands and scripts are written here and in [`crate::fanout::bus`] only. Everything in
//! here is a truth that can be lost: a Redis that was flushed is filled again from what each node
//! knows of its own clients, and while Redis is away each node goes by what it knows itself.
//!
//! Names of keys begin with the prefix of the deployment. What one script touches together shares a
//! hash tag, so that a Redis Cluster keeps it in one place.

mod lease;
pub(crate) mod log;
mod peers;
mod presence;
mod quota;
mod seats;
mod settings;
pub(crate) mod tag;

use std::sync::Arc;
use std::time::Duration;

use chassis::redis::Redis;
use uuid::Uuid;

use lease::Lease;
pub use lease::{BEAT, Cause, Heart, LEASE, Registration};
pub use log::{Log, Unavailable};
pub use peers::{About, Fingerprints, Info, Peer, Peers};
pub use presence::Presence;
pub use quota::ClientRate;
pub use seats::{Seat, Seats, Taken};
pub use settings::Settings;

/// This node among the others; one for the process.
#[derive(Debug)]
pub struct Nodes {
    redis: Redis,
    prefix: String,
    kept: Duration,
    id: Uuid,
    lease: Lease,
}

impl Nodes {
    /// A node that has not told anybody of itself yet.
    #[must_use]
    pub fn new(settings: &Settings, id: Uuid) -> Arc<Self> {
        let Settings { redis, prefix, kept, .. } = settings;
        let (prefix, kept, lease) = (prefix.clone(), *kept, Lease::new(id));
        Arc::new(Self { redis: Redis::new(redis), prefix, kept, id, lease })
    }

    /// Where the nodes meet.
    #[must_use]
    pub fn redis(&self) -> &Redis {
        &self.redis
    }

    /// What every key and topic of this deployment begins with.
    #[must_use]
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// How long what nobody uses is kept, unless its own options say otherwise.
    #[must_use]
    pub fn kept(&self) -> Duration {
        self.kept
    }

    /// This life of this process.
    #[must_use]
    pub fn id(&self) -> Uuid {
        self.id
    }
}
