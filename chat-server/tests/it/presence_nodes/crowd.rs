//! A channel with thousands: counted to the last one, and told as numbers.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::node;
use crate::harness::{Client, Stage};

/// Of people in the channel.
const PEOPLE: usize = 3_000;

/// Where joins are not told one by one any more.
const BOUND: usize = 1_000;

/// People who come at a time, on each node.
const AT_ONCE: usize = 25;

/// Some join before it is known that others made it a crowd: those that come while a few writes
/// are on their way.
const LATE: usize = 8 * AT_ONCE;

async fn come(stage: &Stage, first: usize) -> Vec<Client> {
    let one = |number: usize| async move {
        // Two clients each.
        let mut client = stage.connect(&format!("person{}", (first + number) / 2)).await;
        client.subscribe("lobby").await;
        client
    };
    join_all((0..AT_ONCE).map(one)).await
}

async fn numbers(client: &mut Client) -> (u64, u64) {
    let reply = client.ask("presence_stats", json!({ "channel": "lobby" })).await;
    let count = |key: &str| reply["presence_stats"][key].as_u64();
    let counts = count("num_clients").zip(count("num_users"));
    counts.unwrap_or_else(|| panic!("{reply}"))
}

/// The next numbers that are told.
async fn told(client: &mut Client) -> (u64, u64) {
    let is_told = |message: &Value| message["push"]["pub"]["data"]["type"] == "presence";
    let publication = client.expect(is_told).await["push"]["pub"].clone();
    assert_eq!(publication["offset"], Value::Null);
    let count = |key: &str| publication["data"][key].as_u64().unwrap();
    (count("clients"), count("users"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crowd_is_counted_exactly_and_told_as_numbers() {
    let first = node(&[]).await;
    let second = first.twin().await;
    let (mut ann, mut bob) = (first.connect("ann").await, second.connect("bob").await);
    ann.subscribe("lobby").await;
    bob.subscribe("lobby").await;
    let begun = Instant::now();
    let mut people = Vec::new();
    while people.len() < PEOPLE {
        let at = people.len();
        let (one, other) = tokio::join!(come(&first, at), come(&second, at + AT_ONCE));
        people.extend(one.into_iter().chain(other));
    }
    // Two thirds of a second: that many tellings at most, and one for what was begun.
    let tellings_max = begun.elapsed().as_secs() + 2;
    let all = PEOPLE as u64 + 2;
    for client in [&mut ann, &mut bob] {
        // The last numbers are the truth, and as many were told as seconds went by, at most.
        let mut tellings = 1;
        while told(client).await != (all, PEOPLE as u64 / 2 + 2) {
            tellings += 1;
        }
        assert!(tellings <= tellings_max + 2, "{tellings} in {:?}", begun.elapsed());
        assert_eq!(numbers(client).await, (all, PEOPLE as u64 / 2 + 2));
        let error = client.refused("presence", json!({ "channel": "lobby" })).await;
        assert_eq!((&error["code"], &error["got"]), (&json!(106), &json!(all)));
        let joins = client.all(|message| message["push"]["join"].is_object()).await;
        assert!((BOUND / 2..BOUND + LATE).contains(&joins.len()), "{}", joins.len());
    }
    // Most of them go: no leave is told before few are left.
    for mut client in people.drain(..2_200) {
        client.socket.close(None).await.unwrap();
    }
    let left = all - 2_200;
    let begun = Instant::now();
    for client in [&mut ann, &mut bob] {
        while numbers(client).await.0 != left {
            assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", numbers(client).await);
        }
        let leaves = client.all(|message| message["push"]["leave"].is_object()).await;
        assert!(leaves.len() < 900 - 802 + LATE, "{}", leaves.len());
    }
}
