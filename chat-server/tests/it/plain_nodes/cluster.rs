//! Channels on a Redis Cluster: each where its keys and its topic are.

use chassis::testing::RedisCluster;
use serde_json::{Value, json};

use super::faults::{KEEPS, PREFIX, say_when_back, unavailable};
use super::{Pair, hears, offsets, page, pair_at, say};

/// The server that has a channel.
async fn owner(cluster: &RedisCluster, channel: &str) -> usize {
    cluster.owner(&format!("{PREFIX}:{{{channel}}}:log")).await
}

/// One channel on each of the three masters.
async fn spread(cluster: &RedisCluster) -> [String; 3] {
    let mut channels: [Option<String>; 3] = [const { None }; 3];
    for number in 0.. {
        let channel = format!("on:{number}");
        let server = owner(cluster, &channel).await;
        channels[server].get_or_insert(channel);
        if let [Some(a), Some(b), Some(c)] = &channels {
            return [a.clone(), b.clone(), c.clone()];
        }
    }
    unreachable!("every master has slots");
}

#[tokio::test]
async fn on_a_cluster_every_channel_is_one_sequence_on_every_node() {
    let cluster = RedisCluster::start().await;
    let Pair { first, second, _channels } = pair_at(&cluster.url(), PREFIX, KEEPS).await;
    let (mut ann, mut bob) = (first.connect("ann").await, second.connect("bob").await);
    for channel in spread(&cluster).await {
        ann.subscribe(&channel).await;
        bob.subscribe(&channel).await;
        for number in 1..=20 {
            let stage = if number % 2 == 0 { &first } else { &second };
            assert_eq!(say(stage, &channel, number).await, number);
        }
        let sequence: Vec<_> = (1..=20).map(|number| (number, json!(number))).collect();
        assert_eq!(hears(&mut ann, 20).await, sequence);
        assert_eq!(hears(&mut bob, 20).await, sequence);
        let kept = page(&mut bob, &channel, json!({ "limit": -1 })).await;
        assert_eq!(offsets(&kept["publications"]), (1..=20).collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn a_dead_master_takes_only_its_own_channels_with_it() {
    let cluster = RedisCluster::start().await;
    let Pair { first, second, _channels } = pair_at(&cluster.url(), PREFIX, KEEPS).await;
    let [dead, alive, _] = spread(&cluster).await;
    let (mut ann, mut bob) = (first.connect("ann").await, second.connect("bob").await);
    let before = bob.subscribe(&dead).await["epoch"].clone();
    bob.subscribe(&alive).await;
    say(&first, &dead, "before").await;
    hears(&mut bob, 1).await;
    cluster.server(0).kill();
    for number in 1..=20 {
        assert!(unavailable(&mut ann, "publish", &dead).await.starts_with("bus_"));
        assert_eq!(ann.publish(&alive, json!(number)).await["offset"], number);
        assert_eq!(hears(&mut bob, 1).await, [(number, json!(number))]);
    }
    cluster.server(0).restart().await;
    // It came back empty.
    let push = bob.push("unsubscribe").await;
    let found = (&push["channel"], &push["unsubscribe"]["code"]);
    assert_eq!(found, (&json!(dead), &json!(2500)));
    assert_ne!(bob.subscribe(&dead).await["epoch"], before);
    let offset = say_when_back(&first, &dead).await;
    assert_eq!(hears(&mut bob, 1).await, [(offset, json!("back"))]);
}

#[tokio::test]
async fn a_replica_that_takes_over_goes_on_or_begins_anew_and_mixes_nothing() {
    let cluster = RedisCluster::with_replicas().await;
    let Pair { first, second, _channels } = pair_at(&cluster.url(), PREFIX, KEEPS).await;
    let [channel, ..] = spread(&cluster).await;
    let mut bob = second.connect("bob").await;
    let before = bob.subscribe(&channel).await["epoch"].clone();
    for number in 1..=50 {
        say(&first, &channel, number).await;
    }
    assert_eq!(hears(&mut bob, 50).await.last(), Some(&(50, json!(50))));
    cluster.server(0).kill();
    let offset = say_when_back(&first, &channel).await;
    let is_next = |message: &Value| {
        message["push"]["unsubscribe"].is_object() || message["push"]["pub"].is_object()
    };
    let mut seen = 50;
    loop {
        let push = bob.expect(is_next).await["push"].clone();
        if push["unsubscribe"].is_object() {
            assert_ne!(bob.subscribe(&channel).await["epoch"], before);
            break;
        }
        seen += 1;
        assert_eq!(push["pub"]["offset"], seen, "one sequence");
        if seen == offset {
            break;
        }
    }
    let next = say(&first, &channel, "after").await;
    bob.expect(|message| message["push"]["pub"]["data"] == "after").await;
    let kept = page(&mut bob, &channel, json!({ "limit": -1 })).await;
    assert_eq!(kept["offset"], next);
}
