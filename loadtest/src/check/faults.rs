//! What is broken during a run, and when: drawn from a seed, carried out on a stage.

mod driver;
mod schedule;

use std::time::Duration;

pub use self::driver::{Driver, Happened};
pub use self::schedule::{Schedule, Step};

/// A kind of fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, clap::ValueEnum)]
pub enum Kind {
    /// A node is killed and started again.
    Kill,
    /// A node stands still for longer than its lease, and goes on.
    Stop,
    /// A node is told to go, and started again.
    Drain,
    /// Redis is killed and comes back empty.
    RedisRestart,
    /// Redis forgets everything and goes on.
    RedisFlush,
    /// Redis stands still and goes on.
    RedisPause,
    /// PostgreSQL is killed and started again.
    Postgres,
    /// Connections of clients are cut in the middle of frames.
    Cut,
    /// One node and Redis do not hear each other.
    Partition,
    /// The wall clock of one node jumps.
    Clock,
    /// Redis is away for long, and comes back empty.
    RedisAway,
    /// One master of a cluster is killed and comes back empty.
    Master,
}

/// What a fault is done to: one thing is done to it at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// The process of a node.
    Node(usize),
    /// Its way to Redis.
    Wire(usize),
    /// Its clock.
    Clock,
    /// The ways of clients.
    Doors,
    /// Redis.
    Redis,
    /// PostgreSQL.
    Postgres,
}

impl Kind {
    /// The schedule of the full check.
    pub const ALL: [Self; 10] = [
        Self::Kill,
        Self::Stop,
        Self::Drain,
        Self::RedisRestart,
        Self::RedisFlush,
        Self::RedisPause,
        Self::Postgres,
        Self::Cut,
        Self::Partition,
        Self::Clock,
    ];

    /// What it is done to.
    #[must_use]
    pub const fn target(self, node: usize) -> Target {
        match self {
            Self::Kill | Self::Stop | Self::Drain => Target::Node(node),
            Self::Partition => Target::Wire(node),
            Self::Clock => Target::Clock,
            Self::Cut => Target::Doors,
            Self::RedisRestart
            | Self::RedisFlush
            | Self::RedisPause
            | Self::RedisAway
            | Self::Master => Target::Redis,
            Self::Postgres => Target::Postgres,
        }
    }

    /// How long it lasts, at least and at most, in milliseconds.
    const fn lasts(self, away: Duration) -> (u64, u64) {
        match self {
            Self::Kill | Self::Postgres => (1_000, 5_000),
            // Longer than a lease of five seconds.
            Self::Stop => (6_500, 9_000),
            // How long it takes is the node's affair; nothing is between its end and its start.
            Self::Drain | Self::RedisFlush => (0, 100),
            Self::RedisRestart => (500, 3_000),
            Self::RedisPause => (8_000, 8_500),
            Self::Cut => (3_000, 6_000),
            Self::Partition => (10_000, 10_500),
            Self::Clock => (4_000, 6_000),
            Self::RedisAway => {
                let away = away.as_secs() * 1_000;
                (away, away + 1)
            }
            Self::Master => (5_000, 8_000),
        }
    }

    /// Whether Redis loses what it has.
    #[must_use]
    pub const fn loses(self) -> bool {
        matches!(self, Self::RedisRestart | Self::RedisFlush | Self::RedisAway | Self::Master)
    }
}
