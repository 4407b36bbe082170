//! The outcomes of a report in order: what was asked, of whom, and each turn of that.
//!
//! Turns of different targets take turns in time; here those of one target are together, under the
//! load they had. Only outcomes under one load are compared with each other.

use super::{Report, asked};
use crate::load::scenario::Outcome;

/// What was asked, and of whom.
#[derive(Debug)]
pub(super) struct Load<'a> {
    /// The scenario and what was asked, as a line.
    pub(super) title: String,
    /// In the order of measuring.
    pub(super) targets: Vec<Turns<'a>>,
}

/// The turns of one target under one load.
#[derive(Debug)]
pub(super) struct Turns<'a> {
    pub(super) target: &'a str,
    /// At least one.
    pub(super) outcomes: Vec<&'a Outcome>,
}

impl Report {
    /// All outcomes in order.
    pub(super) fn by_load(&self) -> Vec<Load<'_>> {
        let mut loads: Vec<Load<'_>> = Vec::new();
        for outcome in &self.outcomes {
            let title = format!("{}: {}", outcome.scenario, asked(outcome));
            let place = loads.iter().position(|load| load.title == title);
            let place = place.unwrap_or_else(|| {
                loads.push(Load { title, targets: Vec::new() });
                loads.len() - 1
            });
            loads[place].add(outcome);
        }
        loads
    }
}

impl<'a> Load<'a> {
    fn add(&mut self, outcome: &'a Outcome) {
        let target = outcome.target.as_str();
        match self.targets.iter_mut().find(|turns| turns.target == target) {
            Some(turns) => turns.outcomes.push(outcome),
            None => self.targets.push(Turns { target, outcomes: vec![outcome] }),
        }
    }
}
