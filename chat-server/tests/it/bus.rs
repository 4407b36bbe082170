//! The bus between nodes: what it does while Redis is well, away, wrong or flooded.

mod cluster;
mod outages;
mod sentinel;
mod servers;
mod strangers;

use serde_json::{Value, json};

use crate::harness::rooms::Room;
use crate::harness::{Backend, Client, Stage, eventually, http};

/// What a node has heard of others.
const HEARD: &str = "bus_messages_total{direction=\"received\"}";

/// Two nodes that hear each other, with these variables set.
async fn two_nodes(variables: &[(&str, &str)]) -> (Stage, Stage) {
    let first = Stage::node(Backend::Sqlite, variables).await;
    let second = first.twin().await;
    shows(&first, "bus_up 1").await;
    shows(&second, "bus_up 1").await;
    (first, second)
}

/// Ann on one node and Bob on another, who listens to a room of theirs.
async fn in_a_room(first: &Stage, second: &Stage) -> (Client, Client, Room) {
    let (mut ann, mut bob) = (first.connect("ann").await, second.connect("bob").await);
    let room = ann.create("public", &["bob"]).await;
    bob.subscribe(&room.channel).await;
    (ann, bob, room)
}

/// Waits until a line stands in the metrics of a node.
async fn shows(stage: &Stage, line: &str) {
    eventually(line, async || has(stage, line)).await;
}

fn has(stage: &Stage, line: &str) -> bool {
    stage.telemetry.render().lines().any(|found| found == line)
}

/// The value of a series without labels, or with these.
fn count(stage: &Stage, series: &str) -> u64 {
    let text = stage.telemetry.render();
    let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("{series} in\n{text}")).parse().unwrap()
}

/// What readiness says of the bus: the reason, or nothing when all is well.
async fn reason(stage: &Stage) -> Option<String> {
    let health = http::get(stage.addresses.http, "/health", &[]).await;
    assert_eq!(health.status, 200, "a node without a bus serves: {}", health.body);
    let health: Value = serde_json::from_str(&health.body).unwrap();
    let checks = health["checks"].as_array().unwrap();
    let bus = checks.iter().find(|check| check["check"] == "bus").unwrap();
    bus["reason"].as_str().map(str::to_owned)
}

/// Waits until readiness gives this reason.
async fn is_away_for(stage: &Stage, wanted: &str) {
    eventually(wanted, async || reason(stage).await.as_deref() == Some(wanted)).await;
}

/// Posts and expects others to hear it.
async fn says(ann: &mut Client, bob: &mut Client, room: &Room, body: &str) {
    ann.publish(&room.channel, json!({ "type": "message", "body": body })).await;
    bob.expect(|message| message["push"]["pub"]["data"]["body"] == body).await;
}
