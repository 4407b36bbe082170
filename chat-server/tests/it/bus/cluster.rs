//! Redis as a cluster: a server that is away takes only its own topics with it.

use std::time::Duration;

use chassis::testing::RedisCluster;
use serde_json::json;
use tokio::time::Instant;

use super::{HEARD, count, has, is_away_for, shows};
use crate::harness::rooms::Room;
use crate::harness::{Backend, Client, Stage, eventually};

/// Heads are compared every second while a part of the bus is away, every five otherwise.
const BY_COMPARING: Duration = Duration::from_secs(7);

/// Rooms of one master that somebody enters one after the other.
const ROOMS: u32 = 12;

/// What that takes when each is made to wait for the bus half a second.
const WAITED: Duration = Duration::from_millis(500).saturating_mul(ROOMS);

/// Nodes on a cluster, and a room on each of its masters.
struct Cast {
    nodes: Vec<Stage>,
    ann: Client,
    /// On the other nodes.
    readers: Vec<Client>,
    /// By their masters.
    rooms: Vec<Room>,
    said: u64,
}

impl Cast {
    async fn on(cluster: &RedisCluster, count: usize) -> Self {
        let first = Stage::node(Backend::Postgres, &[("REDIS_URL", &cluster.url())]).await;
        let mut nodes = vec![first];
        while nodes.len() < count {
            nodes.push(nodes[0].twin().await);
        }
        for node in &nodes {
            shows(node, "bus_up 1").await;
        }
        let mut ann = nodes[0].connect("ann").await;
        let mut rooms = Vec::new();
        // A third of all rooms lies on each: after sixty tries one without is a wonder.
        for _ in 0..60 {
            if rooms.len() == 3 {
                break;
            }
            let room = ann.create("public", &["bob"]).await;
            if cluster.owner(&room.channel).await == rooms.len() {
                rooms.push(room);
            }
        }
        assert_eq!(rooms.len(), 3);
        let mut readers = Vec::new();
        for node in &nodes[1..] {
            let mut bob = node.connect("bob").await;
            for room in &rooms {
                bob.subscribe(&room.channel).await;
            }
            readers.push(bob);
        }
        Self { nodes, ann, readers, rooms, said: 0 }
    }

    /// Posts into the room of a master; everyone hears it, in order and once, whichever way.
    async fn says(&mut self, master: usize) {
        let Self { ann, readers, rooms, said, .. } = self;
        *said += 1;
        let body = format!("{said}");
        let channel = &rooms[master].channel;
        let sent = Instant::now();
        ann.publish(channel, json!({ "type": "message", "body": body })).await;
        for bob in readers {
            // The next of this room: one that was missed or doubled is another.
            assert_eq!(bob.hears(channel).await["body"], body);
            assert!(sent.elapsed() < BY_COMPARING, "room {master}: {:?}", sent.elapsed());
        }
    }

    /// The same, and it comes by the bus to each node.
    async fn says_by_bus(&mut self, master: usize) {
        let known = self.heard();
        self.says(master).await;
        eventually("it came by the bus", async || {
            self.heard().iter().zip(&known).all(|(heard, known)| heard > known)
        })
        .await;
    }

    /// What each node of a reader has heard.
    fn heard(&self) -> Vec<u64> {
        self.nodes[1..].iter().map(|node| count(node, HEARD)).collect()
    }

    async fn all_show(&self, line: &str) {
        for node in &self.nodes {
            shows(node, line).await;
        }
    }
}

#[tokio::test]
async fn a_killed_master_takes_only_its_own_topics_with_it() {
    let cluster = RedisCluster::start().await;
    let mut cast = Cast::on(&cluster, 3).await;
    for master in 0..3 {
        cast.says_by_bus(master).await;
    }
    cluster.server(1).kill();
    cast.all_show("bus_up 0").await;
    for _ in 0..3 {
        cast.says_by_bus(0).await;
        cast.says(1).await;
        cast.says_by_bus(2).await;
    }
    cluster.server(1).restart().await;
    cast.all_show("bus_up 1").await;
    for master in [1, 0, 2, 1] {
        cast.says_by_bus(master).await;
    }
}

#[tokio::test]
async fn a_silent_master_takes_only_its_own_topics_with_it() {
    let cluster = RedisCluster::start().await;
    let mut cast = Cast::on(&cluster, 2).await;
    let mut rooms = Vec::new();
    while rooms.len() < ROOMS as usize {
        let room = cast.ann.create("public", &["bob"]).await;
        if cluster.owner(&room.channel).await == 2 {
            rooms.push(room);
        }
    }
    cluster.server(2).pause();
    // Before it is noticed as after: nobody waits for it.
    cast.says_by_bus(0).await;
    cast.says_by_bus(1).await;
    for node in &cast.nodes {
        is_away_for(node, "timeout").await;
    }
    cast.says_by_bus(0).await;
    cast.says(2).await;
    // Whoever enters a room there does not wait for it either.
    let entered = Instant::now();
    for room in &rooms {
        cast.readers[0].subscribe(&room.channel).await;
    }
    assert!(entered.elapsed() < WAITED / 2, "{:?}", entered.elapsed());
    cluster.server(2).resume();
    cast.all_show("bus_up 1").await;
    cast.says_by_bus(2).await;
}

#[tokio::test]
async fn a_replica_takes_over_the_topics_of_its_master() {
    let cluster = RedisCluster::with_replicas().await;
    let mut cast = Cast::on(&cluster, 2).await;
    cast.says_by_bus(0).await;
    cluster.server(0).kill();
    cast.all_show("bus_up 0").await;
    cast.says(0).await;
    cast.says_by_bus(1).await;
    // Its master stays away.
    cast.all_show("bus_up 1").await;
    for master in 0..3 {
        cast.says_by_bus(master).await;
    }
}

#[tokio::test]
async fn topics_follow_their_slot_to_another_master() {
    let cluster = RedisCluster::start().await;
    let mut cast = Cast::on(&cluster, 2).await;
    cast.says_by_bus(0).await;
    cluster.move_slot(&cast.rooms[0].channel, 2).await;
    // What is said meanwhile may be lost on the bus, and is found in the store. A node that only
    // speaks there learns of the move by what it cannot say.
    for _ in 0..3 {
        let known = cast.heard();
        cast.says(0).await;
        if cast.heard() > known {
            break;
        }
    }
    cast.all_show("bus_up 1").await;
    cast.says_by_bus(0).await;
    cast.says_by_bus(1).await;
    assert!(has(&cast.nodes[0], "bus_up 1"));
}
