//! As much as goes: a few messages are under way at any time, and each that has come to everybody
//! makes place for the next.
//!
//! The closed load. It says what a server can take, and what a delivery costs when many are put
//! into one write; its latency is that of a queue which is always full, and no more.

use anyhow::{Result, ensure};

use super::fanout::note_own_share;
use super::gathering::Gathering;
use super::{Moment, Outcome};
use crate::load::plan::Load;
use crate::load::target::Target;

/// The scenario.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Saturate {
    /// Who meets where, and how many messages are under way.
    pub gathering: Gathering,
}

impl Saturate {
    /// Carries it out.
    ///
    /// # Errors
    /// When it cannot be carried out.
    pub async fn run(
        self,
        target: &Target,
        tell: &mut (dyn FnMut(&Moment) + Send),
    ) -> Result<Outcome> {
        let closed = matches!(self.gathering.load, Load::Window(_) | Load::Turns(_));
        ensure!(closed, "a closed load has a number of messages under way");
        let mut outcome = self.gathering.measure(target, tell).await?;
        "saturate".clone_into(&mut outcome.scenario);
        note_own_share(&mut outcome);
        Ok(outcome)
    }
}
