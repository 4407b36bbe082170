//! The figures of an outcome that are told: one list, for the terminal, documents and programs.
//!
//! The names of the fields are the names in JSON and do not change; the unit stands last. What was
//! not measured is absent.

use serde::Serialize;

use crate::load::scenario::Outcome;
use crate::load::times::Times;

/// One figure of a summary; absent where it was not measured.
pub type Figure = fn(&Summary) -> Option<f64>;

/// What a run of one target comes to.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Summary {
    /// Deliveries received, of the measuring window.
    pub deliveries_per_second: f64,
    /// Messages sent.
    pub messages_per_second: f64,
    /// From when a message was due until it was received.
    pub latency: Option<Percentiles>,
    /// From when it was due until the server acknowledged it.
    pub acknowledged: Option<Percentiles>,
    /// From when it was due until it was sent: the generator's own part.
    pub sent_late: Option<Percentiles>,
    /// From the first packet until the client was in its room.
    pub entry: Option<Percentiles>,
    /// The same of those that came back.
    pub comeback: Option<Percentiles>,
    /// Deliveries that were due and never came, in the whole run;
    pub lost_count: u64,
    /// that came twice,
    pub doubled_count: u64,
    /// that came behind a later one,
    pub out_of_order_count: u64,
    /// that had another offset than the next.
    pub misplaced_count: u64,
    /// Connections that were in their rooms.
    pub connected_count: u64,
    /// CPU time of the servers for one delivery,
    pub server_cpu_per_delivery_us: Option<f64>,
    /// and of the workers.
    pub workers_cpu_per_delivery_us: Option<f64>,
    /// What the servers' would be if they did nothing but send.
    pub floor_cpu_per_delivery_us: Option<f64>,
    /// The one divided by the other.
    pub floor_ratio: Option<f64>,
    /// Cores that the servers kept busy.
    pub server_cores: f64,
    /// Cores that the workers kept busy.
    pub workers_cores: f64,
    /// Deliveries that one read of a client got: how far the server put them together.
    pub deliveries_per_read: Option<f64>,
    /// Memory of the servers without a connection,
    pub server_before_bytes: u64,
    /// with all of them idle,
    pub server_idle_bytes: u64,
    /// and at the end.
    pub server_after_bytes: u64,
    /// What each connection added.
    pub server_per_connection_bytes: Option<f64>,
    /// Cores that stores and buses kept busy.
    pub services_cores: Option<f64>,
    /// What the kernel held for TCP with all of them idle: of the whole machine.
    pub kernel_tcp_idle_bytes: u64,
    /// The part of the machine that was neither the run's nor idle.
    pub taken_by_others_share: f64,
}

/// Where times lie, in milliseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Percentiles {
    /// How many there are.
    pub count: u64,
    /// Half is below.
    pub p50_ms: f64,
    /// Of ten, nine.
    pub p90_ms: f64,
    /// Of a hundred, 99.
    pub p99_ms: f64,
    /// Of a thousand, 999.
    pub p999_ms: f64,
    /// The longest.
    pub max_ms: f64,
}

impl Summary {
    /// What an outcome comes to.
    #[must_use]
    pub fn of(outcome: &Outcome) -> Self {
        let tally = &outcome.tally;
        let (window, received) = (&tally.window, &tally.received);
        let delivered = window.delivered > 0;
        let micros = |seconds: f64| delivered.then_some(seconds * 1e6);
        // What nobody watched has no processes.
        let watched = outcome.server.processes > 0;
        let cores = |seconds: f64| seconds / outcome.window_seconds.max(f64::MIN_POSITIVE);
        let grown = watched && outcome.server.rss_idle > outcome.server.rss_before;
        let bytes = outcome.bytes_per_connection();
        Self {
            deliveries_per_second: outcome.deliveries_per_second(),
            messages_per_second: outcome.messages_per_second(),
            latency: Percentiles::of(&tally.latency),
            acknowledged: Percentiles::of(&tally.acknowledged),
            sent_late: Percentiles::of(&tally.lateness),
            entry: Percentiles::of(&tally.entry),
            comeback: Percentiles::of(&tally.comeback),
            lost_count: tally.lost(),
            doubled_count: received.doubled,
            out_of_order_count: received.swapped,
            misplaced_count: received.misplaced,
            connected_count: tally.connections.entered,
            server_cpu_per_delivery_us: micros(outcome.cpu_per_delivery()).filter(|_| watched),
            workers_cpu_per_delivery_us: micros(outcome.own_cpu_per_delivery()),
            floor_cpu_per_delivery_us: outcome.floor.map(|seconds| seconds * 1e6),
            floor_ratio: outcome.times_floor().filter(|_| watched && delivered),
            server_cores: cores(outcome.server.cpu_seconds),
            workers_cores: cores(outcome.workers.cpu_seconds),
            deliveries_per_read: (delivered && window.reads > 0)
                .then(|| window.delivered as f64 / window.reads as f64),
            server_before_bytes: outcome.server.rss_before,
            server_idle_bytes: outcome.server.rss_idle,
            server_after_bytes: outcome.server.rss_after,
            server_per_connection_bytes: (grown && tally.connections.entered > 0).then_some(bytes),
            services_cores: (outcome.services.processes > 0)
                .then(|| cores(outcome.services.cpu_seconds)),
            kernel_tcp_idle_bytes: outcome.tcp_bytes_idle,
            taken_by_others_share: outcome.taken_by_others,
        }
    }
}

impl Percentiles {
    /// Of times, if there are any.
    #[must_use]
    pub fn of(times: &Times) -> Option<Self> {
        let ms = |quantile| times.at(quantile).as_secs_f64() * 1e3;
        (times.count() > 0).then(|| Self {
            count: times.count(),
            p50_ms: ms(0.5),
            p90_ms: ms(0.9),
            p99_ms: ms(0.99),
            p999_ms: ms(0.999),
            max_ms: times.max().as_secs_f64() * 1e3,
        })
    }
}

/// The one in the middle of several turns; of an even number, what lies between the two.
#[must_use]
pub fn middle(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let (low, high) = (values.len().checked_sub(1)? / 2, values.len() / 2);
    Some(f64::midpoint(*values.get(low)?, *values.get(high)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_measured_is_absent() {
        let summary = Summary::of(&Outcome::default());
        assert_eq!(summary.latency, None);
        assert_eq!(summary.server_cpu_per_delivery_us, None);
        assert_eq!(summary.floor_ratio, None);
        assert_eq!(summary.server_per_connection_bytes, None);
    }

    #[test]
    fn of_several_turns_the_one_in_the_middle_counts() {
        assert_eq!(middle(vec![5.0, 1.0, 3.0]), Some(3.0));
        assert_eq!(middle(vec![5.0, 1.0]), Some(3.0));
        assert_eq!(middle(Vec::new()), None);
    }
}
