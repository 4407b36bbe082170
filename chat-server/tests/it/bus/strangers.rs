//! What no node of the deployment has said.

use bytes::Bytes;
use chassis::redis::commands::aio::MultiplexedConnection;
use chassis::redis::commands::{Client, cmd};
use chassis::testing::redis_url;
use chat_server::fanout::bus::{Message, encode};
use prost::Message as _;
use proto::bus::v1 as wire;
use rand::RngExt;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{count, in_a_room, says, shows, two_nodes};
use crate::harness::rooms::Room;
use crate::harness::{Backend, Stage, eventually};

/// More than any node says at once.
const HUGE: usize = 10 << 20;

async fn link() -> MultiplexedConnection {
    let client = Client::open(redis_url()).unwrap();
    client.get_multiplexed_async_connection().await.unwrap()
}

/// Publishes and gives how many heard it.
async fn publish(link: &mut MultiplexedConnection, topic: &str, bytes: &[u8]) -> u64 {
    cmd("PUBLISH").arg(topic).arg(bytes).query_async(link).await.unwrap()
}

/// The topics on which two nodes hear what is said to each.
async fn own_topics(link: &mut MultiplexedConnection, prefix: &str) -> Vec<String> {
    let mut question = cmd("PUBSUB");
    question.arg("CHANNELS").arg(format!("{prefix}:n:*"));
    let topics: Vec<String> = question.query_async(link).await.unwrap();
    assert_eq!(topics.len(), 2, "{topics:?}");
    topics
}

/// What nobody of ours says: nonsense of every kind.
fn nonsense() -> Vec<Vec<u8>> {
    let mut random = vec![0; 512];
    rand::rng().fill(&mut random[..]);
    let node = Bytes::copy_from_slice(Uuid::new_v4().as_bytes());
    let body = |body| wire::Envelope { node: node.clone(), body: Some(body) }.encode_to_vec();
    let event = |offset, data: &'static [u8]| {
        body(wire::envelope::Body::Event(wire::Event {
            epoch: "x".to_owned(),
            offset,
            data: Bytes::from_static(data),
            ..wire::Event::default()
        }))
    };
    vec![
        random,
        vec![0xff; HUGE],
        br#"{"event":"message","data":{"body":"of somebody else"}}"#.to_vec(),
        Vec::from("\0\0\0\0"),
        event(0, b"{}"),
        event(1, b"not json"),
        event(u64::MAX, b"{}"),
        wire::Envelope { node: Bytes::from_static(b"short"), body: None }.encode_to_vec(),
        body(wire::envelope::Body::Joined(wire::Presence::default())),
        body(wire::envelope::Body::Order(wire::Order::default())),
        body(wire::envelope::Body::Commands(wire::Commands::default())),
        event(1, b"{}")[..10].to_vec(),
    ]
}

fn is_of(room: &Room, message: &Value) -> bool {
    message["push"]["channel"] == *room.channel && message["push"]["pub"].is_object()
}

#[tokio::test]
async fn nonsense_on_our_topics_is_counted_and_reaches_nobody() {
    let (first, second) = two_nodes(&[]).await;
    let (mut ann, mut bob, room) = in_a_room(&first, &second).await;
    says(&mut ann, &mut bob, &room, "before").await;
    let prefix = second.prefix();
    let mut link = link().await;
    let nonsense = nonsense();
    let (own, channel) = (own_topics(&mut link, prefix).await, &room.channel);
    let topics: Vec<_> = own.into_iter().chain([format!("{prefix}:c:{{{channel}}}")]).collect();
    for topic in &topics {
        for bytes in &nonsense {
            assert!(publish(&mut link, topic, bytes).await > 0, "somebody listens to {topic}");
        }
    }
    let series = "bus_malformed_messages_total";
    // The topic of the other node is not listened to here.
    let sent = ((topics.len() - 1) * nonsense.len()) as u64;
    eventually(series, async || count(&second, series) == sent).await;
    bob.expect_none("a publication", |message| is_of(&room, message)).await;
    says(&mut ann, &mut bob, &room, "after").await;
}

#[tokio::test]
async fn what_is_well_formed_and_makes_no_sense_reaches_nobody() {
    let (first, second) = two_nodes(&[]).await;
    let (mut ann, mut bob, room) = in_a_room(&first, &second).await;
    let prefix = second.prefix();
    let mut link = link().await;
    let received = "bus_messages_total{direction=\"received\"}";
    let known = count(&second, received);
    let taken = Message::Taken { question: 7, outcome: chat_server::fanout::bus::Outcome::Taken };
    let bytes = encode(Uuid::new_v4(), &taken);
    let own = own_topics(&mut link, prefix).await;
    // An answer to no question, where no answers are given; on a topic that is none of ours.
    let topic = format!("{prefix}:c:{{{}}}", room.channel);
    assert!(publish(&mut link, &topic, &bytes).await > 0);
    for topic in &own {
        assert_eq!(publish(&mut link, topic, &bytes).await, 1);
    }
    assert_eq!(publish(&mut link, &format!("{prefix}:x"), &bytes).await, 0);
    eventually(received, async || count(&second, received) >= known + 2).await;
    bob.expect_none("a publication", |message| is_of(&room, message)).await;
    says(&mut ann, &mut bob, &room, "after").await;
}

#[tokio::test]
async fn deployments_that_share_a_redis_hear_nothing_of_each_other() {
    let ours = Stage::node(Backend::Sqlite, &[]).await;
    // The same rooms, so that only the prefix keeps them apart.
    let theirs =
        ours.twin_with(|config| config.nodes.as_mut().unwrap().prefix.push_str("-other")).await;
    shows(&ours, "bus_up 1").await;
    shows(&theirs, "bus_up 1").await;
    let (mut ann, mut bob) = (ours.connect("ann").await, theirs.connect("bob").await);
    let room = ann.create("public", &["bob"]).await;
    bob.subscribe(&room.channel).await;
    ann.publish(&room.channel, json!({ "type": "message", "body": "hi" })).await;
    // What comes, comes by the store.
    assert_eq!(bob.hears(&room.channel).await["body"], "hi");
    for stage in [&ours, &theirs] {
        assert_eq!(count(stage, "bus_messages_total{direction=\"received\"}"), 0);
        assert_eq!(count(stage, "bus_malformed_messages_total"), 0);
    }
    let sent = "bus_messages_total{direction=\"sent\"}";
    eventually(sent, async || count(&ours, sent) > 0).await;
}
