//! A store without a server, and the database beneath it: what a test of the store begins with.

use std::sync::Arc;

use chassis::testing::Schema;
use chat_server::protocol::Json;
use chat_server::room::{Kind, LogId, MessageId, Role, RoomId};
use chat_server::store::{Access, Draft, EventKind, Settings, Store, Target};
use serde_json::json;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, PgPool, Postgres, Row, Sqlite, SqlitePool, Transaction};
use uuid::Uuid;

use super::stores::{Backend, Begin};

/// A store of one's own.
#[derive(Debug)]
pub struct Vault {
    pub store: Arc<Store>,
    pub settings: Settings,
    raw: Raw,
    _data: tempfile::TempDir,
    _schema: Option<Schema>,
}

#[derive(Debug)]
enum Raw {
    Postgres(PgPool),
    Sqlite(SqlitePool),
}

/// A lock.
#[derive(Debug)]
#[expect(dead_code, reason = "they are held, not used")]
pub enum Held {
    Postgres(Transaction<'static, Postgres>),
    Sqlite(Transaction<'static, Sqlite>),
}

impl Begin for Vault {
    async fn on(backend: Backend) -> Self {
        let data = tempfile::tempdir().unwrap();
        let file = data.path().join("veza.db");
        let schema = match backend {
            Backend::Sqlite => None,
            Backend::Postgres => Some(Schema::create().await),
        };
        let target = match &schema {
            None => Target::Sqlite(file.clone()),
            Some(schema) => Target::Postgres(schema.url().into()),
        };
        let settings = Settings { pool_size: 4, ..Settings::new(target) };
        let store = Store::open(&settings).await.unwrap();
        let raw = match &schema {
            None => {
                let options = SqliteConnectOptions::new().filename(file);
                Raw::Sqlite(SqlitePool::connect_lazy_with(options))
            }
            Some(schema) => Raw::Postgres(PgPool::connect_lazy(schema.url()).unwrap()),
        };
        Self { store, settings, raw, _data: data, _schema: schema }
    }
}

impl Vault {
    /// The same database, opened by another process.
    pub async fn node(&self) -> Arc<Store> {
        Store::open(&self.settings).await.unwrap()
    }

    /// Locks a log until the result is dropped.
    pub async fn hold(&self, log: LogId) -> Held {
        match &self.raw {
            Raw::Postgres(pool) => {
                let mut held = pool.begin().await.unwrap();
                let lock = sqlx::query("SELECT id FROM rooms WHERE id = $1 FOR UPDATE");
                lock.bind(log.uuid()).fetch_one(&mut *held).await.unwrap();
                Held::Postgres(held)
            }
            Raw::Sqlite(pool) => Held::Sqlite(pool.begin_with("BEGIN IMMEDIATE").await.unwrap()),
        }
    }

    /// Ends the connections that are at work in this PostgreSQL, and says how many.
    pub async fn end_users(&self) -> usize {
        let Raw::Postgres(pool) = &self.raw else { return 0 };
        let sql = "SELECT pg_terminate_backend(pid) FROM (SELECT DISTINCT l.pid \
            FROM pg_locks l JOIN pg_class c ON c.oid = l.relation \
            JOIN pg_namespace n ON n.oid = c.relnamespace \
            WHERE n.nspname = current_schema() AND l.pid <> pg_backend_pid()) AS users";
        sqlx::query(sql).fetch_all(pool).await.unwrap().len()
    }

    /// Runs a statement behind the store's back.
    pub async fn run(&self, sql: impl Into<String>) -> u64 {
        let sql = AssertSqlSafe(sql.into());
        match &self.raw {
            Raw::Postgres(pool) => sqlx::query(sql).execute(pool).await.unwrap().rows_affected(),
            Raw::Sqlite(pool) => sqlx::query(sql).execute(pool).await.unwrap().rows_affected(),
        }
    }

    /// The first column of a query, of numbers.
    pub async fn numbers(&self, sql: impl Into<String>) -> Vec<i64> {
        let sql = AssertSqlSafe(sql.into());
        match &self.raw {
            Raw::Postgres(pool) => {
                let rows = sqlx::query(sql).fetch_all(pool).await.unwrap();
                rows.iter().map(|row| row.get(0)).collect()
            }
            Raw::Sqlite(pool) => {
                let rows = sqlx::query(sql).fetch_all(pool).await.unwrap();
                rows.iter().map(|row| row.get(0)).collect()
            }
        }
    }

    /// The only value of a query, of bytes.
    pub async fn blob(&self, sql: &'static str) -> Vec<u8> {
        match &self.raw {
            Raw::Postgres(pool) => sqlx::query_scalar(sql).fetch_one(pool).await.unwrap(),
            Raw::Sqlite(pool) => sqlx::query_scalar(sql).fetch_one(pool).await.unwrap(),
        }
    }

    /// An id as it stands in a statement.
    pub fn id(&self, id: Uuid) -> String {
        match &self.raw {
            Raw::Postgres(_) => format!("'{id}'::uuid"),
            Raw::Sqlite(_) => format!("x'{}'", id.simple()),
        }
    }

    /// An id made of a number that a statement knows by this name.
    pub fn id_of(&self, number: &str) -> String {
        match &self.raw {
            Raw::Postgres(_) => format!("lpad(to_hex({number}), 32, '0')::uuid"),
            Raw::Sqlite(_) => format!("unhex(printf('%032x', {number}))"),
        }
    }

    /// Bytes as they stand in a statement.
    pub fn bytes(&self, bytes: &[u8]) -> String {
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        match &self.raw {
            Raw::Postgres(_) => format!("'\\x{hex}'::bytea"),
            Raw::Sqlite(_) => format!("x'{hex}'"),
        }
    }

    /// A room.
    pub async fn room(&self, kind: Kind) -> RoomId {
        let room = RoomId::new();
        self.make_room(room, kind).await;
        room
    }

    /// A room of this id.
    pub async fn make_room(&self, room: RoomId, kind: Kind) {
        let (id, kind) = (self.id(room.uuid()), kind.number());
        let sql = format!("INSERT INTO rooms (id, kind, created_at) VALUES ({id}, {kind}, 0)");
        self.run(sql).await;
    }

    /// A room with these members.
    pub async fn room_of(&self, people: &[&str]) -> RoomId {
        let room = self.room(Kind::Public).await;
        for user in people {
            self.member(room, user, Some(Role::Member)).await;
        }
        room
    }

    /// Makes somebody something in a room.
    pub async fn member(&self, room: RoomId, user: &str, role: Option<Role>) {
        let role = role.map_or("NULL".to_owned(), |role| role.number().to_string());
        let room = self.id(room.uuid());
        let sql = format!(
            "INSERT INTO members (room_id, user_id, role, joined_at) \
             VALUES ({room}, '{user}', {role}, 0) \
             ON CONFLICT (room_id, user_id) DO UPDATE SET role = excluded.role"
        );
        self.run(sql).await;
    }

    /// The offsets that a log has.
    pub async fn offsets(&self, log: LogId) -> Vec<i64> {
        let id = self.id(log.uuid());
        self.numbers(format!("SELECT off FROM messages WHERE room_id = {id} ORDER BY off")).await
    }

    /// The newest offset, as the room has it.
    pub async fn head(&self, log: LogId) -> Option<i64> {
        let id = self.id(log.uuid());
        self.numbers(format!("SELECT head FROM rooms WHERE id = {id}")).await.first().copied()
    }
}

/// A message of a member.
pub fn draft(room: RoomId, sender: &str, idem: Option<Uuid>) -> Draft {
    Draft {
        log: room.log(),
        channel: room.channel(),
        id: MessageId::new(),
        kind: EventKind::Message,
        sender: sender.into(),
        idem,
        digest: 1,
        data: Json::from_value(&json!({ "type": "message", "body": "hi" })).unwrap(),
        access: Access::Member,
        accepted: tokio::time::Instant::now(),
    }
}
