//! What everyone together may do: requests of a client and connections of a person, over all
//! nodes, and by each node alone while Redis is away.

use std::time::Duration;

use chassis::redis::Location;
use chassis::redis::commands::{Cmd, FromRedisValue, cmd};
use chassis::testing::{Redis, deadline};
use chat_server::protocol::DisconnectCode;
use serde_json::json;
use tokio::time::Instant;
use uuid::Uuid;

use crate::harness::http::{self, Answer};
use crate::harness::{Client, Stage, eventually, token};

/// Redis and two nodes that have met there.
struct Pair {
    redis: Redis,
    client: chassis::redis::Redis,
    first: Stage,
    second: Stage,
}

impl Pair {
    async fn start(variables: &[(&str, &str)]) -> Self {
        let redis = Redis::start().await;
        let url = redis.url();
        let own = [("REDIS_URL", url.as_str()), ("REDIS_PREFIX", "pair")];
        let first = Stage::with(&[&own, variables].concat()).await;
        let second = first.twin().await;
        let timeout = Duration::from_secs(5);
        let location = Location::parse(&url.into()).unwrap();
        let config = chassis::redis::Config { location, size: 2, timeout };
        let client = chassis::redis::Redis::new(&config);
        let pair = Self { redis, client, first, second };
        pair.met(2).await;
        pair
    }

    /// Asks Redis itself.
    async fn query<T: FromRedisValue>(&self, words: &[&str]) -> T {
        let mut command: Cmd = cmd(words[0]);
        command.arg(&words[1..]);
        self.client.query(&command).await.unwrap()
    }

    /// So many nodes have a lease.
    async fn met(&self, nodes: u64) {
        eventually("the nodes have met", async || {
            self.query::<u64>(&["ZCARD", "pair:{nodes}:alive"]).await >= nodes
        })
        .await;
    }

    /// How many of Ann's connections Redis knows.
    async fn seats(&self) -> u64 {
        self.query(&["HLEN", "pair:s:ann"]).await
    }

    /// Requests by turns until each node has refused so many; how many passed.
    async fn spend(&self, requests: usize) -> u64 {
        let mut passed = 0;
        for _ in 0..requests {
            for node in [&self.first, &self.second] {
                passed += u64::from(is_counted(&request(node).await));
            }
        }
        passed
    }
}

/// A request that opens nothing, for it says not what.
async fn request(node: &Stage) -> Answer {
    http::get(node.addresses.http, "/connection/sse", &[]).await
}

fn is_counted(answer: &Answer) -> bool {
    match answer.status {
        400 => true,
        429 => false,
        _ => panic!("{answer:?}"),
    }
}

/// A connection of Ann that is let in or told why not.
async fn knock(node: &Stage) -> Result<Client, u16> {
    let mut client = node.socket().await;
    let connect = json!({ "id": 1, "connect": { "token": token("ann") } });
    client.text(&connect.to_string()).await;
    deadline(client.first()).await.map(|reply| {
        assert!(reply["connect"].is_object(), "{reply}");
        client
    })
}

async fn enter(node: &Stage) -> Client {
    knock(node).await.unwrap()
}

/// The code with which one more connection of Ann is refused.
async fn refused(node: &Stage) -> u16 {
    knock(node).await.map(|_| ()).unwrap_err()
}

const FULL: u16 = 4002;

#[tokio::test]
async fn requests_of_one_client_to_two_nodes_are_bounded_together() {
    let pair = Pair::start(&[("RATE_LIMIT_PER_MINUTE", "60")]).await;
    let begun = Instant::now();
    let passed = pair.spend(90).await;
    let refilled = begun.elapsed().as_secs() + 1;
    assert!((60..=60 + refilled).contains(&passed), "{passed} passed, {refilled} refilled");
    // Addresses are nobody's business.
    let keys: Vec<String> = pair.query(&["KEYS", "pair:q:*"]).await;
    assert!(keys.len() == 1 && !keys[0].contains("127"), "{keys:?}");
}

#[tokio::test]
async fn the_time_to_wait_is_true_whichever_node_says_it() {
    let pair = Pair::start(&[("RATE_LIMIT_PER_MINUTE", "120")]).await;
    let mut spent = 0;
    while is_counted(&request(&pair.first).await) {
        spent += 1;
    }
    assert!(spent >= 120, "{spent}");
    for node in [&pair.second, &pair.first, &pair.second] {
        let mut answer = request(node).await;
        // What refilled meanwhile is spent first.
        while is_counted(&answer) {
            answer = request(node).await;
        }
        let (asked, problem) = (Instant::now(), answer.problem());
        let wait = Duration::from_millis(problem["retry_after_ms"].as_u64().unwrap());
        assert!(wait <= Duration::from_millis(500), "one refills in half a second: {problem}");
        assert_eq!(answer.header("retry-after"), Some("1"));
        eventually("the next one passes", async || is_counted(&request(node).await)).await;
        let waited = asked.elapsed();
        let late = Duration::from_millis(400);
        assert!(waited + Duration::from_millis(20) >= wait && waited < wait + late, "{waited:?}");
    }
}

#[tokio::test]
async fn while_redis_is_away_each_node_holds_its_own_limit() {
    let pair = Pair::start(&[("RATE_LIMIT_PER_MINUTE", "60")]).await;
    pair.redis.kill();
    let begun = Instant::now();
    let passed = pair.spend(90).await;
    let refilled = 2 * (begun.elapsed().as_secs() + 1);
    assert!((120..=120 + refilled).contains(&passed), "{passed} passed, {refilled} refilled");
}

#[tokio::test]
async fn a_redis_that_is_slow_costs_no_request_more_than_a_moment() {
    let pair = Pair::start(&[("RATE_LIMIT_PER_MINUTE", "60")]).await;
    pair.redis.pause();
    let begun = Instant::now();
    let passed = pair.spend(90).await;
    let took = begun.elapsed();
    pair.redis.resume();
    let refilled = 2 * (took.as_secs() + 1);
    assert!((120..=120 + refilled).contains(&passed), "{passed} passed, {refilled} refilled");
    // 180 requests, of which one a second and node waits a tenth of one.
    assert!(took < Duration::from_secs(5), "{took:?}");
}

#[tokio::test]
async fn a_redis_that_cannot_write_leaves_the_limits_to_the_nodes() {
    for broken in [&["REPLICAOF", "127.0.0.1", "1"][..], &["CONFIG", "SET", "maxmemory", "1"]] {
        let limits = [("RATE_LIMIT_PER_MINUTE", "60"), ("MAX_CONNECTIONS_PER_USER", "2")];
        let pair = Pair::start(&limits).await;
        let () = pair.query(broken).await;
        let first = [enter(&pair.first).await, enter(&pair.first).await];
        assert_eq!(refused(&pair.first).await, FULL, "{broken:?}");
        let begun = Instant::now();
        let passed = pair.spend(90).await;
        let most = 120 + 2 * (begun.elapsed().as_secs() + 1);
        // More than one quota and the three connects: nobody counts for both.
        assert!((100..=most).contains(&passed), "{broken:?}: {passed} passed");
        drop(first);
    }
}

#[tokio::test]
async fn connections_of_a_person_are_counted_over_all_nodes() {
    let pair = Pair::start(&[("MAX_CONNECTIONS_PER_USER", "3")]).await;
    let (one, _two) = (enter(&pair.first).await, enter(&pair.first).await);
    let _three = enter(&pair.second).await;
    let asked = Instant::now();
    assert_eq!((refused(&pair.second).await, refused(&pair.first).await), (FULL, FULL));
    assert!(asked.elapsed() < Duration::from_secs(6), "{:?}", asked.elapsed());
    // Somebody else is not concerned, and nobody has no seat.
    pair.second.connect("bob").await;
    pair.second.anonymous().await;
    drop(one);
    let mut four = loop {
        if let Ok(client) = knock(&pair.second).await {
            break client;
        }
    };
    four.ask("ping", json!({})).await;
    assert_eq!(refused(&pair.first).await, FULL);
}

#[tokio::test]
async fn a_seat_is_given_back_however_the_session_ends() {
    let pair = Pair::start(&[("MAX_CONNECTIONS_PER_USER", "2")]).await;
    let mut forced = enter(&pair.first).await;
    let cut = enter(&pair.second).await;
    assert_eq!(pair.seats().await, 2);
    pair.second.control.disconnect("ann", DisconnectCode::Forced).await;
    assert_eq!(forced.closed().await, 3503);
    drop(cut);
    eventually("no seat is left", async || pair.seats().await == 0).await;
    let mut bad = pair.first.socket().await;
    bad.text(r#"{"id":1,"connect":{"token":"nonsense"}}"#).await;
    assert_eq!(bad.closed().await, 3500);
    assert_eq!(pair.seats().await, 0);
}

#[tokio::test]
async fn seats_of_nodes_that_are_dead_do_not_count() {
    let pair = Pair::start(&[("MAX_CONNECTIONS_PER_USER", "2")]).await;
    let _one = enter(&pair.first).await;
    let (connection, incarnation) = (Uuid::new_v4().to_string(), Uuid::new_v4().to_string());
    // Of a node whose lease is over.
    let () = pair.query(&["HSET", "pair:s:ann", &connection, &incarnation]).await;
    let asked = Instant::now();
    let two = enter(&pair.second).await;
    assert!(asked.elapsed() < Duration::from_secs(1), "{:?}", asked.elapsed());
    drop(two);
    eventually("the seat is given back", async || pair.seats().await == 1).await;
    // Of a node that was killed a moment ago: its lease goes on, but it is not renewed.
    let () = pair.query(&["HSET", "pair:s:ann", &connection, &incarnation]).await;
    let now: Vec<u64> = pair.query(&["TIME"]).await;
    let soon = (now[0] * 1000 + 4_900).to_string();
    let () = pair.query(&["ZADD", "pair:{nodes}:alive", &soon, &incarnation]).await;
    let asked = Instant::now();
    enter(&pair.second).await;
    assert!(asked.elapsed() < Duration::from_millis(3800), "{:?}", asked.elapsed());
}

#[tokio::test]
async fn a_seat_that_a_living_node_does_not_hold_keeps_nobody_out() {
    let pair = Pair::start(&[("MAX_CONNECTIONS_PER_USER", "2")]).await;
    let _one = enter(&pair.first).await;
    let seats: Vec<(String, String)> = pair.query(&["HGETALL", "pair:s:ann"]).await;
    let leaked = Uuid::new_v4().to_string();
    // Given back before Redis was told that it is taken.
    let () = pair.query(&["HSET", "pair:s:ann", &leaked, &seats[0].1]).await;
    let asked = Instant::now();
    let _two = enter(&pair.second).await;
    assert!(asked.elapsed() < Duration::from_secs(3), "{:?}", asked.elapsed());
    let is_there: bool = pair.query(&["HEXISTS", "pair:s:ann", &leaked]).await;
    assert_eq!((pair.seats().await, is_there), (2, false));
}

#[tokio::test]
async fn who_knocks_again_at_a_full_house_is_answered_at_once() {
    let pair = Pair::start(&[("MAX_CONNECTIONS_PER_USER", "2")]).await;
    let (one, _two) = (enter(&pair.first).await, enter(&pair.first).await);
    assert_eq!(refused(&pair.second).await, FULL);
    let asked = Instant::now();
    assert_eq!(refused(&pair.second).await, FULL);
    assert!(asked.elapsed() < Duration::from_secs(1), "{:?}", asked.elapsed());
    // Nobody is refused by what is remembered alone.
    drop(one);
    eventually("the seat is given back", async || pair.seats().await == 1).await;
    enter(&pair.second).await;
}

#[tokio::test]
async fn after_a_flush_every_seat_is_taken_again() {
    let pair = Pair::start(&[("MAX_CONNECTIONS_PER_USER", "2")]).await;
    let (_one, _two) = (enter(&pair.first).await, enter(&pair.second).await);
    let () = pair.query(&["FLUSHALL"]).await;
    eventually("both are seated again", async || pair.seats().await == 2).await;
    assert_eq!((refused(&pair.first).await, refused(&pair.second).await), (FULL, FULL));
    let kept: i64 = pair.query(&["TTL", "pair:s:ann"]).await;
    assert!((80_000..=86_400).contains(&kept), "{kept}");
}

#[tokio::test]
async fn while_redis_is_away_each_node_counts_alone_and_nobody_is_put_out_after() {
    let pair = Pair::start(&[("MAX_CONNECTIONS_PER_USER", "2")]).await;
    let gone = enter(&pair.first).await;
    pair.redis.kill();
    let asked = Instant::now();
    let mut clients = vec![enter(&pair.first).await];
    assert_eq!(refused(&pair.first).await, FULL);
    drop(gone);
    clients.push(loop {
        if let Ok(client) = knock(&pair.first).await {
            break client;
        }
    });
    clients.push(enter(&pair.second).await);
    clients.push(enter(&pair.second).await);
    assert_eq!(refused(&pair.second).await, FULL);
    assert!(asked.elapsed() < Duration::from_secs(8), "{:?}", asked.elapsed());
    pair.redis.restart().await;
    eventually("all four are seated", async || pair.seats().await == 4).await;
    for client in &mut clients {
        client.ask("ping", json!({})).await;
    }
    clients.truncate(2);
    eventually("two are left", async || pair.seats().await == 2).await;
    assert_eq!(refused(&pair.first).await, FULL, "those of the other node count");
}
