//! Rooms in which somebody speaks at a fixed rate, and everybody hears it: the open load.
//!
//! What comes out is how long a message takes when it does not wait for the one before, and what a
//! delivery costs when nothing forces the server to put several into one write.

use anyhow::{Result, ensure};

use super::gathering::Gathering;
use super::{Moment, Outcome};
use crate::load::plan::Load;
use crate::load::target::Target;

/// A worker that is busy for more than this part of its time measures itself as well.
const BUSY_MAX: f64 = 0.9;

/// The scenario.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Fanout {
    /// Who meets where, and at which rate they speak.
    pub gathering: Gathering,
}

impl Fanout {
    /// Carries it out.
    ///
    /// # Errors
    /// When it cannot be carried out.
    pub async fn run(
        self,
        target: &Target,
        tell: &mut (dyn FnMut(&Moment) + Send),
    ) -> Result<Outcome> {
        ensure!(matches!(self.gathering.load, Load::Rate(_)), "an open load has a rate");
        let mut outcome = self.gathering.measure(target, tell).await?;
        "fanout".clone_into(&mut outcome.scenario);
        note_own_share(&mut outcome);
        Ok(outcome)
    }
}

/// Says so where the generator was the limit.
pub(super) fn note_own_share(outcome: &mut Outcome) {
    let busy = outcome.figures.get("worker_busy_ratio").copied().unwrap_or_default();
    if busy > BUSY_MAX {
        let percent = busy * 100.0;
        outcome.notes.push(format!(
            "Each worker was busy for {percent:.0} % of the time: with more of them, or more \
             cores, the figures could be better."
        ));
    }
}
