//! Who meets where, and what they do: what most scenarios vary.
//!
//! So many rooms with so many connections each, on a target. Channels of a namespace keep nothing
//! and are there when somebody enters; rooms are made first, by the protocol, which is no part of
//! what is measured. Who speaks in a room is a member of it; everyone else reads it, as anybody may
//! read a public one.

use std::time::Duration;

use anyhow::{Context as _, Result};

use super::{Moment, Outcome};
use crate::load::crew::Measurement;
use crate::load::dialect::Speech;
use crate::load::dialect::veza::{Kind, Settings, Veza};
use crate::load::plan::{Entry, Load, Plan, SEATS_PER_USER, Storm, Tls};
use crate::load::target::{EPHEMERAL, RECOVERABLE, Target};

/// What the figures of our own server stand under.
pub const TARGET: &str = "chat-server";

/// Whose messages outlive their delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// Nobody's: a channel of a namespace without a history.
    Nothing,
    /// The last of each channel, in memory, for those who come back.
    Recent,
    /// All: rooms, where a message is stored before it is acknowledged.
    All,
}

/// A gathering.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Gathering {
    /// Rooms.
    pub rooms: usize,
    /// Connections in each.
    pub members: usize,
    /// Bytes of a message.
    pub size: usize,
    /// What is kept of them.
    pub keep: Keep,
    /// What is published.
    pub load: Load,
    /// Worker processes.
    pub workers: usize,
    /// Handshakes that a worker has under way at a time.
    pub at_once: usize,
    /// How long everyone is idle before the load.
    pub settle: Duration,
    /// Load before the measuring window.
    pub warm: Duration,
    /// The measuring window.
    pub measure: Duration,
    /// Longest wait for what is still on its way then.
    pub drain: Duration,
    /// Everyone goes and comes back once.
    pub storm: Option<Storm>,
}

impl Default for Gathering {
    fn default() -> Self {
        Self {
            rooms: 100,
            members: 100,
            size: 200,
            keep: Keep::Nothing,
            load: Load::Nothing,
            workers: 2,
            at_once: Entry::default().at_once,
            settle: Duration::from_secs(1),
            warm: Duration::from_secs(2),
            measure: Duration::from_secs(10),
            drain: Duration::from_secs(5),
            storm: None,
        }
    }
}

impl Gathering {
    /// The plan of it on a target; makes the rooms.
    ///
    /// # Errors
    /// When it cannot be carried out, or the target makes no rooms.
    pub async fn plan(&self, target: &Target) -> Result<Plan> {
        let run = rand::random();
        let mut plan = Plan {
            doors: target.doors.clone(),
            speech: Speech::Veza(Settings {
                secret: target.secret.clone().context("clients need a secret for their tokens")?,
                kind: if self.keep == Keep::All { Kind::Room } else { Kind::Plain },
                run,
            }),
            tls: target.trust.as_ref().map(|trust| {
                let (name, roots) = (trust.name.clone(), trust.file.clone());
                Tls { name, roots }
            }),
            channels: self.channels(run),
            members: self.members,
            size: self.size,
            workers: self.workers,
            entry: Entry { at_once: self.at_once, ..Entry::default() },
            load: self.load,
            warm: self.warm,
            measure: self.measure,
            drain: self.drain,
            storm: self.storm,
        };
        plan.check()?;
        if self.keep == Keep::All {
            let speaker = |room: usize| {
                let seat = u32::try_from(room * self.members);
                Veza::user(seat.expect("a checked plan has fewer seats") / SEATS_PER_USER)
            };
            plan.channels = target.make_rooms((0..self.rooms).map(speaker)).await?;
        }
        Ok(plan)
    }

    /// Measures it on a target.
    ///
    /// # Errors
    /// When it cannot be carried out, or a worker or server is gone.
    pub async fn measure(
        &self,
        target: &Target,
        tell: &mut (dyn FnMut(&Moment) + Send),
    ) -> Result<Outcome> {
        let plan = self.plan(target).await?;
        let processes = target.processes();
        let measurement = Measurement::new(plan, processes.servers, processes.services)?;
        let mut outcome = Measurement { settle: self.settle, ..measurement }.make(tell).await?;
        outcome.target = TARGET.to_owned();
        Ok(outcome)
    }

    /// Names that no other run on the same server has: a history is that of this run alone.
    fn channels(&self, run: u32) -> Vec<String> {
        let namespace = match self.keep {
            Keep::Recent => RECOVERABLE,
            // Rooms get their names when they are made.
            Keep::Nothing | Keep::All => EPHEMERAL,
        };
        (0..self.rooms).map(|room| format!("{namespace}:{run:08x}-{room}")).collect()
    }
}
