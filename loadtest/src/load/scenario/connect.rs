//! Connections that come in and are idle: how many a second, and what each of them holds.
//!
//! Everyone is authenticated and in one room, as in an application that nobody speaks in. The
//! measuring window says what being there costs, in pings and their answers; memory is what the
//! server holds at its end more than before the first of them came, for what only a handshake needs
//! is given back some seconds after the last one.

use std::time::Duration;

use anyhow::Result;

use super::gathering::Gathering;
use super::{Moment, Outcome};
use crate::load::plan::Load;
use crate::load::target::Target;

/// The scenario.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Connect {
    /// Who comes; what they would say does not matter.
    pub gathering: Gathering,
}

impl Connect {
    /// Carries it out.
    ///
    /// # Errors
    /// When it cannot be carried out.
    pub async fn run(
        self,
        target: &Target,
        tell: &mut (dyn FnMut(&Moment) + Send),
    ) -> Result<Outcome> {
        let gathering = Gathering { load: Load::Nothing, warm: Duration::ZERO, ..self.gathering };
        let mut outcome = gathering.measure(target, tell).await?;
        "connect".clone_into(&mut outcome.scenario);
        // Nothing has happened in the window but pings.
        outcome.server.rss_idle = outcome.server.rss_after;
        let figures = [
            ("rss_per_connection_bytes", outcome.bytes_per_connection()),
            ("tcp_bytes_per_connection", each(outcome.tcp_bytes_idle, &outcome)),
            ("idle_cpu_us_per_connection_second", idle_cost(&outcome) * 1e6),
        ];
        outcome.figures.extend(figures.map(|(name, value)| (name.to_owned(), value)));
        Ok(outcome)
    }
}

fn each(bytes: u64, outcome: &Outcome) -> f64 {
    bytes as f64 / (outcome.tally.connections.entered as f64).max(1.0)
}

/// CPU seconds of the server for each second of each connection.
fn idle_cost(outcome: &Outcome) -> f64 {
    let seconds = outcome.tally.connections.entered as f64 * outcome.window_seconds;
    outcome.server.cpu_seconds / seconds.max(1.0)
}
