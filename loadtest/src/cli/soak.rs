//! `loadtest soak`: a steady load for minutes.

use std::time::Duration;

use anyhow::Result;

use super::count;
use super::held::{Held, ONE};
use crate::load::scenario::{Moment, soak};
use crate::load::target::Target;

#[derive(Debug, clap::Args)]
pub(super) struct Soak {
    /// Minutes; fewer than three tell nothing of what grows, which they say.
    #[arg(long, default_value_t = 10, value_parser = count(1, 55))]
    minutes: u64,
    /// Connections.
    #[arg(long, default_value_t = 5_000, value_parser = count(1, 200_000))]
    connections: u64,
    #[command(flatten)]
    held: Held,
}

impl Soak {
    /// Whether nothing was wrong, and nothing grew.
    pub(super) async fn run(self: Box<Self>) -> Result<bool> {
        let length = Duration::from_secs(self.minutes * 60);
        let gathering = self.held.gathering(self.connections, length)?;
        let run = async |target: &Target, tell: &mut (dyn FnMut(&Moment) + Send)| {
            soak::run(target, &gathering, tell).await
        };
        Box::pin(self.held.measured("soak", ONE, &gathering, run)).await
    }
}
