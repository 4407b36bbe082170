//! Clients that read slowly or not at all: what they get, what they miss, what they cost others.
//!
//! A slow client here is one whose kernel takes next to nothing on its behalf. The room's other
//! member paces a test: it has received a frame, so the slow one was offered it before.

use std::time::Duration;

use chassis::testing::deadline;
use chat_server::config::Config;
use chat_server::protocol::Json;
use futures_util::future::join_all;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpSocket;

use crate::harness::{Client, Stage, eventually, token};

/// What the kernel takes for a slow client; doubled by Linux.
const RECEIVE_BUFFER_BYTES: u32 = 8 * 1024;

/// Bytes of an ordinary publication here.
const DATA_BYTES: usize = 4096;

/// The most that can be under way to a client that does not read: its backlog, and the buffers of
/// both kernels.
const UNREAD_BYTES_MAX: usize = (64 + 64 + 32) * 1024;

const ROOM: &str = "room";

/// A server with a long history and without limits of rate.
async fn stage(change: impl FnOnce(&mut Config)) -> (Stage, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("channels.toml");
    let options = "[without_namespace]\nhistory_size = 5000\nhistory_ttl = 300\n\
        force_recovery = true\npresence = true\njoin_leave = true\n\
        force_push_join_leave = true\nallow_subscribe = true\nallow_publish = true\n\
        allow_history = true\nallow_presence = true\n";
    std::fs::write(&file, options).unwrap();
    let stage = Stage::with_config(|config| {
        config.channels_file = Some(file);
        config.limits.message_rate = 100_000;
        config.limits.command_rate = 100_000;
        config.limits.requests_per_minute = 1_000_000;
        change(config);
    })
    .await;
    (stage, folder)
}

/// A client that has not said anything and for which the kernel takes next to nothing.
async fn narrow(stage: &Stage) -> Client {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(RECEIVE_BUFFER_BYTES).unwrap();
    let stream = deadline(socket.connect(stage.addresses.connections)).await.unwrap();
    stage.over(stream).await
}

/// Such a client in the room.
async fn slow_member(stage: &Stage, connect: Value) -> Client {
    let mut client = narrow(stage).await;
    let reply = client.ask("connect", connect).await;
    assert!(reply["connect"].is_object(), "{reply}");
    client.subscribe(ROOM).await;
    client
}

async fn member(stage: &Stage, user: &str) -> Client {
    let mut client = stage.connect(user).await;
    client.subscribe(ROOM).await;
    client
}

/// Publishes so many bytes and returns the offset.
async fn publish(stage: &Stage, bytes: usize) -> u64 {
    let data = Json::from_value(&"x".repeat(bytes)).unwrap();
    stage.control.publish(ROOM, data).await.unwrap().offset
}

/// Publishes, and waits until `pace` has it.
async fn publish_to(stage: &Stage, pace: &mut Client) -> u64 {
    let offset = publish(stage, DATA_BYTES).await;
    pace.expect(|message| message["push"]["pub"]["offset"] == offset).await;
    offset
}

/// The offset of the next publication.
async fn next_offset(client: &mut Client) -> u64 {
    client.publication().await["offset"].as_u64().unwrap()
}

fn metric(stage: &Stage, series: &str) -> u64 {
    let text = stage.telemetry.render();
    let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {series}")).parse().unwrap()
}

fn shed(stage: &Stage, kind: &str) -> u64 {
    metric(stage, &format!("chat_outbound_shed_total{{kind=\"{kind}\"}}"))
}

fn slow_ends(stage: &Stage) -> u64 {
    metric(stage, "chat_disconnects_total{code=\"3008\"}")
}

/// Publishes until a member was closed, and returns how many bytes that took.
async fn until_closed(stage: &Stage, pace: &mut Client) -> usize {
    let (before, mut bytes) = (shed(stage, "closed"), 0);
    while shed(stage, "closed") == before {
        publish_to(stage, pace).await;
        bytes += DATA_BYTES;
        assert!(bytes <= UNREAD_BYTES_MAX, "{bytes} bytes are kept for a client");
    }
    bytes
}

#[tokio::test]
async fn a_client_that_never_reads_is_closed_and_the_room_goes_on() {
    let (stage, _folder) = stage(|_| ()).await;
    let slow = slow_member(&stage, json!({ "token": token("slow") })).await;
    let mut bob = member(&stage, "bob").await;
    let bytes = until_closed(&stage, &mut bob).await;
    assert!(bytes > 64 * 1024, "a backlog holds 64 KiB, and it was closed after {bytes}");
    eventually("it is counted as slow", async || slow_ends(&stage) == 1).await;
    let active = || metric(&stage, "websocket_connections_active");
    eventually("its session is gone", async || active() == 1).await;
    let left = |message: &Value| message["push"]["leave"]["info"]["user"] == "slow";
    bob.expect(left).await;
    for _ in 0..50 {
        publish_to(&stage, &mut bob).await;
    }
    assert_eq!((shed(&stage, "closed"), slow_ends(&stage)), (1, 1));
    drop(slow);
}

#[tokio::test]
async fn a_lag_marker_names_exactly_what_was_not_sent() {
    let (stage, _folder) = stage(|_| ()).await;
    let connect = json!({ "token": token("slow"), "veza": { "lag": true } });
    let mut slow = slow_member(&stage, connect).await;
    let mut bob = member(&stage, "bob").await;
    let (mut known, mut top, mut markers) = (0, 0, 0);
    for _ in 0..3 {
        while shed(&stage, "lag") == markers {
            top = publish_to(&stage, &mut bob).await;
            let unread = usize::try_from(top - known).unwrap() * DATA_BYTES;
            assert!(unread <= UNREAD_BYTES_MAX, "{unread} bytes are kept for a client");
        }
        for _ in 0..20 {
            top = publish_to(&stage, &mut bob).await;
        }
        while known < top {
            let is = |message: &Value, kind| message["push"][kind].is_object();
            let push = slow.expect(|message| is(message, "pub") || is(message, "lag")).await;
            if is(&push, "pub") {
                known += 1;
                assert_eq!(push["push"]["pub"]["offset"], known, "in order, none twice");
                continue;
            }
            markers += 1;
            let lag = &push["push"]["lag"];
            assert_eq!(lag["from"], known + 1, "the first that was not sent");
            let to = lag["to"].as_u64().unwrap();
            fetch(&mut slow, &lag["epoch"], known + 1, to).await;
            known = to;
        }
        for _ in 0..3 {
            top = publish_to(&stage, &mut bob).await;
            known += 1;
            assert_eq!((known, next_offset(&mut slow).await), (top, top), "live again");
        }
    }
    assert_eq!((shed(&stage, "closed"), shed(&stage, "lag")), (0, markers));
}

/// Fetches exactly these publications.
async fn fetch(client: &mut Client, epoch: &Value, from: u64, to: u64) {
    let since = json!({ "offset": from - 1, "epoch": epoch });
    let page = json!({ "channel": ROOM, "since": since, "limit": to + 1 - from });
    let reply = client.ask("history", page).await["history"].clone();
    let missed = reply["publications"].as_array().unwrap();
    let offsets: Vec<_> =
        missed.iter().map(|publication| publication["offset"].as_u64().unwrap()).collect();
    assert_eq!(offsets, (from..=to).collect::<Vec<_>>());
    assert_eq!(&reply["epoch"], epoch);
}

#[tokio::test]
async fn typing_goes_first_then_presence_and_no_event() {
    let (stage, _folder) = stage(|_| ()).await;
    let mut slow = slow_member(&stage, json!({ "token": token("slow") })).await;
    let (mut bob, mut carol) = (member(&stage, "bob").await, stage.connect("carol").await);
    let typing = json!({ "data": { "typing": { "channel": ROOM, "on": true } } });
    let mut top = 0;
    while shed(&stage, "typing") == 0 {
        top = publish_to(&stage, &mut bob).await;
        bob.send("send", typing.clone()).await;
        bob.expect(|message| message["push"]["pub"]["data"]["type"] == "typing").await;
    }
    carol.subscribe(ROOM).await;
    bob.expect(|message| message["push"]["join"]["info"]["user"] == "carol").await;
    assert_eq!(shed(&stage, "presence"), 0, "half of the backlog is for presence");
    carol.ask("unsubscribe", json!({ "channel": ROOM })).await;
    while shed(&stage, "presence") == 0 {
        top = publish_to(&stage, &mut bob).await;
        carol.subscribe(ROOM).await;
        carol.ask("unsubscribe", json!({ "channel": ROOM })).await;
        bob.expect(|message| message["push"]["leave"]["info"]["user"] == "carol").await;
    }
    assert_eq!((shed(&stage, "closed"), shed(&stage, "lag")), (0, 0));
    for offset in 1..=top {
        let event = |message: &Value| message["push"]["pub"]["offset"].is_u64();
        assert_eq!(slow.expect(event).await["push"]["pub"]["offset"], offset);
    }
}

#[tokio::test]
async fn the_budget_over_all_connections_bites_first_and_is_given_back() {
    let (roomy, _folder) = stage(|_| ()).await;
    let mut bob = member(&roomy, "bob").await;
    let alone = slow_member(&roomy, json!({})).await;
    let without = until_closed(&roomy, &mut bob).await;
    drop(alone);

    let (stage, _folder) = stage(|config| config.limits.outbound_budget_bytes = 96 * 1024).await;
    let mut bob = member(&stage, "bob").await;
    for _ in 0..2 {
        let slow = join_all((0..8).map(|_| slow_member(&stage, json!({})))).await;
        let with = until_closed(&stage, &mut bob).await;
        assert!(with + 32 * 1024 < without, "{with} and alone {without} bytes");
        drop(slow);
        let active = || metric(&stage, "websocket_connections_active");
        eventually("they are gone", async || active() == 1).await;
    }
    let alone = slow_member(&stage, json!({})).await;
    let again = until_closed(&stage, &mut bob).await;
    assert!(again + 2 * DATA_BYTES >= without, "{again} and without a budget {without} bytes");
    drop(alone);
}

/// Asks for pages that are not read, in one frame or in one each, and then reads them.
async fn unread_pages(join: &str) {
    const PAGES: u64 = 8;
    let (stage, _folder) = stage(|_| ()).await;
    for _ in 0..100 {
        publish(&stage, 8000).await;
    }
    let mut bob = stage.connect("bob").await;
    let mut slow = narrow(&stage).await;
    slow.ask("connect", json!({})).await;
    let page =
        |id: u64| json!({ "id": id, "history": { "channel": ROOM, "limit": -1 } }).to_string();
    let pages: Vec<_> = (101..=100 + PAGES).map(page).collect();
    for frame in pages.join(join).split('\0') {
        slow.text(frame).await;
    }
    let asked = || metric(&stage, "chat_commands_total{method=\"history\"}");
    eventually("the first page is read", async || asked() > 0).await;
    for _ in 0..200 {
        bob.ask("ping", json!({})).await;
    }
    assert!(asked() <= 2, "{} pages wait for one client", asked());
    for id in 101..=100 + PAGES {
        let reply = slow.expect(|message| message["id"] == id).await;
        let publications = reply["history"]["publications"].as_array().unwrap();
        // A page ends at 512 KiB of data.
        assert_eq!((publications.len(), &publications[64]["offset"]), (65, &json!(65)));
    }
    assert_eq!((asked(), slow_ends(&stage)), (PAGES, 0));
}

#[tokio::test]
async fn who_asks_for_pages_without_reading_is_held_back_and_served_in_full() {
    unread_pages("\0").await;
}

#[tokio::test]
async fn pages_asked_for_in_one_frame_are_held_back_too() {
    unread_pages("\n").await;
}

#[tokio::test]
async fn an_unread_page_does_not_make_a_client_slow_in_its_rooms() {
    let (stage, _folder) = stage(|_| ()).await;
    for _ in 0..100 {
        publish(&stage, 8000).await;
    }
    let mut slow = slow_member(&stage, json!({})).await;
    let mut bob = member(&stage, "bob").await;
    let id = slow.send("history", json!({ "channel": ROOM, "limit": -1 })).await;
    let asked = || metric(&stage, "chat_commands_total{method=\"history\"}");
    eventually("the page is under way", async || asked() > 0).await;
    for offset in 101..=110 {
        assert_eq!(publish_to(&stage, &mut bob).await, offset);
    }
    slow.expect(|message| message["id"] == id).await;
    for offset in 101..=110 {
        assert_eq!(next_offset(&mut slow).await, offset);
    }
    assert_eq!(shed(&stage, "closed"), 0);
}

#[tokio::test]
async fn pages_that_are_never_read_end_the_connection() {
    let (stage, _folder) = stage(impatient).await;
    for _ in 0..200 {
        publish(&stage, 8000).await;
    }
    let mut slow = narrow(&stage).await;
    slow.ask("connect", json!({})).await;
    for _ in 0..2 {
        slow.send("history", json!({ "channel": ROOM, "limit": -1 })).await;
    }
    eventually("it is slow", async || slow_ends(&stage) == 1).await;
}

#[tokio::test]
async fn a_recovery_that_is_never_read_ends_the_connection() {
    let (stage, _folder) = stage(impatient).await;
    for _ in 0..200 {
        publish(&stage, 8000).await;
    }
    let mut slow = narrow(&stage).await;
    slow.ask("connect", json!({})).await;
    slow.send("subscribe", json!({ "channel": ROOM, "recover": true, "offset": 0 })).await;
    eventually("it is slow", async || slow_ends(&stage) == 1).await;
}

fn impatient(config: &mut Config) {
    config.timing.ping_interval = Duration::from_millis(300);
    config.timing.pong_timeout = Duration::from_millis(290);
}

/// Recovers a thousand publications while others come in.
async fn recovered_in_order(bytes: usize, mut ann: Client, stage: &Stage) {
    for _ in 0..1000 {
        publish(stage, bytes).await;
    }
    let from = json!({ "channel": ROOM, "recover": true, "offset": 0 });
    let id = ann.send("subscribe", from).await;
    let mut top = 1000;
    for _ in 0..10 {
        top = publish(stage, 10).await;
        tokio::task::yield_now().await;
    }
    let reply = ann.expect(|message| message["id"] == id).await["subscribe"].clone();
    assert_eq!((&reply["recovered"], &reply["was_recovering"]), (&json!(true), &json!(true)));
    let page = reply["publications"].as_array().unwrap();
    let data: usize = page.iter().map(|one| one["data"].to_string().len()).sum();
    assert!(page.len() <= 256 && data <= 64 * 1024, "{} and {data} bytes", page.len());
    assert_eq!(page.last().unwrap()["offset"], reply["offset"]);
    let mut known = 0;
    for publication in page {
        known += 1;
        assert_eq!(publication["offset"], known);
    }
    while known < top {
        known += 1;
        assert_eq!(next_offset(&mut ann).await, known, "in order, without a hole, none twice");
        if known.is_multiple_of(20) && top < 1100 {
            top = publish(stage, 10).await;
        }
    }
    let live = publish(stage, 10).await;
    assert_eq!((live, next_offset(&mut ann).await), (top + 1, top + 1));
}

#[tokio::test]
async fn a_long_recovery_comes_in_order_before_what_is_live() {
    for bytes in [10, 1000] {
        let (stage, _folder) = stage(|_| ()).await;
        recovered_in_order(bytes, stage.connect("ann").await, &stage).await;
    }
    let (stage, _folder) = stage(|_| ()).await;
    let mut ann = narrow(&stage).await;
    ann.ask("connect", json!({})).await;
    recovered_in_order(2000, ann, &stage).await;
}

#[tokio::test]
async fn a_slow_reader_that_reads_gets_everything_in_order() {
    /// All of it fits a backlog, so that however little the kernels take nothing is lost.
    const BEHIND: u64 = 15;
    let (stage, _folder) = stage(|_| ()).await;
    let mut slow = slow_member(&stage, json!({})).await;
    let mut bob = member(&stage, "bob").await;
    for offset in 1..=500 {
        publish_to(&stage, &mut bob).await;
        if offset > BEHIND {
            assert_eq!(next_offset(&mut slow).await, offset - BEHIND);
        }
    }
    for offset in 501 - BEHIND..=500 {
        assert_eq!(next_offset(&mut slow).await, offset);
    }
    assert_eq!(shed(&stage, "closed"), 0);
}
