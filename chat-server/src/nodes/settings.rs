//! Which Redis the nodes meet on, and how it is used.

use std::time::Duration;

use chassis::redis;

/// Where the nodes of one deployment meet.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Which Redis.
    pub redis: redis::Config,
    /// What every key and topic of this deployment begins with.
    pub prefix: String,
    /// How long what nobody uses is kept, unless its own options say otherwise.
    pub kept: Duration,
    /// The clock of this node, in Unix milliseconds; a test may set it wrong.
    pub clock: fn() -> u64,
}
