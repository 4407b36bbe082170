//! The database goes away, stalls, fills up, is locked or only reads: who publishes into a room is
//! told so at once, everything else goes on, and nothing is needed for it to work again.

use std::time::Duration;

use chassis::testing::{FaultProxy, Postgres, deadline};
use chat_server::config::Config;
use serde_json::{Value, json};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{Connection as _, Executor as _};
use tokio::time::Instant;

use crate::harness::{Client, Stage, eventually, http};

/// In which every command is answered, whatever is the matter.
const ANSWER_MAX: Duration = Duration::from_secs(4);

/// What "at once" means on a machine with other things to do.
const AT_ONCE: Duration = Duration::from_secs(1);

/// How long the store may be away in these tests before the server is not ready.
const AWAY_MAX: Duration = Duration::from_secs(3);

/// Two people in a room and in a plain channel.
struct Talk {
    ann: Client,
    bob: Client,
    room: String,
    channel: String,
}

impl Talk {
    async fn on(stage: &Stage) -> Self {
        let mut ann = stage.connect("ann").await;
        let data = json!({ "name": "music", "visibility": "private", "members": ["bob"] });
        let made = ann.ask("rpc", json!({ "method": "room.create", "data": data })).await;
        let text = |field: &str| made["rpc"]["data"][field].as_str().unwrap().to_owned();
        let (room, channel) = (text("id"), text("channel"));
        let mut bob = stage.connect("bob").await;
        for client in [&mut ann, &mut bob] {
            client.subscribe(&channel).await;
            client.subscribe("lobby").await;
        }
        Self { ann, bob, room, channel }
    }

    /// Says something in the room; the reply and how long it took.
    async fn say(&mut self, data: Value) -> (Value, Duration) {
        let asked = Instant::now();
        let request = json!({ "channel": self.channel, "data": data });
        let reply = self.ann.ask("publish", request).await;
        assert!(asked.elapsed() < ANSWER_MAX, "{reply} after {:?}", asked.elapsed());
        (reply, asked.elapsed())
    }

    /// Says something and is refused for this reason.
    async fn refused(&mut self, reason: &str) -> Duration {
        let (reply, took) = self.say(message("is anybody there")).await;
        assert_eq!(reply["error"]["code"], 503, "{reply}");
        assert_eq!(reply["error"]["temporary"], true, "{reply}");
        assert!(reply["error"]["retry_after_ms"].as_u64().is_some_and(|wait| wait > 0), "{reply}");
        assert_eq!(reply["error"]["reason"], reason, "{reply}");
        took
    }

    /// Says something until it is taken; bob hears it.
    async fn goes_on(&mut self, stage: &Stage) {
        let body = uuid();
        let data = json!({ "type": "message", "body": body, "idem": uuid() });
        deadline(async {
            loop {
                let (reply, _) = self.say(data.clone()).await;
                if reply["publish"].is_object() {
                    break;
                }
                assert_eq!(reply["error"]["temporary"], true, "{reply}");
                noticed(stage, 1).await;
            }
        })
        .await;
        let channel = self.channel.clone();
        let fits = |push: &Value| push["channel"] == channel && push["pub"]["data"]["body"] == body;
        self.bob.expect(|message| fits(&message["push"])).await;
    }

    /// The channels that need no store.
    async fn plain_channels_go_on(&mut self) {
        let word = uuid();
        self.ann.publish("lobby", json!(word)).await;
        self.bob.expect(|message| message["push"]["pub"]["data"] == json!(word)).await;
    }

    /// The bodies of the room's messages, from the store.
    async fn bodies(&mut self) -> Vec<String> {
        let request = json!({ "channel": self.channel, "limit": 100 });
        let reply = self.ann.ask("history", request).await;
        let publications = reply["history"]["publications"].as_array();
        let publications = publications.unwrap_or_else(|| panic!("{reply}"));
        let bodies = publications.iter().filter_map(|it| it["data"]["body"].as_str());
        bodies.map(str::to_owned).collect()
    }
}

fn message(body: &str) -> Value {
    json!({ "type": "message", "body": body })
}

fn uuid() -> String {
    uuid::Uuid::new_v4().to_string()
}

fn away_soon(config: &mut Config) {
    config.store.away_max = AWAY_MAX;
}

async fn stage_on(url: &str) -> Stage {
    Stage::arranged(&[("DATABASE_URL", url)], away_soon).await
}

/// Waits until the server knows it.
async fn noticed(stage: &Stage, up: u8) {
    let line = format!("store_up {up}");
    let known = async || stage.telemetry.render().lines().any(|found| found == line);
    eventually(&format!("{line} in the metrics"), known).await;
}

/// What `/health/ready` answers, and what it says of the store.
async fn ready(stage: &Stage) -> (u16, String) {
    let answer = http::get(stage.addresses.http, "/health/ready", &[]).await;
    let body: Value = serde_json::from_str(&answer.body).unwrap();
    let reasons = body["reasons"].as_array().unwrap();
    let of_store = reasons.iter().find(|reason| reason["check"] == "store");
    let status = of_store.map_or("ok", |reason| reason["status"].as_str().unwrap());
    (answer.status, status.to_owned())
}

#[tokio::test]
async fn a_postgresql_that_crashed_is_answered_for_at_once_until_it_is_back() {
    let postgres = Postgres::start().await;
    let stage = stage_on(&postgres.url()).await;
    let mut talk = Talk::on(&stage).await;
    talk.goes_on(&stage).await;
    assert_eq!(ready(&stage).await, (200, "ok".to_owned()));

    let gone = Instant::now();
    postgres.kill().await;
    // Nobody asks, and yet it is noticed.
    noticed(&stage, 0).await;
    assert_eq!(ready(&stage).await, (200, "degraded".to_owned()));
    assert!(talk.refused("store_down").await < AT_ONCE);
    let get = json!({ "method": "room.get", "data": { "room": talk.room } });
    let refused = talk.ann.refused("rpc", get).await;
    assert_eq!(refused["code"], 503, "{refused}");
    talk.plain_channels_go_on().await;
    eventually("not ready", async || ready(&stage).await == (503, "failing".to_owned())).await;
    assert!(gone.elapsed() >= AWAY_MAX, "unready after {:?}", gone.elapsed());
    assert_eq!(http::get(stage.addresses.http, "/health/live", &[]).await.status, 200);
    talk.plain_channels_go_on().await;

    postgres.restart().await;
    noticed(&stage, 1).await;
    assert_eq!(ready(&stage).await, (200, "ok".to_owned()));
    talk.goes_on(&stage).await;
}

#[tokio::test]
async fn a_postgresql_that_is_restarted_costs_nobody_a_connection() {
    let postgres = Postgres::start().await;
    let stage = stage_on(&postgres.url()).await;
    let mut talk = Talk::on(&stage).await;
    talk.goes_on(&stage).await;
    for _ in 0..3 {
        postgres.stop().await;
        // Whether it is noticed by now or not.
        assert!(talk.refused("store_down").await < AT_ONCE);
        talk.plain_channels_go_on().await;
        postgres.restart().await;
        talk.goes_on(&stage).await;
    }
}

#[tokio::test]
async fn a_silent_network_is_answered_for_within_four_seconds_and_then_at_once() {
    let postgres = Postgres::start().await;
    let proxy = FaultProxy::start(postgres.address()).await;
    let stage = stage_on(&postgres.url_at(proxy.address())).await;
    let mut talk = Talk::on(&stage).await;
    talk.goes_on(&stage).await;

    proxy.stall();
    let (body, idem) = (uuid(), uuid());
    let data = json!({ "type": "message", "body": body, "idem": idem });
    let (reply, _) = talk.say(data.clone()).await;
    assert_eq!(reply["error"]["code"], 503, "{reply}");
    assert_eq!(reply["error"]["temporary"], true, "{reply}");
    noticed(&stage, 0).await;
    assert!(talk.refused("store_down").await < AT_ONCE);
    talk.plain_channels_go_on().await;

    proxy.resume();
    noticed(&stage, 1).await;
    talk.goes_on(&stage).await;
    // What became of the first one was not known: said again it is there once.
    let (reply, _) = talk.say(data).await;
    assert!(reply["publish"].is_object(), "{reply}");
    let bodies = talk.bodies().await;
    assert_eq!(bodies.iter().filter(|known| **known == body).count(), 1, "{bodies:?}");
}

#[tokio::test]
async fn connections_that_are_cut_are_replaced_without_a_pause() {
    let postgres = Postgres::start().await;
    let proxy = FaultProxy::start(postgres.address()).await;
    let stage = stage_on(&postgres.url_at(proxy.address())).await;
    let mut talk = Talk::on(&stage).await;
    for _ in 0..3 {
        proxy.cut();
        let cut = Instant::now();
        talk.goes_on(&stage).await;
        assert!(cut.elapsed() < AT_ONCE, "{:?}", cut.elapsed());
    }
}

#[tokio::test]
async fn a_postgresql_that_only_reads_is_read_and_written_to_again_later() {
    let postgres = Postgres::start().await;
    let stage = stage_on(&postgres.url()).await;
    let mut talk = Talk::on(&stage).await;
    talk.goes_on(&stage).await;
    let mut operator = sqlx::PgConnection::connect(&postgres.url()).await.unwrap();
    operator.execute("ALTER SYSTEM SET default_transaction_read_only = on").await.unwrap();
    operator.execute("SELECT pg_reload_conf()").await.unwrap();

    noticed(&stage, 0).await;
    assert!(talk.refused("store_read_only").await < AT_ONCE);
    assert_eq!(talk.bodies().await.len(), 1);
    talk.plain_channels_go_on().await;
    assert_eq!(ready(&stage).await.1, "degraded");

    operator.execute("SET default_transaction_read_only = off").await.unwrap();
    operator.execute("ALTER SYSTEM RESET default_transaction_read_only").await.unwrap();
    operator.execute("SELECT pg_reload_conf()").await.unwrap();
    talk.goes_on(&stage).await;
    assert_eq!(ready(&stage).await, (200, "ok".to_owned()));
}

#[tokio::test]
async fn a_sqlite_file_that_somebody_else_locks_is_read_and_written_to_again_later() {
    let stage = Stage::arranged(&[], away_soon).await;
    let mut talk = Talk::on(&stage).await;
    talk.goes_on(&stage).await;
    let options = SqliteConnectOptions::new().filename(stage.file());
    let mut other = SqliteConnection::connect_with(&options).await.unwrap();
    let lock = other.begin_with("BEGIN IMMEDIATE").await.unwrap();

    talk.refused("store_locked").await;
    noticed(&stage, 0).await;
    assert!(talk.refused("store_locked").await < AT_ONCE);
    assert_eq!(talk.bodies().await.len(), 1);
    talk.plain_channels_go_on().await;
    eventually("not ready", async || ready(&stage).await == (503, "failing".to_owned())).await;

    lock.rollback().await.unwrap();
    talk.goes_on(&stage).await;
    assert_eq!(ready(&stage).await, (200, "ok".to_owned()));
}

#[tokio::test]
async fn a_full_disk_is_read_and_written_to_again_when_there_is_room() {
    let stage = Stage::arranged(&[], |config| {
        away_soon(config);
        config.store.hazards.pages_max = Some(200);
    })
    .await;
    let mut talk = Talk::on(&stage).await;
    talk.goes_on(&stage).await;
    let options = SqliteConnectOptions::new().filename(stage.file());
    let mut other = SqliteConnection::connect_with(&options).await.unwrap();
    other.execute("CREATE TABLE filler AS SELECT zeroblob(200 * 4096) AS filler").await.unwrap();

    // Longer than what is left on any page.
    let long = "x".repeat(8000);
    let (reply, _) = talk.say(message(&long)).await;
    assert_eq!(reply["error"]["reason"], "store_full", "{reply}");
    noticed(&stage, 0).await;
    assert!(talk.refused("store_full").await < AT_ONCE);
    assert_eq!(talk.bodies().await.len(), 1);
    talk.plain_channels_go_on().await;

    other.execute("DROP TABLE filler").await.unwrap();
    talk.goes_on(&stage).await;
    let (reply, _) = talk.say(message(&long)).await;
    assert!(reply["publish"].is_object(), "{reply}");
    assert_eq!(talk.bodies().await.len(), 3);
    assert_eq!(ready(&stage).await, (200, "ok".to_owned()));
}
