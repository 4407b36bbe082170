//! The course of each measurement, and what comes out of it.
//!
//! A scenario decides what is asked of whom, lets the crew do it and gives an [`Outcome`]: plain
//! figures, which the report turns into text, tables and plots. Nothing is printed here.

pub mod cluster;
pub mod compare;
pub mod connect;
pub mod fanout;
pub mod floor;
pub mod gathering;
pub mod rest;
pub mod returns;
pub mod saturate;
pub mod soak;
pub mod storm;
pub mod vitals;

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::tally::Tally;
use super::times::Times;

/// What came out of one measurement. This is what is kept as JSON.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Outcome {
    /// Of the scenario: `fanout`.
    pub scenario: String,
    /// Whose figures they are: `chat-server`, or a peer.
    pub target: String,
    /// What was asked.
    pub asked: Asked,
    /// What was counted and timed.
    pub tally: Tally,
    /// What the target's processes used in the measuring window.
    pub server: Used,
    /// What the workers used in it, the coordinator included.
    pub workers: Used,
    /// What the target's stores and buses used in it.
    #[serde(default)]
    pub services: Used,
    /// The share of the machine, from 0 to 1, that everybody else had in it.
    #[serde(default)]
    pub taken_by_others: f64,
    /// What the kernel held more for TCP sockets when everyone was there and idle than before.
    #[serde(default)]
    pub tcp_bytes_idle: u64,
    /// How the run went, about once a second, from the start of the load.
    pub moments: Vec<Moment>,
    /// When the load began, in seconds since 1970.
    pub began_at: u64,
    /// Length of the measuring window as it was.
    pub window_seconds: f64,
    /// CPU seconds per delivery of the raw loop in the same run, where one was measured.
    pub floor: Option<f64>,
    /// Figures of this scenario alone, by name with the unit last: `handshakes_per_second`.
    pub figures: BTreeMap<String, f64>,
    /// What a reader has to know: sentences.
    pub notes: Vec<String>,
}

/// What was asked of the target.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Asked {
    /// Processes of the target.
    pub servers: usize,
    /// Worker processes.
    pub workers: usize,
    /// Rooms.
    pub rooms: usize,
    /// Connections in each.
    pub members: usize,
    /// Bytes of a message.
    pub size: usize,
    /// Messages a second over all rooms; none when the load is closed or there is none.
    pub rate: Option<f64>,
    /// Messages under way, when the load is closed: `2 a room`, `16 in all`.
    pub window: Option<String>,
    /// Every message is stored before it is acknowledged.
    pub durable: bool,
    /// Over TLS.
    pub tls: bool,
    /// The measuring window.
    pub measure: Duration,
}

/// What processes used.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Used {
    /// Processes.
    pub processes: usize,
    /// On the processor, in the measuring window.
    pub cpu_seconds: f64,
    /// Resident before the first connection.
    pub rss_before: u64,
    /// Resident with everyone there and nothing said yet.
    pub rss_idle: u64,
    /// Resident at the end of the window.
    pub rss_after: u64,
    /// Threads.
    pub threads: u64,
    /// Open files.
    pub files: u64,
}

/// How a run stands.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Moment {
    /// Seconds since the start of the load; below zero while connections are made.
    pub second: f64,
    /// Connections that are in their rooms.
    pub present: u64,
    /// Connections that did not come in, or ended.
    pub gone: u64,
    /// Messages sent since the start.
    pub sent: u64,
    /// Deliveries due since the start.
    pub expected: u64,
    /// Deliveries received since the start.
    pub delivered: u64,
    /// Deliveries that came twice, out of order, or with a wrong offset, since the start.
    pub wrong: u64,
    /// Delays of what came since the last moment.
    pub latency: Times,
}

impl Outcome {
    /// Deliveries a second in the window.
    #[must_use]
    pub fn deliveries_per_second(&self) -> f64 {
        per(self.tally.window.delivered as f64, self.window_seconds)
    }

    /// Messages a second in the window.
    #[must_use]
    pub fn messages_per_second(&self) -> f64 {
        per(self.tally.window.sent as f64, self.window_seconds)
    }

    /// The target's CPU seconds per delivery.
    #[must_use]
    pub fn cpu_per_delivery(&self) -> f64 {
        per(self.server.cpu_seconds, self.tally.window.delivered as f64)
    }

    /// The workers' CPU seconds per delivery.
    #[must_use]
    pub fn own_cpu_per_delivery(&self) -> f64 {
        per(self.workers.cpu_seconds, self.tally.window.delivered as f64)
    }

    /// The target's cost in units of the raw loop's.
    #[must_use]
    pub fn times_floor(&self) -> Option<f64> {
        self.floor.map(|floor| per(self.cpu_per_delivery(), floor))
    }

    /// Resident bytes of the target per idle connection.
    #[must_use]
    pub fn bytes_per_connection(&self) -> f64 {
        let grown = self.server.rss_idle.saturating_sub(self.server.rss_before);
        per(grown as f64, self.tally.connections.entered as f64)
    }
}

/// A quotient; 0 where there is nothing to divide by.
fn per(value: f64, of: f64) -> f64 {
    if of > 0.0 { value / of } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_those_of_the_window_and_survive_being_kept() {
        let mut outcome = Outcome { window_seconds: 2.0, floor: Some(4e-6), ..Outcome::default() };
        assert_eq!((outcome.deliveries_per_second(), outcome.cpu_per_delivery()), (0.0, 0.0));
        outcome.tally.window.delivered = 200_000;
        outcome.tally.received.delivered = 300_000;
        outcome.server.cpu_seconds = 1.0;
        outcome.tally.latency.record(5_000);
        assert!((outcome.deliveries_per_second() - 100_000.0).abs() < 1e-9);
        assert!((outcome.cpu_per_delivery() - 5e-6).abs() < 1e-12);
        assert!((outcome.times_floor().unwrap() - 1.25).abs() < 1e-9);
        let kept = serde_json::to_string(&outcome).unwrap();
        assert_eq!(serde_json::from_str::<Outcome>(&kept).unwrap(), outcome);
    }
}
