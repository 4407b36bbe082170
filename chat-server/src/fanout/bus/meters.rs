//! What a bus counts.

use std::time::Duration;

use metrics::{Counter, Gauge};
use parking_lot::Mutex;
use tokio::time::Instant;

use super::Malformed;

/// Between two lines in the log about messages that no node has said: whoever floods a topic must
/// not flood the log.
const REPORT_INTERVAL: Duration = Duration::from_secs(10);

/// What a bus counts.
#[derive(Debug, Clone)]
pub struct Meters {
    /// Whether nodes hear each other, 1 or 0.
    pub up: Gauge,
    /// Messages given to Redis.
    pub said: Counter,
    /// Messages of other nodes.
    pub heard: Counter,
    /// Messages that could not be given to Redis.
    pub lost: Counter,
    /// Messages on our topics that no node of ours has said.
    pub malformed: Counter,
}

/// Reports what no node has said, once in a while.
#[derive(Debug, Default)]
pub(super) struct Strangers {
    /// A lock, for it is held as long as a comparison takes.
    reported: Mutex<Option<Instant>>,
}

impl Default for Meters {
    fn default() -> Self {
        let (up, count) = (Gauge::noop(), Counter::noop);
        Self { up, said: count(), heard: count(), lost: count(), malformed: count() }
    }
}

impl Strangers {
    /// One more.
    pub(super) fn report(&self, topic: &[u8], error: &Malformed) {
        let mut reported = self.reported.lock();
        if reported.is_some_and(|at| at.elapsed() < REPORT_INTERVAL) {
            return;
        }
        *reported = Some(Instant::now());
        drop(reported);
        let topic = String::from_utf8_lossy(topic);
        tracing::warn!(%topic, %error, "messages on the bus that no node has said are passed over");
    }
}
