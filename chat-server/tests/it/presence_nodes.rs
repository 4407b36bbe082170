//! Who is there, on several nodes: told everywhere, listed and counted alike, and nobody flickers
//! who changes connections.

mod crowd;
mod faults;
mod model;
mod process;

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use crate::harness::{Backend, Client, Stage};

/// A node where nobody is too fast: these tests ask again and again.
async fn node(variables: &[(&str, &str)]) -> Stage {
    let mut all = vec![("COMMAND_RATE", "100000"), ("RATE_LIMIT_PER_MINUTE", "1000000")];
    all.extend_from_slice(variables);
    Stage::node(Backend::Sqlite, &all).await
}

/// Channels that keep nothing: nobody is put out of one when Redis forgets what it had.
const UNKEPT: &str = "[without_namespace]\nallow_subscribe = true\nallow_publish = true\n\
    allow_presence = true\npresence = true\njoin_leave = true\nforce_push_join_leave = true\n";

/// The file that says so; it goes with the value.
fn unkept() -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), UNKEPT).unwrap();
    file
}

/// Who is there by one node: clients, users, and the users in the list in order.
async fn truth(client: &mut Client, channel: &str) -> (u64, u64, Vec<String>) {
    let stats = client.ask("presence_stats", json!({ "channel": channel })).await;
    let count =
        |key: &str| stats["presence_stats"][key].as_u64().unwrap_or_else(|| panic!("{stats}"));
    let list = client.ask("presence", json!({ "channel": channel })).await;
    let list = list["presence"]["presence"].as_object().unwrap_or_else(|| panic!("{list}"));
    let mut users: Vec<_> =
        list.values().map(|info| info["user"].as_str().unwrap().to_owned()).collect();
    users.sort_unstable();
    (count("num_clients"), count("num_users"), users)
}

/// Waits until a node says that exactly these clients are there, by their users, in order.
async fn comes_to(client: &mut Client, channel: &str, users: &[&str]) -> Duration {
    let begun = Instant::now();
    let mut distinct = users.to_vec();
    distinct.dedup();
    let wanted = (users.len() as u64, distinct.len() as u64);
    loop {
        let (clients, people, list) = truth(client, channel).await;
        if (clients, people) == wanted && list == users {
            return begun.elapsed();
        }
        let in_time = begun.elapsed() < Duration::from_secs(10);
        assert!(in_time, "{clients} {people} {list:?} in {channel} in place of {users:?}");
    }
}

fn of(kind: &'static str, user: &'static str) -> impl Fn(&Value) -> bool {
    move |message| message["push"][kind]["info"]["user"] == user
}

/// Bob on one node, who was told that Ann came in on the other.
async fn in_the_lobby(first: &Stage, second: &Stage) -> (Client, Client) {
    let mut bob = second.connect("bob").await;
    bob.subscribe("lobby").await;
    let mut ann = first.connect("ann").await;
    ann.subscribe("lobby").await;
    bob.expect(of("join", "ann")).await;
    (ann, bob)
}

#[tokio::test]
async fn joins_and_leaves_are_told_and_counted_on_every_node() {
    let first = node(&[]).await;
    let (second, third) = (first.twin().await, first.twin().await);
    let (mut bob, mut sue) = (second.connect("bob").await, third.connect("sue").await);
    bob.subscribe("lobby").await;
    sue.subscribe("lobby").await;
    bob.expect(of("join", "sue")).await;
    let mut ann = first.connect("ann").await;
    ann.subscribe("lobby").await;
    let join = bob.expect(of("join", "ann")).await["push"]["join"]["info"].clone();
    assert_eq!(sue.expect(of("join", "ann")).await["push"]["join"]["info"], join);
    // Who subscribes and asks finds itself, at once.
    assert_eq!(
        truth(&mut ann, "lobby").await,
        (3, 3, vec!["ann".into(), "bob".into(), "sue".into()])
    );
    for client in [&mut bob, &mut sue] {
        comes_to(client, "lobby", &["ann", "bob", "sue"]).await;
    }
    let mut watcher = first.anonymous().await;
    comes_to(&mut watcher, "lobby", &["ann", "bob", "sue"]).await;
    let left = Instant::now();
    ann.ask("unsubscribe", json!({ "channel": "lobby" })).await;
    assert_eq!(bob.expect(of("leave", "ann")).await["push"]["leave"]["info"], join);
    assert_eq!(sue.expect(of("leave", "ann")).await["push"]["leave"]["info"], join);
    // On purpose is at once, and so is a goodbye.
    assert!(left.elapsed() < Duration::from_secs(2), "{:?}", left.elapsed());
    let left = Instant::now();
    sue.socket.close(None).await.unwrap();
    bob.expect(of("leave", "sue")).await;
    assert!(left.elapsed() < Duration::from_secs(2), "{:?}", left.elapsed());
    for client in [&mut bob, &mut watcher] {
        comes_to(client, "lobby", &["bob"]).await;
    }
}

#[tokio::test]
async fn who_comes_back_on_another_node_in_time_was_never_away() {
    let first = node(&[]).await;
    let second = first.twin().await;
    let (mut bob, mut sue) = (first.connect("bob").await, second.connect("sue").await);
    bob.subscribe("lobby").await;
    sue.subscribe("lobby").await;
    let mut ann = first.connect("ann").await;
    ann.subscribe("lobby").await;
    let mut old = Vec::new();
    for client in [&mut bob, &mut sue] {
        old.push(client.expect(of("join", "ann")).await["push"]["join"]["info"]["client"].clone());
    }
    // Its connection breaks: no word, no close frame.
    drop(ann);
    let broken = Instant::now();
    while broken.elapsed() < Duration::from_secs(2) {
        for client in [&mut bob, &mut sue] {
            assert!(truth(client, "lobby").await.2.contains(&"ann".to_owned()));
        }
    }
    let mut ann = second.connect("ann").await;
    ann.subscribe("lobby").await;
    for client in [&mut bob, &mut sue] {
        let moves = |message: &Value| of("join", "ann")(message) || of("leave", "ann")(message);
        let next = client.expect(moves).await["push"].clone();
        assert!(next["join"].is_object(), "{next}");
        assert!(!old.contains(&next["join"]["info"]["client"]));
        let next = client.expect(moves).await["push"].clone();
        assert_eq!(next["leave"]["info"]["client"], old[0]);
        assert!(truth(client, "lobby").await.2.contains(&"ann".to_owned()));
    }
    assert!(broken.elapsed() < Duration::from_secs(5), "{:?}", broken.elapsed());
    for client in [&mut bob, &mut sue] {
        comes_to(client, "lobby", &["ann", "bob", "sue"]).await;
    }
}

#[tokio::test]
async fn who_does_not_come_back_is_gone_when_the_time_is_over() {
    let first = node(&[]).await;
    let second = first.twin().await;
    let (ann, mut bob) = in_the_lobby(&first, &second).await;
    let broken = Instant::now();
    drop(ann);
    bob.expect(of("leave", "ann")).await;
    assert!((4..7).contains(&broken.elapsed().as_secs()), "{:?}", broken.elapsed());
    comes_to(&mut bob, "lobby", &["bob"]).await;
    // Those without a name cannot be known again: they are gone at once.
    let mut nobody = first.anonymous().await;
    nobody.subscribe("lobby").await;
    bob.expect(of("join", "")).await;
    let broken = Instant::now();
    drop(nobody);
    bob.expect(of("leave", "")).await;
    assert!(broken.elapsed() < Duration::from_secs(2), "{:?}", broken.elapsed());
}

#[tokio::test]
async fn a_node_that_drains_hands_its_people_over_without_a_flicker() {
    let first = node(&[]).await;
    let second = first.twin().await;
    let (mut ann, mut bob) = in_the_lobby(&first, &second).await;
    first.shutdown.trigger();
    assert_eq!(ann.closed().await, 3001);
    assert!(truth(&mut bob, "lobby").await.2.contains(&"ann".to_owned()));
    let mut ann = second.connect("ann").await;
    ann.subscribe("lobby").await;
    let moves = |message: &Value| of("join", "ann")(message) || of("leave", "ann")(message);
    assert!(bob.expect(moves).await["push"]["join"].is_object());
    assert!(bob.expect(moves).await["push"]["leave"].is_object());
    comes_to(&mut bob, "lobby", &["ann", "bob"]).await;
}
