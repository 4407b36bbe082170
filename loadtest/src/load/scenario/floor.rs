//! The raw loop by itself: what a delivery costs when nothing is done but `send`.
//!
//! The unit in which the cost of every server is told. It is measured with the same number of
//! connections, the same size of messages and the same clients as the server beside it, in the same
//! run: on another machine, or a minute later, it is another unit.

use std::time::Duration;

use anyhow::Result;

use crate::load::crew;
use crate::load::peers::raw;
use crate::load::plan::{Entry, Load, Plan};
use crate::load::scenario::Outcome;

/// Longest wait for what is still under way when the window has closed.
const DRAIN: Duration = Duration::from_secs(5);

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Options {
    /// Rooms.
    pub rooms: usize,
    /// Connections in each.
    pub members: usize,
    /// What is published.
    pub load: Load,
    /// Frames written with a call.
    pub frames: u32,
    /// Bytes of a message.
    pub size: usize,
    /// Processes that make the load.
    pub workers: usize,
    /// Load before the window.
    pub warm: Duration,
    /// The window.
    pub measure: Duration,
}

/// Measures it.
///
/// # Errors
/// When it does not start, or the load cannot be made.
pub async fn run(options: &Options) -> Result<Outcome> {
    let Options { rooms, members, load, frames, size, workers, warm, measure } = *options;
    let floor = raw::start(frames).await?;
    let plan = Plan {
        doors: vec![floor.address],
        speech: floor.speech.clone(),
        tls: None,
        channels: (0..rooms).map(|room| format!("r{room}")).collect(),
        members,
        size,
        workers,
        entry: Entry::default(),
        load,
        warm,
        measure,
        drain: DRAIN,
        storm: None,
    };
    let mut outcome = crew::measure(plan, floor.pids()?).await?;
    "floor".clone_into(&mut outcome.scenario);
    outcome.target = format!("raw send, {frames} a call");
    // It is its own unit.
    outcome.floor = Some(outcome.cpu_per_delivery());
    Ok(outcome)
}
