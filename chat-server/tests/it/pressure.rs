//! What the server does when memory, room for backlogs or its cores run short.

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use chassis::telemetry::resident_bytes;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use crate::harness::http::{self, Answer};
use crate::harness::{Client, Stage};

/// What the process may use in these tests: several times what it uses.
const LIMIT: u64 = 512 << 20;

/// For cores that others use too.
const PATIENCE: Duration = Duration::from_secs(60);

/// Memory that is used so that so much of the limit is.
fn ballast(percent: u64) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    // Written to, so that it is there; piece by piece, for what the allocator has kept of earlier
    // pieces is given out again first.
    while resident_bytes().unwrap() * 100 / LIMIT < percent {
        all.push(black_box(vec![1; 4 << 20]));
    }
    all
}

/// Waits until something is true. Between two looks the server is asked how it is, so that the
/// runtime waits for a socket and its timers get their turn.
async fn until(stage: &Stage, what: &str, holds: impl Fn() -> bool) {
    let wait = async {
        while !holds() {
            http::get(stage.addresses.http, "/health/live", &[]).await;
        }
    };
    assert!(timeout(PATIENCE, wait).await.is_ok(), "{what}");
}

/// What those who want to come in are told, at each door.
async fn knock(stage: &Stage) -> Vec<Answer> {
    let upgrade = [
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    ];
    let head = http::head("GET", "/connection/websocket", &upgrade);
    let json = "Content-Type: application/json";
    let mut answers = Vec::new();
    for port in [stage.addresses.http, stage.addresses.connections] {
        answers.push(http::raw(port, &head).await);
        answers.push(http::get(port, "/connection/sse?cf_connect=x", &[]).await);
        answers.push(http::post(port, "/connection/http_stream", &[json], b"{}").await);
    }
    answers
}

/// The status of readiness and what it says of one check.
async fn ready(stage: &Stage, check: &str) -> (u16, Value) {
    let answer = http::get(stage.addresses.http, "/health/ready", &[]).await;
    let body: Value = serde_json::from_str(&answer.body).unwrap();
    let reasons = body["reasons"].as_array().unwrap();
    let found = reasons.iter().find(|reason| reason["check"] == check);
    (answer.status, found.map_or(Value::Null, |found| found["status"].clone()))
}

fn metric(stage: &Stage, series: &str) -> f64 {
    let text = stage.telemetry.render();
    let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {series}")).parse().unwrap()
}

fn refused_for_memory(stage: &Stage) -> f64 {
    metric(stage, "chat_refused_connections_total{reason=\"memory\"}")
}

#[tokio::test]
async fn short_of_memory_new_connections_are_refused_and_those_inside_go_on() {
    let stage = Stage::with_config(|config| config.limits.memory_limit_bytes = LIMIT).await;
    let mut ann = stage.connect("ann").await;
    ann.subscribe("lobby").await;
    for percent in [92, 97] {
        let most = ballast(percent);
        until(&stage, "memory is short", || metric(&stage, "memory_short") > 0.0).await;
        let before = refused_for_memory(&stage);
        let answers = knock(&stage).await;
        for answer in &answers {
            let problem = answer.problem();
            let found = (answer.status, &problem["reason"], answer.header("retry-after"));
            assert_eq!(found, (503, &json!("memory"), Some("5")), "{problem}");
        }
        assert!(refused_for_memory(&stage) >= before + answers.len() as f64);
        ann.publish("lobby", json!("still here")).await;
        assert_eq!(ready(&stage, "memory_for_connections").await, (503, json!("failing")));
        let live = http::get(stage.addresses.http, "/health/live", &[]).await;
        assert_eq!(live.status, 200);
        drop(most);
        until(&stage, "memory is there again", || metric(&stage, "memory_short") == 0.0).await;
        stage.connect("bob").await;
        assert_eq!(ready(&stage, "memory_for_connections").await.1, Value::Null);
    }
}

#[tokio::test]
async fn memory_has_to_be_clearly_enough_before_anybody_is_let_in_again() {
    let stage = Stage::with_config(|config| config.limits.memory_limit_bytes = LIMIT).await;
    let most = ballast(87);
    // Not short yet, on the way up.
    let looked = Instant::now();
    while looked.elapsed() < Duration::from_secs(1) {
        stage.connect("ann").await;
    }
    let rest = ballast(93);
    until(&stage, "memory is short", || metric(&stage, "memory_short") > 0.0).await;
    drop(rest);
    let looked = Instant::now();
    while looked.elapsed() < Duration::from_secs(1) {
        assert_eq!(knock(&stage).await[0].status, 503);
    }
    drop(most);
    until(&stage, "memory is there again", || metric(&stage, "memory_short") == 0.0).await;
    stage.connect("ann").await;
}

/// Sends the beginning of a frame and not the rest.
async fn half_a_frame(client: &mut Client) {
    // A masked text frame of 60,000 bytes (RFC 6455, section 5.2), of which 50,000 come.
    let mut bytes = vec![0x81, 0xFE, 0xEA, 0x60, 0, 0, 0, 0];
    bytes.resize(50_000, b' ');
    client.socket.get_mut().write_all(&bytes).await.unwrap();
}

#[tokio::test]
async fn half_a_frame_counts_and_who_sends_one_too_many_is_told_to_come_back() {
    let budget = |bytes| {
        Stage::with_config(move |config| {
            config.limits.outbound_budget_bytes = bytes;
        })
    };
    let stage = budget(300_000).await;
    let mut clients = Vec::new();
    let mut codes = Vec::new();
    for number in 0..12 {
        let mut client = stage.connect(&format!("user-{number}")).await;
        half_a_frame(&mut client).await;
        // The next read shows what became of it.
        match timeout(Duration::from_millis(300), client.closed()).await {
            Ok(code) => codes.push(code),
            Err(_elapsed) => clients.push(client),
        }
    }
    assert!((2..=6).contains(&clients.len()), "{} have their part", clients.len());
    assert!(codes.iter().all(|code| *code == 4001), "{codes:?}");
    // What is given up makes room.
    clients.clear();
    let mut late = stage.connect("late").await;
    until(&stage, "there is room", || metric(&stage, "websocket_connections_active") == 1.0).await;
    half_a_frame(&mut late).await;
    late.socket.get_mut().write_all(&[b' '; 10_008]).await.unwrap();
    // Blanks are no command: the whole frame has arrived.
    assert_eq!(late.closed().await, 3501);
}

/// Keeps the cores busy with work that does not wait, until told to end.
fn work(tasks: usize) -> (JoinSet<()>, Arc<AtomicBool>) {
    let (mut set, over) = (JoinSet::new(), Arc::new(AtomicBool::new(false)));
    for _ in 0..tasks {
        let over = over.clone();
        set.spawn(async move {
            while !over.load(Ordering::Relaxed) {
                let begun = Instant::now();
                while begun.elapsed() < Duration::from_millis(150) {
                    black_box((0..1000_u64).sum::<u64>());
                }
                tokio::task::yield_now().await;
            }
        });
    }
    (set, over)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cores_that_do_not_keep_up_are_told_and_nobody_is_sent_away_for_it() {
    let stage = Stage::start().await;
    let saturated = || metric(&stage, "cpu_saturated");
    until(&stage, "nothing is going on", || saturated() == 0.0).await;
    for _ in 0..2 {
        let (mut tasks, over) = work(4);
        until(&stage, "work waits", || saturated() == 1.0).await;
        assert_eq!(ready(&stage, "cpu").await, (200, json!("degraded")));
        stage.connect("ann").await;
        over.store(true, Ordering::Relaxed);
        while tasks.join_next().await.is_some() {}
        until(&stage, "the cores keep up", || saturated() == 0.0).await;
        assert_eq!(ready(&stage, "cpu").await, (200, Value::Null));
    }
    assert!(metric(&stage, "runtime_delay_seconds_count") > 10.0);
}
