//! A server of one's own and clients that speak the protocol.
//!
//! [`Stage`] starts a server in this process on free ports; [`Client`] is a raw client that sends
//! exactly what a test says, [`binary`] has the same in Protobuf, [`stream`] one over SSE or HTTP
//! streaming. Nothing here sleeps: every wait ends on a message or a deadline.

mod binary;
pub mod http;
pub mod rooms;
mod stores;
mod stream;
pub mod vault;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use chassis::config::Source;
use chassis::shutdown::Shutdown;
use chassis::telemetry::Handles;
use chassis::testing::{Issuer, Schema, deadline, redis_url};
use chat_server::config::Config;
use chat_server::control::Control;
use chat_server::metrics::BUCKETS;
use chat_server::server::{Addresses, Report, Server};
use chat_server::store::Target;
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::{WebSocketStream, client_async};
use tokio_util::task::TaskTracker;
use uuid::Uuid;

pub use self::binary::{publish, subscribe};
pub(crate) use self::stores::on_both_stores;
pub use self::stores::{Backend, Begin, run_on};
pub use self::stream::encode;

/// The secret of every test server.
pub const SECRET: &str = "a secret that only the tests of this server know";

/// A running server; dropping it ends it.
#[derive(Debug)]
pub struct Stage {
    pub addresses: Addresses,
    pub control: Control,
    pub shutdown: Shutdown,
    pub telemetry: Handles,
    running: JoinHandle<Report>,
    config: Box<Config>,
    kept: Arc<Kept>,
}

/// What outlives a server that is started again.
#[derive(Debug)]
struct Kept {
    _data: tempfile::TempDir,
    /// Where rooms are; without one they are in SQLite in `data`.
    _schema: Option<Schema>,
}

/// A client over WebSocket in JSON.
#[derive(Debug)]
pub struct Client {
    pub socket: WebSocketStream<TcpStream>,
    last_id: u64,
    /// Messages of a frame that were not asked for yet.
    unread: Vec<Value>,
}

impl Stage {
    /// A server with development's defaults.
    pub async fn start() -> Self {
        Self::with(&[]).await
    }

    /// A server with some variables set.
    pub async fn with(variables: &[(&str, &str)]) -> Self {
        Self::build(None, variables, |_| ()).await
    }

    /// A server whose configuration was changed in ways no variable allows.
    pub async fn with_config(change: impl FnOnce(&mut Config)) -> Self {
        Self::build(None, &[], change).await
    }

    /// A server with both.
    pub async fn arranged(variables: &[(&str, &str)], change: impl FnOnce(&mut Config)) -> Self {
        Self::build(None, variables, change).await
    }

    /// A server with this store.
    pub async fn on(backend: Backend) -> Self {
        Self::on_with(backend, &[]).await
    }

    /// A server with this store and some variables set. On PostgreSQL its bus goes through Redis,
    /// so that what is tested on both stores is tested on both buses.
    pub async fn on_with(backend: Backend, variables: &[(&str, &str)]) -> Self {
        match backend {
            Backend::Sqlite => Self::build(None, variables, |_| ()).await,
            Backend::Postgres => Self::node(backend, variables).await,
        }
    }

    /// A node of a deployment on this store and the tests' Redis; more of them are its twins.
    pub async fn node(backend: Backend, variables: &[(&str, &str)]) -> Self {
        let (redis, prefix) = meeting();
        let mut all = vec![("REDIS_URL", redis.as_str()), ("REDIS_PREFIX", prefix.as_str())];
        all.extend_from_slice(variables);
        let schema = match backend {
            Backend::Sqlite => None,
            Backend::Postgres => Some(Schema::create().await),
        };
        Self::build(schema, &all, |_| ()).await
    }

    /// Ends the server and starts it again, with the same settings and the same store.
    pub async fn restart(self) -> Self {
        self.shutdown.trigger();
        deadline(self.running).await.unwrap();
        Self::run(*self.config, self.kept).await
    }

    /// A second server on the same store; they know of each other only through it.
    pub async fn twin(&self) -> Self {
        Self::run(Config::clone(&self.config), self.kept.clone()).await
    }

    /// What the keys and topics of this deployment begin with.
    pub fn prefix(&self) -> &str {
        &self.config.nodes.as_ref().unwrap().prefix
    }

    /// The same with another configuration.
    pub async fn twin_with(&self, change: impl FnOnce(&mut Config)) -> Self {
        let mut config = Config::clone(&self.config);
        change(&mut config);
        Self::run(config, self.kept.clone()).await
    }

    async fn build(
        schema: Option<Schema>,
        variables: &[(&str, &str)],
        change: impl FnOnce(&mut Config),
    ) -> Self {
        let data = tempfile::tempdir().unwrap();
        let dir = data.path().to_str().unwrap();
        let mut pairs = vec![
            ("PORT", "0"),
            ("WS_PORT", "0"),
            ("PROMETHEUS_PORT", "0"),
            ("JWT_SECRET", SECRET),
            ("DATA_DIR", dir),
        ];
        if let Some(schema) = &schema {
            pairs.push(("DATABASE_URL", schema.url()));
        }
        let meeting = is_on_redis().then(meeting);
        if let Some((redis, prefix)) = &meeting {
            pairs.extend([("REDIS_URL", redis.as_str()), ("REDIS_PREFIX", prefix.as_str())]);
        }
        for &(name, value) in variables {
            pairs.retain(|(known, _)| *known != name);
            pairs.push((name, value));
        }
        let mut config = Config::load(&Source::from_pairs(pairs)).unwrap();
        change(&mut config);
        Self::run(config, Arc::new(Kept { _data: data, _schema: schema })).await
    }

    async fn run(config: Config, kept: Arc<Kept>) -> Self {
        let telemetry = Handles::detached(&config.telemetry, BUCKETS).unwrap();
        let server = Box::pin(Server::bind(config.clone(), telemetry.clone())).await.unwrap();
        let (addresses, control) = (server.addresses(), server.control());
        let shutdown = server.shutdown();
        let running = TaskTracker::new().spawn(server.run());
        let config = Box::new(config);
        Self { addresses, control, shutdown, telemetry, running, config, kept }
    }

    /// Ends the server and says how it went.
    pub async fn stop(self) -> Report {
        self.shutdown.trigger();
        deadline(self.running).await.unwrap()
    }

    /// The file of the store, when it is one.
    pub fn file(&self) -> &Path {
        match &self.config.store.target {
            Target::Sqlite(path) => path,
            Target::Postgres(_) => panic!("the store of this stage is no file"),
        }
    }

    /// How many connections are open, not counting the one that asks.
    pub async fn connections(&self) -> u64 {
        let health = http::get(self.addresses.http, "/health", &[]).await;
        let health: Value = serde_json::from_str(&health.body).unwrap();
        health["connections"].as_u64().unwrap() - 1
    }

    /// A raw TCP connection to `WS_PORT`.
    pub async fn tcp(&self) -> TcpStream {
        deadline(TcpStream::connect(self.addresses.connections)).await.unwrap()
    }

    /// A client that has not said anything.
    pub async fn socket(&self) -> Client {
        self.over(self.tcp().await).await
    }

    /// A client that has not said anything, over a connection with its own settings.
    pub async fn over(&self, stream: TcpStream) -> Client {
        let url = format!("ws://{}/connection/websocket", self.addresses.connections);
        let request = url.into_client_request().unwrap();
        let (socket, _) = deadline(client_async(request, stream)).await.unwrap();
        Client { socket, last_id: 0, unread: Vec::new() }
    }

    /// A client that is connected without a token.
    pub async fn anonymous(&self) -> Client {
        let mut client = self.socket().await;
        client.ask("connect", json!({})).await;
        client
    }

    /// A client that is connected as `user`.
    pub async fn connect(&self, user: &str) -> Client {
        let mut client = self.socket().await;
        let reply = client.ask("connect", json!({ "token": token(user) })).await;
        assert!(reply["connect"]["client"].is_string(), "{reply}");
        client
    }
}

/// Where the nodes of a deployment of its own meet: the tests' Redis, and a prefix.
fn meeting() -> (String, String) {
    (redis_url(), format!("test-{}", Uuid::new_v4().simple()))
}

/// Whether every server here has the tests' Redis, also where a test does not say so: with
/// `TEST_BUS=redis`, one pass over the same tests for each bus.
fn is_on_redis() -> bool {
    #[expect(clippy::disallowed_methods, reason = "tests have no configuration of their own")]
    let bus = std::env::var("TEST_BUS");
    match bus.as_deref() {
        Err(_) | Ok("local") => false,
        Ok("redis") => true,
        Ok(other) => panic!("TEST_BUS is local or redis, not {other}"),
    }
}

/// A good token for an hour.
pub fn token(user: &str) -> String {
    claims(json!({ "sub": user, "exp": unix() + 3600 }))
}

/// A token with any claims, signed as the server wants it.
pub fn claims(claims: Value) -> String {
    Issuer::hs256(SECRET.as_bytes()).token(&claims)
}

pub fn unix() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

impl Client {
    /// Sends a command and waits for its reply; pushes that come first are kept.
    pub async fn ask(&mut self, method: &str, body: Value) -> Value {
        let id = self.send(method, body).await;
        self.expect(|message| message["id"] == id).await
    }

    /// Sends a command and returns its id.
    pub async fn send(&mut self, method: &str, body: Value) -> u64 {
        self.last_id += 1;
        self.text(&json!({ "id": self.last_id, method: body }).to_string()).await;
        self.last_id
    }

    pub async fn text(&mut self, text: &str) {
        deadline(self.socket.send(Message::text(text))).await.unwrap();
    }

    /// Subscribes and expects to be let in.
    pub async fn subscribe(&mut self, channel: &str) -> Value {
        let reply = self.ask("subscribe", json!({ "channel": channel })).await;
        assert!(reply["subscribe"].is_object(), "{reply}");
        reply["subscribe"].clone()
    }

    /// Publishes and expects it to be taken.
    pub async fn publish(&mut self, channel: &str, data: Value) -> Value {
        let reply = self.ask("publish", json!({ "channel": channel, "data": data })).await;
        assert!(reply["publish"].is_object(), "{reply}");
        reply["publish"].clone()
    }

    /// The next publication, with everything else passed over.
    pub async fn publication(&mut self) -> Value {
        let is_pub = |message: &Value| message["push"]["pub"].is_object();
        self.expect(is_pub).await["push"]["pub"].clone()
    }

    /// The first message that fits; those before it stay for later.
    pub async fn expect(&mut self, fits: impl Fn(&Value) -> bool) -> Value {
        if let Some(at) = self.unread.iter().position(&fits) {
            return self.unread.remove(at);
        }
        loop {
            let mut found = None;
            for message in deadline(self.messages()).await {
                if found.is_none() && fits(&message) {
                    found = Some(message);
                } else {
                    self.unread.push(message);
                }
            }
            if let Some(found) = found {
                return found;
            }
        }
    }

    /// The messages of the next frame; pings are answered and passed over.
    async fn messages(&mut self) -> Vec<Value> {
        loop {
            match self.socket.next().await.expect("the server closed").unwrap() {
                Message::Text(text) if text.as_str() == "{}" => {
                    self.socket.send(Message::text("{}")).await.unwrap();
                }
                Message::Text(text) => {
                    let lines = text.lines().map(|line| serde_json::from_str(line).unwrap());
                    return lines.collect();
                }
                Message::Close(close) => panic!("closed with {close:?}"),
                _ => {}
            }
        }
    }

    /// Sends a command that is refused and gives the error.
    pub async fn refused(&mut self, method: &str, body: Value) -> Value {
        let reply = self.ask(method, body).await;
        assert!(reply["error"].is_object(), "{reply}");
        reply["error"].clone()
    }

    /// The next push of this kind.
    pub async fn push(&mut self, kind: &str) -> Value {
        self.expect(|message| message["push"][kind].is_object()).await["push"].clone()
    }

    /// The first message, or the code with which the connection is closed instead.
    pub async fn first(&mut self) -> Result<Value, u16> {
        match self.socket.next().await.expect("the server closed").unwrap() {
            Message::Text(text) => Ok(serde_json::from_str(text.lines().next().unwrap()).unwrap()),
            Message::Close(Some(close)) => Err(close.code.into()),
            other => panic!("{other:?}"),
        }
    }

    /// Waits for the end and gives the code of the close frame.
    pub async fn closed(&mut self) -> u16 {
        close_code(&mut self.socket).await
    }

    /// Everything that fits and has come before the reply to a question of its own.
    pub async fn all(&mut self, fits: impl Fn(&Value) -> bool) -> Vec<Value> {
        self.ask("ping", json!({})).await;
        self.ask("ping", json!({})).await;
        let (found, rest) = std::mem::take(&mut self.unread).into_iter().partition(fits);
        self.unread = rest;
        found
    }

    /// Asserts that nothing that fits has come before the reply to a question of its own.
    pub async fn expect_none(&mut self, what: &str, fits: impl Fn(&Value) -> bool) {
        // A reply may leave before the publications of its turn, the next one cannot.
        self.ask("ping", json!({})).await;
        self.ask("ping", json!({})).await;
        let found = self.unread.iter().find(|message| fits(message));
        assert!(found.is_none(), "{what}: {found:?}");
    }
}

/// Waits for the end of a WebSocket and gives the code of its close frame.
async fn close_code(socket: &mut WebSocketStream<TcpStream>) -> u16 {
    deadline(async {
        loop {
            match socket.next().await {
                Some(Ok(Message::Close(Some(close)))) => {
                    assert!(!close.reason.is_empty(), "SDKs need a reason");
                    return close.code.into();
                }
                Some(Ok(_)) => {}
                other => panic!("ended without a close frame: {other:?}"),
            }
        }
    })
    .await
}

/// Waits until something is true of the server.
pub async fn eventually(what: &str, holds: impl AsyncFn() -> bool) {
    let wait = async {
        while !holds().await {
            tokio::task::yield_now().await;
        }
    };
    let waited = tokio::time::timeout(Duration::from_secs(10), wait).await;
    assert!(waited.is_ok(), "{what}");
}
