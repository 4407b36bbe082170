//! Where the benches of the log run: a store of their own, with rooms and people in it.

use std::sync::Arc;
use std::time::Duration;

use anyhow::ensure;
use chassis::testing::Schema;
use chat_server::protocol::Json;
use chat_server::room::{LogId, MessageId, RoomId};
use chat_server::store::{
    Access, Committer, Draft, EventKind, Meters, Published, Settings, Store, Target, Wiring,
};
use serde_json::json;
use sqlx::{AssertSqlSafe, PgPool, SqlitePool};
use tokio_util::task::TaskTracker;
use uuid::Uuid;

/// What a message says: with what is around it about 200 bytes, as in the other measurements.
const BODY: &str = "The quick brown fox jumps over the lazy dog.";

/// The database beneath a store.
#[derive(Debug)]
pub(crate) enum Raw {
    Postgres(PgPool),
    Sqlite(SqlitePool),
}

/// A store of one's own; its data goes with it.
#[derive(Debug)]
pub(crate) struct Bed {
    pub(crate) name: &'static str,
    pub(crate) store: Arc<Store>,
    pub(crate) raw: Raw,
    _data: Option<tempfile::TempDir>,
    _schema: Option<Schema>,
}

impl Bed {
    /// A schema in the PostgreSQL that `DATABASE_URL` names.
    pub(crate) async fn postgres() -> anyhow::Result<Self> {
        let schema = Schema::create().await;
        let store = open(Target::Postgres(schema.url().into())).await?;
        let raw = Raw::Postgres(PgPool::connect_lazy(schema.url())?);
        Ok(Self { name: "PostgreSQL", store, raw, _data: None, _schema: Some(schema) })
    }

    /// A file.
    pub(crate) async fn sqlite() -> anyhow::Result<Self> {
        let data = tempfile::tempdir()?;
        let file = data.path().join("veza.db");
        let url = format!("sqlite:{}", file.display());
        let store = open(Target::Sqlite(file)).await?;
        let raw = Raw::Sqlite(SqlitePool::connect_lazy(&url)?);
        Ok(Self { name: "SQLite", store, raw, _data: Some(data), _schema: None })
    }

    /// Runs statements.
    pub(crate) async fn run(&self, sql: String) -> anyhow::Result<()> {
        let sql = AssertSqlSafe(sql);
        match &self.raw {
            Raw::Postgres(pool) => sqlx::raw_sql(sql).execute(pool).await.map(|_| ())?,
            Raw::Sqlite(pool) => sqlx::raw_sql(sql).execute(pool).await.map(|_| ())?,
        }
        Ok(())
    }

    /// An id as it stands in a statement.
    pub(crate) fn id(&self, id: Uuid) -> String {
        match &self.raw {
            Raw::Postgres(_) => format!("'{id}'::uuid"),
            Raw::Sqlite(_) => format!("x'{}'", id.simple()),
        }
    }

    /// Rooms with the members `user0`, `user1` ..
    pub(crate) async fn rooms(&self, rooms: usize, people: usize) -> anyhow::Result<Vec<RoomId>> {
        let rooms: Vec<RoomId> = (0..rooms).map(|_| RoomId::new()).collect();
        for room in &rooms {
            let id = self.id(room.uuid());
            let user = |number| format!("({id}, 'user{number}', 2, 0)");
            let members: Vec<String> = (0..people).map(user).collect();
            self.run(format!(
                "INSERT INTO rooms (id, kind, created_at) VALUES ({id}, 1, 0); \
                 INSERT INTO members (room_id, user_id, role, joined_at) VALUES {};",
                members.join(", ")
            ))
            .await?;
        }
        Ok(rooms)
    }

    /// Fails where the server would not keep what it has acknowledged.
    pub(crate) async fn ensure_durable(&self) -> anyhow::Result<String> {
        let Raw::Postgres(pool) = &self.raw else {
            return Ok("journal_mode = wal, synchronous = full".to_owned());
        };
        let mut settings = Vec::new();
        for name in ["fsync", "synchronous_commit", "full_page_writes", "commit_delay"] {
            let query = sqlx::query_scalar("SELECT current_setting($1)").bind(name);
            let value: String = query.fetch_one(pool).await?;
            let is_on = name == "commit_delay" || value == "on";
            ensure!(is_on, "{name} is {value}: nothing to compare with what is durable");
            settings.push(format!("{name} = {value}"));
        }
        let version: String = sqlx::query_scalar("SHOW server_version").fetch_one(pool).await?;
        Ok(format!("{version}, {}", settings.join(", ")))
    }
}

/// A room and its channel.
type Room = (RoomId, Arc<str>);

/// Messages to write.
#[derive(Debug, Clone)]
pub(crate) struct Source {
    rooms: Arc<Vec<Room>>,
    people: usize,
}

impl Source {
    pub(crate) fn new(rooms: &[RoomId], people: usize) -> Self {
        let rooms = rooms.iter().map(|room| (*room, room.channel())).collect();
        Self { rooms: Arc::new(rooms), people }
    }

    pub(crate) fn message(&self) -> Draft {
        let (room, channel) = &self.rooms[rand::random_range(0..self.rooms.len())];
        message(room.log(), channel, rand::random_range(0..self.people))
    }
}

/// A committer that publishes to nobody.
pub(crate) fn committer(store: &Arc<Store>) -> Arc<Committer> {
    let publish = Arc::new(|published: Vec<Published>| drop(std::hint::black_box(published)));
    let wiring = Wiring { store: store.clone(), publish, meters: Meters::default() };
    Committer::start(wiring, &TaskTracker::new())
}

/// A message of somebody, with a key.
fn message(log: LogId, channel: &Arc<str>, user: usize) -> Draft {
    let id = MessageId::new();
    let sender = format!("user{user}");
    let idem = Uuid::new_v4();
    let data = json!({
        "type": "message", "id": id, "body": BODY,
        "sender": { "id": sender, "name": "Somebody" }, "idem": idem.to_string(),
    });
    Draft {
        log,
        channel: channel.clone(),
        id,
        kind: EventKind::Message,
        sender: sender.into(),
        idem: Some(idem),
        digest: 1,
        data: Json::from_value(&data).expect("it is an object"),
        access: Access::Member,
        accepted: tokio::time::Instant::now(),
    }
}

/// The value at or below which so many thousandths of the sorted values lie, in milliseconds.
pub(crate) fn percentile(sorted: &[Duration], thousandths: usize) -> f64 {
    let place = (sorted.len() * thousandths).div_ceil(1000);
    sorted.get(place.clamp(1, sorted.len()) - 1).map_or(0.0, |value| value.as_secs_f64() * 1e3)
}

async fn open(target: Target) -> anyhow::Result<Arc<Store>> {
    let settings = Settings { pool_size: 4, ..Settings::new(target) };
    Ok(Store::open(&settings).await?)
}
