//! `loadtest floor`: how many, how often, how much with a call.

use std::time::Duration;

use anyhow::Result;

use super::count;
use crate::load::plan::Load;
use crate::load::report::Output;
use crate::load::scenario::floor::{Options, run};

/// Load before the window.
const WARM: Duration = Duration::from_secs(1);

#[derive(Debug, clap::Args)]
pub(super) struct Floor {
    /// Rooms.
    #[arg(long, default_value_t = 10, value_parser = count(1, 10_000))]
    rooms: u64,
    /// Connections in each.
    #[arg(long, default_value_t = 100, value_parser = count(1, 19_000))]
    members: u64,
    /// Frames written with a call; as many messages are under way in each room, or two over all
    /// rooms when it is one.
    #[arg(long, default_value_t = 1, value_parser = count(1, 256))]
    frames: u64,
    /// Messages a second over all rooms, instead of as many as go.
    #[arg(long, value_parser = count(1, 1_000_000))]
    rate: Option<u64>,
    /// Bytes of a message.
    #[arg(long, default_value_t = 200, value_parser = count(60, 8_000))]
    size: u64,
    /// Processes that make the load.
    #[arg(long, default_value_t = 1, value_parser = count(1, 16))]
    workers: u64,
    /// Seconds that are measured.
    #[arg(long, default_value_t = 5, value_parser = count(1, 600))]
    seconds: u64,
    #[command(flatten)]
    output: Output,
}

impl Floor {
    /// Measures it; false when something was lost.
    pub(super) async fn run(self: Box<Self>) -> Result<bool> {
        let outcome = run(&self.options()?).await?;
        self.output.tell(vec![outcome], Vec::new())
    }

    fn options(&self) -> Result<Options> {
        let frames = u32::try_from(self.frames)?;
        let load = match (self.rate, frames) {
            (Some(rate), _) => Load::Rate(rate as f64),
            (None, 1) => Load::Turns(2),
            (None, frames) => Load::Window(frames),
        };
        Ok(Options {
            rooms: usize::try_from(self.rooms)?,
            members: usize::try_from(self.members)?,
            load,
            frames,
            size: usize::try_from(self.size)?,
            workers: usize::try_from(self.workers)?,
            warm: WARM,
            measure: Duration::from_secs(self.seconds),
        })
    }
}
