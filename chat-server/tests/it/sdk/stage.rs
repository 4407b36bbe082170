//! The servers a client program plays against, and what it may ask to be done there.
//!
//! Owns the server that everyone uses, a way to it that can be cut for each name in [`PROXIES`],
//! a strict server, one that goes away when asked, and the issuers of tokens, good and bad. Acts
//! go through a server's control handle, the one its API uses. Not here: how a program asks, which
//! is the program's.

use std::net::SocketAddr;
use std::path::Path;

use chassis::testing::{Direction, FaultProxy, Issuer, SelfSigned, self_signed};
use chat_server::protocol::{DisconnectCode, Json, UnsubscribeCode};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::outage::Outage;
use super::spread::Spread;
use crate::harness::{self, Backend, SECRET, unix};

/// The ways to the server that checks cut. Each belongs to one theme, so that themes may run
/// side by side.
const PROXIES: [&str; 3] = ["recovery", "leaving", "rooms"];

const CHANNELS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/sdk/channels.toml");

/// All clients of a program share an address; every other limit is the default.
const VARIABLES: [(&str, &str); 2] =
    [("CHANNELS_FILE", CHANNELS), ("RATE_LIMIT_PER_MINUTE", "1000000")];

/// The strict server lets nobody in without a token, and asks often whether somebody is there: as
/// often as a program on a busy machine can be sure to answer.
const STRICT: [(&str, &str); 3] =
    [("ALLOW_ANONYMOUS", "false"), ("PING_INTERVAL_MS", "4000"), ("PONG_TIMEOUT_MS", "3900")];

/// The servers and the ways to them; dropping it ends them.
#[derive(Debug)]
pub(super) struct Stage {
    server: harness::Stage,
    strict: harness::Stage,
    /// Stays until [`Act::Stop`].
    passing: harness::Stage,
    proxies: Vec<(&'static str, FaultProxy)>,
    tls: Option<(SelfSigned, tempfile::TempDir)>,
    outage: Option<Outage>,
    spread: Option<Spread>,
}

#[derive(Debug, Deserialize)]
#[serde(tag = "act", rename_all = "snake_case")]
enum Act {
    Token(Wish),
    Disconnect {
        user: String,
        code: u32,
    },
    Unsubscribe {
        user: String,
        channel: String,
        code: u32,
    },
    Subscribe {
        user: String,
        channel: String,
    },
    Refresh {
        user: String,
        ttl: u64,
    },
    Send {
        user: String,
        data: Value,
    },
    Publish {
        channel: String,
        data: Value,
    },
    /// Publishes numbers, each with so many bytes beside it.
    Burst {
        channel: String,
        from: u64,
        to: u64,
        padding: usize,
    },
    Cut {
        proxy: String,
    },
    Restore {
        proxy: String,
    },
    Stop,
    /// The store of the server everyone uses does not answer, and
    Hold,
    /// does again.
    Release,
}

/// The claims of a token; times are seconds from now.
#[derive(Debug, Deserialize)]
struct Wish {
    user: Option<String>,
    channel: Option<String>,
    name: Option<String>,
    #[serde(default = "hour")]
    ttl: i64,
    nbf: Option<i64>,
    #[serde(default)]
    key: Key,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Key {
    #[default]
    Known,
    /// One the server does not know.
    Another,
}

impl Stage {
    pub(super) async fn start() -> Self {
        Self::with(None, None).await
    }

    /// A server whose store does not answer when asked not to.
    pub(super) async fn start_with_outages() -> Self {
        Self::with(None, Some(Outage::prepare().await)).await
    }

    /// Servers that speak TLS alone.
    pub(super) async fn start_tls() -> Self {
        let folder = tempfile::tempdir().expect("a folder can be made");
        Self::with(Some((self_signed(folder.path()), folder)), None).await
    }

    async fn with(tls: Option<(SelfSigned, tempfile::TempDir)>, outage: Option<Outage>) -> Self {
        let mut variables = VARIABLES.to_vec();
        if let Some((files, _)) = &tls {
            variables.push(("TLS_CERT_FILE", text(&files.cert)));
            variables.push(("TLS_KEY_FILE", text(&files.key)));
        }
        let database = outage.iter().map(|outage| ("DATABASE_URL", outage.url()));
        let everyone: Vec<_> = variables.iter().copied().chain(database).collect();
        let server = harness::Stage::with(&everyone).await;
        let strict = harness::Stage::with(&[&variables[..], &STRICT].concat()).await;
        let passing = harness::Stage::with(&variables).await;
        let mut proxies = Vec::new();
        for name in PROXIES {
            proxies.push((name, FaultProxy::start(server.addresses.connections).await));
        }
        Self { server, strict, passing, proxies, tls, outage, spread: None }
    }

    /// The server everyone uses is two nodes behind one address.
    pub(super) async fn start_spread() -> Self {
        let mut stage = Self::with(None, None).await;
        stage.server = harness::Stage::node(Backend::Sqlite, &VARIABLES).await;
        let spread = Spread::over(&stage.server).await;
        for (_, proxy) in &mut stage.proxies {
            *proxy = FaultProxy::start(spread.address()).await;
        }
        stage.spread = Some(spread);
        stage
    }

    /// What clients must trust, where they need TLS.
    pub(super) fn certificate(&self) -> Option<&Path> {
        self.tls.as_ref().map(|(files, _)| &*files.cert)
    }

    /// Where clients connect, by the name a check calls it.
    pub(super) fn addresses(&self) -> Value {
        let servers =
            [("direct", &self.server), ("strict", &self.strict), ("passing", &self.passing)];
        let direct = servers.map(|(name, server)| {
            let spread = self.spread.as_ref().filter(|_| name == "direct");
            let http = spread.map_or(server.addresses.http, Spread::address);
            (name, self.way(server.addresses.connections, http))
        });
        let proxies = self.proxies.iter();
        let cut = proxies.map(|(name, proxy)| (*name, self.way(proxy.address(), proxy.address())));
        let ways = direct.into_iter().chain(cut).map(|(name, way)| (name.to_owned(), way));
        ways.collect::<Map<_, _>>().into()
    }

    fn way(&self, websocket: SocketAddr, http: SocketAddr) -> Value {
        let s = if self.tls.is_some() { "s" } else { "" };
        json!({ "ws": format!("ws{s}://{websocket}"), "http": format!("http{s}://{http}") })
    }

    /// Does what a program asks and gives it what it asked for.
    pub(super) async fn act(&self, question: Value) -> Result<Value, String> {
        let control = &self.server.control;
        let told = match serde_json::from_value(question).map_err(|error| error.to_string())? {
            Act::Token(wish) => return Ok(wish.grant().into()),
            Act::Publish { channel, data } => return self.publish(&channel, &data).await,
            Act::Burst { channel, from, to, padding } => {
                let padding = "x".repeat(padding);
                for n in from..=to {
                    self.publish(&channel, &json!({ "n": n, "padding": padding })).await?;
                }
                return Ok(Value::Null);
            }
            Act::Hold => return self.outage()?.begin().await.map(done).map_err(words),
            Act::Release => return self.outage()?.end().await.map(done).map_err(words),
            Act::Stop => {
                self.passing.shutdown.trigger();
                return Ok(Value::Null);
            }
            Act::Cut { proxy } => {
                let proxy = self.proxy(&proxy)?;
                proxy.cut_after(Direction::Up, 0);
                proxy.cut();
                return Ok(Value::Null);
            }
            Act::Restore { proxy } => {
                self.proxy(&proxy)?.heal();
                return Ok(Value::Null);
            }
            Act::Disconnect { user, code } => {
                let code = DisconnectCode::ALL.iter().find(|known| known.code() == code);
                control.disconnect(&user, *code.ok_or("no such code")?).await
            }
            Act::Unsubscribe { user, channel, code } => {
                let code = UnsubscribeCode::ALL.iter().find(|known| known.code() == code);
                control.unsubscribe(&user, &channel, *code.ok_or("no such code")?).await
            }
            Act::Subscribe { user, channel } => control.subscribe(&user, &channel).await,
            Act::Refresh { user, ttl } => control.refresh(&user, Some(unix() + ttl)).await,
            Act::Send { user, data } => control.send(&user, document(&data)?).await,
        };
        if told.here == 0 && self.spread.is_none() {
            Err("the user is not connected".into())
        } else {
            Ok(told.here.into())
        }
    }

    /// Ends the servers; whatever the clients did, nothing of them is left that has to be forced.
    pub(super) async fn stop(self) {
        let second = self.spread.map(|spread| spread.second);
        for server in [self.server, self.strict, self.passing].into_iter().chain(second) {
            assert_eq!(server.stop().await.forced, 0, "tasks were left behind");
        }
    }

    async fn publish(&self, channel: &str, data: &Value) -> Result<Value, String> {
        let published = self.server.control.publish(channel, document(data)?).await;
        published.map_err(|error| error.to_string())?;
        Ok(Value::Null)
    }

    fn outage(&self) -> Result<&Outage, String> {
        self.outage.as_ref().ok_or_else(|| "this store always answers".to_owned())
    }

    fn proxy(&self, name: &str) -> Result<&FaultProxy, String> {
        let found = self.proxies.iter().find(|(known, _)| *known == name);
        found.map(|(_, proxy)| proxy).ok_or_else(|| format!("no proxy {name:?}"))
    }
}

impl Wish {
    fn grant(self) -> String {
        let at = |offset: i64| unix().checked_add_signed(offset).expect("a time after 1970");
        let mut claims = json!({ "iat": at(0), "exp": at(self.ttl) });
        let mut set = |name: &str, value: Option<Value>| {
            if let Some(value) = value {
                claims[name] = value;
            }
        };
        set("sub", self.user.map(Value::from));
        set("channel", self.channel.map(Value::from));
        set("name", self.name.map(Value::from));
        set("nbf", self.nbf.map(|nbf| at(nbf).into()));
        let secret = match self.key {
            Key::Known => SECRET,
            Key::Another => "a secret that the server was never told, whoever asks",
        };
        Issuer::hs256(secret.as_bytes()).token(&claims)
    }
}

fn hour() -> i64 {
    3600
}

/// What a program is given that asked for nothing but a deed.
const fn done((): ()) -> Value {
    Value::Null
}

fn words(error: impl std::fmt::Display) -> String {
    error.to_string()
}

fn text(path: &Path) -> &str {
    path.to_str().expect("the path is text")
}

fn document(data: &Value) -> Result<Json, String> {
    Json::from_value(data).map_err(|error| error.to_string())
}
