//! A Redis that answers and is not one that can be used: at the start, and later.

use chassis::redis::Location;
use chassis::redis::commands::{Client, FromRedisValue, cmd};
use chassis::telemetry::Handles;
use chassis::testing::{Redis, RedisCluster, free_port};
use chat_server::config::Config;
use chat_server::metrics::BUCKETS;
use chat_server::server::Server;
use serde_json::json;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::{HEARD, count, in_a_room, is_away_for, reason, says, shows, two_nodes};
use crate::harness::{Backend, Stage, eventually};

/// What answers at a port like a Redis of some version, as long as this lives.
struct Fake {
    _tasks: JoinSet<()>,
}

impl Fake {
    async fn at(port: u16, greeting: &'static str) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                connections.spawn(async move { serve(stream, greeting).await.is_some() });
            }
        });
        Self { _tasks: tasks }
    }
}

/// Answers `HELLO` with the greeting, `PING`, and nothing else as it should.
async fn serve(stream: TcpStream, greeting: &str) -> Option<()> {
    let mut stream = BufReader::new(stream);
    loop {
        let mut words = Vec::new();
        for _ in 0..number(&mut stream, '*').await? {
            let mut word = vec![0; number(&mut stream, '$').await? + 2];
            stream.read_exact(&mut word).await.ok()?;
            word.truncate(word.len() - 2);
            words.push(String::from_utf8(word).ok()?);
        }
        let answer = match words[0].as_str() {
            "HELLO" => greeting,
            "PING" => "+PONG\r\n",
            _ => "-ERR unknown command\r\n",
        };
        stream.write_all(answer.as_bytes()).await.ok()?;
    }
}

async fn number(stream: &mut BufReader<TcpStream>, mark: char) -> Option<usize> {
    let mut line = String::new();
    stream.read_line(&mut line).await.ok()?;
    line.strip_prefix(mark)?.trim_end().parse().ok()
}

/// What Redis 6.2 says of itself.
const OLD: &str = "%4\r\n$6\r\nserver\r\n$5\r\nredis\r\n$7\r\nversion\r\n$6\r\n6.2.14\r\n\
    $4\r\nmode\r\n$10\r\nstandalone\r\n$4\r\nrole\r\n$6\r\nmaster\r\n";

/// What one before 6.0 says, which has no `HELLO`.
const OLDER: &str = "-ERR unknown command `HELLO`, with args beginning with: `3`, \r\n";

/// What a web server says to a command.
const WEB: &str = "HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n";

/// Why a server with this Redis does not start.
async fn refusal(url: &str) -> String {
    let mut config = None;
    let stage = Stage::arranged(&[("REDIS_URL", "redis://127.0.0.1:1")], |known| {
        config = Some(known.clone());
    });
    drop(stage.await);
    let mut config: Config = config.unwrap();
    let nodes = config.nodes.as_mut().unwrap();
    nodes.redis.location = Location::parse(&url.into()).unwrap();
    let telemetry = Handles::detached(&config.telemetry, BUCKETS).unwrap();
    let begun = Instant::now();
    let refused = Box::pin(Server::bind(config, telemetry)).await;
    assert!(begun.elapsed().as_secs() < 4, "{:?}", begun.elapsed());
    let refused = refused.map(|_| ()).unwrap_err().to_string();
    assert!(refused.starts_with("REDIS_URL: ") && !refused.contains("hunter2"), "{refused}");
    refused
}

/// Asks a server something past the nodes.
async fn ask<T: FromRedisValue>(redis: &Redis, words: &[&str]) -> T {
    let client = Client::open(redis.url()).unwrap();
    let mut link = client.get_multiplexed_async_connection().await.unwrap();
    cmd(words[0]).arg(&words[1..]).query_async(&mut link).await.unwrap()
}

#[tokio::test]
async fn a_node_does_not_start_with_an_old_redis() {
    for (greeting, words) in [(OLD, "Redis 6.2 is older than 7.0"), (OLDER, "older than 7.0")] {
        let port = free_port();
        let _fake = Fake::at(port, greeting).await;
        let refused = refusal(&format!("redis://127.0.0.1:{port}")).await;
        assert!(refused.contains(words), "{refused}");
    }
}

#[tokio::test]
async fn a_node_does_not_start_with_something_else() {
    let port = free_port();
    let _fake = Fake::at(port, WEB).await;
    let refused = refusal(&format!("redis://127.0.0.1:{port}")).await;
    assert!(refused.contains("is not a Redis"), "{refused}");
}

#[tokio::test]
async fn a_node_does_not_start_with_a_wrong_password() {
    let redis = Redis::with(&["requirepass right"]).await;
    for url in [format!("redis://:hunter2@{}", redis.address()), redis.url()] {
        let refused = refusal(&url).await;
        assert!(refused.contains("WRONGPASS") || refused.contains("NOAUTH"), "{refused}");
    }
}

#[tokio::test]
async fn a_node_does_not_start_without_the_permissions_it_needs() {
    for rules in ["~* &* +@all -publish", "~* &other:* +@all", "~other:* &* +@all"] {
        let redis = Redis::with(&[&format!("user ann on >hunter2 {rules}")]).await;
        let refused = refusal(&format!("redis://ann:hunter2@{}", redis.address())).await;
        assert!(refused.contains("NOPERM") || refused.contains("ermission"), "{rules}: {refused}");
    }
}

#[tokio::test]
async fn a_node_starts_with_a_replica_and_hears_others_when_it_is_a_master() {
    let (master, copy) = (Redis::start().await, Redis::start().await);
    let port = master.address().port().to_string();
    let _: String = ask(&copy, &["REPLICAOF", "127.0.0.1", &port]).await;
    let first = Stage::node(Backend::Sqlite, &[("REDIS_URL", &copy.url())]).await;
    is_away_for(&first, "read_only").await;
    let second = first.twin().await;
    let _: String = ask(&copy, &["REPLICAOF", "NO", "ONE"]).await;
    shows(&first, "bus_up 1").await;
    shows(&second, "bus_up 1").await;
    let (mut ann, mut bob, room) = in_a_room(&first, &second).await;
    says(&mut ann, &mut bob, &room, "through the bus").await;
}

#[tokio::test]
async fn a_node_starts_with_a_redis_that_is_full_or_takes_no_writes() {
    for (setting, word) in
        [(["maxmemory", "1"], "out_of_memory"), (["min-replicas-to-write", "1"], "writes_refused")]
    {
        let redis = Redis::start().await;
        let _: String = ask(&redis, &["CONFIG", "SET", setting[0], setting[1]]).await;
        let stage = Stage::node(Backend::Sqlite, &[("REDIS_URL", &redis.url())]).await;
        shows(&stage, "bus_up 1").await;
        is_away_for(&stage, word).await;
        let _: String = ask(&redis, &["CONFIG", "SET", setting[0], "0"]).await;
        eventually("all is well", async || reason(&stage).await.is_none()).await;
    }
}

#[tokio::test]
async fn a_node_does_not_start_with_one_of_a_cluster() {
    let cluster = RedisCluster::start().await;
    let refused = refusal(&cluster.server(0).url()).await;
    assert!(refused.contains("redis+cluster://"), "{refused}");
}

#[tokio::test]
async fn a_redis_that_becomes_a_replica_is_told_and_taken_back() {
    let (redis, other) = (Redis::start().await, Redis::start().await);
    let (first, second) = two_nodes(&[("REDIS_URL", &redis.url())]).await;
    let port = other.address().port().to_string();
    let _: String = ask(&redis, &["REPLICAOF", "127.0.0.1", &port]).await;
    is_away_for(&first, "read_only").await;
    is_away_for(&second, "read_only").await;
    let (mut ann, mut bob, room) = in_a_room(&first, &second).await;
    says(&mut ann, &mut bob, &room, "through the store").await;
    let _: String = ask(&redis, &["REPLICAOF", "NO", "ONE"]).await;
    shows(&first, "bus_up 1").await;
    shows(&second, "bus_up 1").await;
    says(&mut ann, &mut bob, &room, "through the bus").await;
}

#[tokio::test]
async fn a_redis_whose_password_changes_is_told() {
    let redis = Redis::start().await;
    let stage = Stage::node(Backend::Sqlite, &[("REDIS_URL", &redis.url())]).await;
    shows(&stage, "bus_up 1").await;
    redis.restart_with(&["requirepass another"]).await;
    is_away_for(&stage, "wrong_password").await;
    redis.restart_with(&[]).await;
    shows(&stage, "bus_up 1").await;
}

#[tokio::test]
async fn a_redis_that_comes_back_older_is_told() {
    let redis = Redis::start().await;
    let stage = Stage::node(Backend::Sqlite, &[("REDIS_URL", &redis.url())]).await;
    shows(&stage, "bus_up 1").await;
    redis.kill();
    let fake = Fake::at(redis.address().port(), OLD).await;
    is_away_for(&stage, "too_old").await;
    drop(fake);
    redis.restart().await;
    shows(&stage, "bus_up 1").await;
}

#[tokio::test]
async fn a_redis_whose_memory_is_full_passes_messages_on_and_says_so() {
    let redis = Redis::start().await;
    let (first, second) = two_nodes(&[("REDIS_URL", &redis.url())]).await;
    let _: String = ask(&redis, &["CONFIG", "SET", "maxmemory", "1"]).await;
    is_away_for(&first, "out_of_memory").await;
    let (mut ann, mut bob, room) = in_a_room(&first, &second).await;
    let known = count(&second, HEARD);
    ann.publish(&room.channel, json!({ "type": "message", "body": "hi" })).await;
    assert_eq!(bob.hears(&room.channel).await["body"], "hi");
    eventually("it came by the bus", async || count(&second, HEARD) > known).await;
    let _: String = ask(&redis, &["CONFIG", "SET", "maxmemory", "0"]).await;
    eventually("all is well", async || reason(&first).await.is_none()).await;
}
