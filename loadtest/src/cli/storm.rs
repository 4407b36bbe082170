//! `loadtest storm`: everybody goes at once and comes back.

use std::time::Duration;

use anyhow::Result;

use super::count;
use super::held::{Held, ONE};
use crate::load::crew::Hire;
use crate::load::scenario::Moment;
use crate::load::scenario::storm::{By, Storm as Scenario};
use crate::load::target::Target;

#[derive(Debug, clap::Args)]
pub(super) struct Storm {
    /// Connections.
    #[arg(long, default_value_t = 15_000, value_parser = count(1, 200_000))]
    connections: u64,
    /// Seconds within which everybody comes back.
    #[arg(long, default_value_t = 10, value_parser = count(1, 300))]
    within: u64,
    /// How everybody goes.
    #[arg(long, value_enum, default_value = "cut")]
    by: By,
    #[command(flatten)]
    held: Held,
}

impl Storm {
    /// Whether nothing was wrong.
    pub(super) async fn run(self: Box<Self>) -> Result<bool> {
        let within = Duration::from_secs(self.within);
        let gathering = self.held.gathering(self.connections, Scenario::length(within))?;
        let mut held = self.held.clone();
        if self.by == By::Drain {
            // Everybody is told at once: what is spread is the return.
            held.target.set_first("SHUTDOWN_SPREAD_MS", "0");
        }
        let storm = Scenario { gathering, by: self.by, within, hire: Hire::own()? };
        let run = async |target: &Target, tell: &mut (dyn FnMut(&Moment) + Send)| {
            storm.run(target, tell).await
        };
        Box::pin(held.measured("storm", ONE, &gathering, run)).await
    }
}
