//! Asks every node who is where, until it is the truth or the time is over.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::Result;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::check::client::Link;
use crate::check::stage::Stage;
use crate::check::world::World;
use crate::check::{Name, presence};

/// Presence is the truth so soon after the last fault.
pub const TRUE_WITHIN: Duration = Duration::from_secs(10);

/// Between two rounds of questions while things are broken.
const SAMPLE: Duration = Duration::from_secs(5);

/// Between two rounds of questions.
const LOOK: Duration = Duration::from_millis(200);

/// How presence was.
#[derive(Debug, Clone, Default)]
pub struct Presence {
    /// After how long it was the truth, everywhere, if it was in time.
    pub took: Option<Duration>,
    /// What was wrong when the time was over.
    pub faults: Vec<presence::Fault>,
    /// While things were broken: how often a node was asked about a channel, and did not know.
    pub asked: usize,
    pub untrue: usize,
}

/// Whoever asks.
pub(super) struct Judge<'a> {
    stage: &'a Stage,
    world: &'a World,
    channels: Vec<Name>,
}

impl<'a> Judge<'a> {
    pub(super) fn new(stage: &'a Stage, world: &'a World, channels: Vec<Name>) -> Self {
        Self { stage, world, channels }
    }

    /// Waits until each node says the truth about each channel.
    pub(super) async fn presence(&self) -> Presence {
        let begun = Instant::now();
        loop {
            // As of the beginning of the round that found the truth: asking takes a while itself.
            let took = begun.elapsed();
            let faults = self.round().await;
            if faults.is_empty() {
                return Presence { took: Some(took), ..Presence::default() };
            }
            if took >= TRUE_WITHIN {
                return Presence { faults, ..Presence::default() };
            }
            sleep(LOOK).await;
        }
    }

    /// Asks without end and counts, while things are broken; who is silent was asked as well.
    pub(super) async fn sample(&self, presence: &mut Presence) {
        loop {
            sleep(SAMPLE).await;
            let faults = self.round().await;
            presence.asked += self.channels.len() * self.stage.nodes.len();
            let wrong: BTreeSet<_> = faults.iter().map(|it| (&it.channel, it.node)).collect();
            presence.untrue += wrong.len();
        }
    }

    async fn round(&self) -> Vec<presence::Fault> {
        let mut faults = Vec::new();
        for node in &self.stage.nodes {
            if let Err(error) = self.ask(node.number, &mut faults).await {
                let what = presence::What::Silent { why: format!("{error:#}") };
                faults.push(presence::Fault { channel: "any".into(), node: node.number, what });
            }
        }
        faults
    }

    async fn ask(&self, node: usize, faults: &mut Vec<presence::Fault>) -> Result<()> {
        let token = self.world.token(&format!("judge{node}"));
        let mut link = Link::enter(self.stage.nodes[node].address, &token).await?;
        for channel in &self.channels {
            let asked = json!({ "channel": &**channel });
            let reply = link.ask(json!({ "presence": asked })).await?;
            let listed: BTreeSet<Name> = match &reply["presence"]["presence"] {
                Value::Object(entries) => entries.keys().map(|key| key.as_str().into()).collect(),
                _ => BTreeSet::new(),
            };
            let reply = link.ask(json!({ "presence_stats": asked })).await?;
            let count = |name: &str| reply["presence_stats"][name].as_u64().unwrap_or(0);
            let counted = (count("num_clients"), count("num_users"));
            // Taken behind the answers: who comes or goes meanwhile is asked about again.
            let truth = self.world.truth.of(channel);
            let channel = channel.clone();
            let answer = presence::Answer { channel, node, listed, counted, truth };
            faults.extend(answer.faults(|client| self.world.truth.trace(client)));
        }
        Ok(())
    }
}
