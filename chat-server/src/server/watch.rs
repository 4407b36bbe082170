//! What delivery reports.

use std::sync::Arc;

use chassis::delivery::{Delivered, Observer};
use chassis::shutdown::Shutdown;

use crate::metrics::{Metrics, Shed};

/// Delivery's reports become metrics.
pub(super) struct Watch {
    metrics: Arc<Metrics>,
    shutdown: Shutdown,
}

impl Watch {
    /// Counts, and ends the server when it cannot deliver.
    pub(super) fn observer(metrics: &Arc<Metrics>, shutdown: &Shutdown) -> Arc<dyn Observer> {
        Arc::new(Self { metrics: metrics.clone(), shutdown: shutdown.clone() })
    }
}

impl Observer for Watch {
    fn delivered(&self, delivered: Delivered) {
        self.metrics.deliveries_due(delivered.due);
        self.metrics.deliveries_done(delivered.handed);
        if let Some(accepted) = delivered.accepted {
            self.metrics.series.delivery_seconds.record(accepted.elapsed());
        }
    }

    fn caught_up(&self, frames: u64) {
        self.metrics.deliveries_done(frames);
    }

    fn failed(&self) {
        // A server that cannot deliver to some of its clients must not look alive to them.
        tracing::error!("a delivery shard has panicked: the server ends");
        self.shutdown.trigger();
    }

    fn shed(&self, shed: chassis::delivery::Shed) {
        let kind = match shed {
            chassis::delivery::Shed::Typing => Shed::Typing,
            chassis::delivery::Shed::Presence => Shed::Presence,
            chassis::delivery::Shed::Lag => Shed::Lag,
            chassis::delivery::Shed::Closed => Shed::Closed,
        };
        self.metrics.series.shed.of(kind).increment(1);
    }
}
