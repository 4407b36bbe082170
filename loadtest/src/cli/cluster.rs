//! `loadtest cluster`: many connections over several servers.

use std::time::Duration;

use anyhow::Result;

use super::count;
use super::held::{Held, SIX};
use crate::load::scenario::{Moment, cluster};
use crate::load::target::Target;

#[derive(Debug, clap::Args)]
pub(super) struct Cluster {
    /// Connections, over all servers.
    #[arg(long, default_value_t = 100_000, value_parser = count(1, 200_000))]
    connections: u64,
    /// Seconds that it is held; the aim is 600.
    #[arg(long, default_value_t = 60, value_parser = count(1, 3_000))]
    seconds: u64,
    #[command(flatten)]
    held: Held,
}

impl Cluster {
    /// Whether nothing was wrong.
    pub(super) async fn run(self: Box<Self>) -> Result<bool> {
        let gathering = self.held.gathering(self.connections, Duration::from_secs(self.seconds))?;
        let run = async |target: &Target, tell: &mut (dyn FnMut(&Moment) + Send)| {
            Ok((cluster::run(target, &gathering, tell).await?, Vec::new()))
        };
        Box::pin(self.held.measured("cluster", SIX, &gathering, run)).await
    }
}
