//! A node that is killed or stopped, as a process.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use chassis::redis::commands::{Client as RedisClient, cmd};
use chassis::testing::{deadline, free_port, redis_url};
use chat_server::protocol::Json;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::{Instant, interval};
use uuid::Uuid;

use super::{comes_to, node, of};
use crate::harness::{Client, SECRET, Stage, token};

/// Another node of the deployment with this prefix.
struct Process {
    child: Child,
    port: u16,
    _folder: tempfile::TempDir,
}

impl Process {
    async fn start(prefix: &str) -> Self {
        let (folder, port) = (tempfile::tempdir().unwrap(), free_port());
        let mut command = Command::new(env!("CARGO_BIN_EXE_chat-server"));
        command.current_dir(folder.path()).env_clear().stdin(Stdio::null()).stdout(Stdio::null());
        command.envs([("WS_PORT", "0"), ("PROMETHEUS_PORT", "0"), ("RUST_LOG", "warn")]);
        command.envs([("PORT", port.to_string()), ("JWT_SECRET", SECRET.to_owned())]);
        command.envs([("REDIS_URL", redis_url()), ("REDIS_PREFIX", prefix.to_owned())]);
        let child = command.spawn().unwrap();
        let mut ticks = interval(Duration::from_millis(20));
        deadline(async {
            while TcpStream::connect(("127.0.0.1", port)).await.is_err() {
                ticks.tick().await;
            }
        })
        .await;
        Self { child, port, _folder: folder }
    }

    fn signal(&self, name: &str) {
        let mut kill = Command::new("kill");
        assert!(kill.args([name, &self.child.id().to_string()]).status().unwrap().success());
    }

    /// Somebody who is connected to it; the stage only lends its ways.
    async fn connect(&self, stage: &Stage, user: &str) -> Client {
        let stream = deadline(TcpStream::connect(("127.0.0.1", self.port))).await.unwrap();
        let mut client = stage.over(stream).await;
        let reply = client.ask("connect", json!({ "token": token(user) })).await;
        assert!(reply["connect"].is_object(), "{reply}");
        client
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself; then there is nothing to kill.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

async fn scene() -> (Stage, Stage, Process) {
    let prefix = format!("test-{}", Uuid::new_v4().simple());
    let first = node(&[("REDIS_PREFIX", &prefix)]).await;
    let second = first.twin().await;
    (first, second, Process::start(&prefix).await)
}

#[tokio::test]
async fn the_people_of_a_node_that_is_killed_are_gone_within_ten_seconds_and_told_once() {
    let (first, second, mut process) = scene().await;
    let (mut ann, mut bob) = (first.connect("ann").await, second.connect("bob").await);
    ann.subscribe("lobby").await;
    bob.subscribe("lobby").await;
    let (mut sue, mut tom) =
        (process.connect(&first, "sue").await, process.connect(&first, "tom").await);
    sue.subscribe("lobby").await;
    tom.subscribe("lobby").await;
    for client in [&mut ann, &mut bob] {
        comes_to(client, "lobby", &["ann", "bob", "sue", "tom"]).await;
    }
    process.child.kill().unwrap();
    process.child.wait().unwrap();
    let killed = Instant::now();
    // One of them comes back elsewhere: told to join first, then its old client to leave.
    let mut tom = second.connect("tom").await;
    tom.subscribe("lobby").await;
    for client in [&mut ann, &mut bob] {
        client.expect(of("join", "tom")).await;
        client.expect(of("join", "tom")).await;
        client.expect(of("leave", "sue")).await;
        client.expect(of("leave", "tom")).await;
        comes_to(client, "lobby", &["ann", "bob", "tom"]).await;
    }
    assert!(killed.elapsed() < Duration::from_secs(10), "{:?}", killed.elapsed());
    for client in [&mut ann, &mut bob] {
        let told = |message: &Value| message["push"]["leave"].is_object();
        client.expect_none("each leave is told once", told).await;
    }
}

#[tokio::test]
async fn a_young_node_removes_what_an_old_one_left_that_had_written_more() {
    let (first, _second, mut process) = scene().await;
    let mut ann = first.connect("ann").await;
    let mut sue = process.connect(&first, "sue").await;
    sue.subscribe("lobby").await;
    comes_to(&mut ann, "lobby", &["sue"]).await;
    let redis = RedisClient::open(redis_url()).unwrap();
    let mut redis = redis.get_multiplexed_async_connection().await.unwrap();
    // Only the process has anybody anywhere.
    let mut find = cmd("KEYS");
    find.arg(format!("{}:{{in:*}}:writes", first.prefix()));
    let written: Vec<String> = find.query_async(&mut redis).await.unwrap();
    let [writes] = &written[..] else { panic!("{written:?}") };
    let mut set = cmd("SET");
    let () = set.arg(writes).arg(1_000_000).query_async(&mut redis).await.unwrap();
    process.child.kill().unwrap();
    process.child.wait().unwrap();
    let killed = Instant::now();
    comes_to(&mut ann, "lobby", &[]).await;
    let channels = writes.strip_suffix(":writes").unwrap();
    let mut ticks = interval(Duration::from_millis(50));
    while cmd("EXISTS").arg(channels).query_async(&mut redis).await.unwrap() {
        ticks.tick().await;
        assert!(killed.elapsed() < Duration::from_secs(10), "its channels are still noted");
    }
}

#[tokio::test]
async fn who_is_in_the_new_life_of_a_channel_stays_noted_when_the_last_of_the_old_goes() {
    let first = node(&[]).await;
    let (mut ann, mut bob) = (first.connect("ann").await, first.connect("bob").await);
    ann.subscribe("lobby").await;
    bob.subscribe("lobby").await;
    comes_to(&mut bob, "lobby", &["ann", "bob"]).await;
    // It is waited for in the old life.
    drop(ann);
    let redis = RedisClient::open(redis_url()).unwrap();
    let mut redis = redis.get_multiplexed_async_connection().await.unwrap();
    let mut forget = cmd("DEL");
    forget.arg(&["log", "meta"].map(|key| format!("{}:{{lobby}}:{key}", first.prefix())));
    let () = forget.query_async(&mut redis).await.unwrap();
    first.control.publish("lobby", Json::parse(b"1").unwrap()).await.unwrap();
    assert_eq!(bob.push("unsubscribe").await["unsubscribe"]["code"], 2500);
    bob.subscribe("lobby").await;
    comes_to(&mut bob, "lobby", &["ann", "bob"]).await;
    comes_to(&mut bob, "lobby", &["bob"]).await;
    let mut find = cmd("KEYS");
    find.arg(format!("{}:{{in:*}}", first.prefix()));
    // A turn later, for what is noted follows what is written.
    bob.subscribe("kitchen").await;
    comes_to(&mut bob, "kitchen", &["bob"]).await;
    let noted: Vec<String> = find.query_async(&mut redis).await.unwrap();
    let mut channels: Vec<String> =
        cmd("SMEMBERS").arg(&noted[..]).query_async(&mut redis).await.unwrap();
    channels.sort_unstable();
    assert_eq!(channels, ["kitchen", "lobby"]);
}

#[tokio::test]
async fn the_people_of_a_node_that_stood_still_are_there_again_when_it_goes_on() {
    let (first, second, process) = scene().await;
    let (mut ann, mut bob) = (first.connect("ann").await, second.connect("bob").await);
    ann.subscribe("lobby").await;
    bob.subscribe("lobby").await;
    let mut sue = process.connect(&first, "sue").await;
    sue.subscribe("lobby").await;
    ann.expect(of("join", "sue")).await;
    process.signal("-STOP");
    ann.expect(of("leave", "sue")).await;
    for client in [&mut ann, &mut bob] {
        comes_to(client, "lobby", &["ann", "bob"]).await;
    }
    process.signal("-CONT");
    ann.expect(of("join", "sue")).await;
    for client in [&mut ann, &mut bob, &mut sue] {
        comes_to(client, "lobby", &["ann", "bob", "sue"]).await;
    }
}
