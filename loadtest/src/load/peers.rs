//! The servers of others, for a comparison.
//!
//! ```text
//! nchan, nats, bun, ws   how each is started as its makers recommend for speed
//! found                  one that is there: its version, its programs
//! running                one that runs: its address, its processes, its end
//! raw                    the least that a server can do: the floor under all of them
//! ```
//!
//! All do the same thing: whoever publishes in a room is a member of it, and hears itself. Each runs
//! on a free port of loopback from a folder of its own that goes with it. Nothing is installed here:
//! `ops/dev/peers.sh` does that, and a peer that is absent leaves a blank in the comparison.

mod bun;
mod found;
mod nats;
mod nchan;
pub mod raw;
mod running;
mod ws;

use serde::{Deserialize, Serialize};

pub use self::found::Found;
pub use self::running::{Running, Start};

/// A server of others.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, clap::ValueEnum,
)]
#[serde(rename_all = "lowercase")]
pub enum Peer {
    /// Bun's own WebSocket server and its publish.
    Bun,
    /// nats-server, over WebSocket.
    Nats,
    /// nginx with the module nchan.
    Nchan,
    /// Node with the package `ws`.
    Ws,
}

impl Peer {
    /// All of them, in the order of the tables.
    pub const ALL: [Self; 4] = [Self::Bun, Self::Nats, Self::Nchan, Self::Ws];

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Bun => "Bun",
            Self::Nats => "nats-server",
            Self::Nchan => "nchan",
            Self::Ws => "Node ws",
        }
    }
}
