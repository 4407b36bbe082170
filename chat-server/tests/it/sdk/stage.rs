//! The servers a client program plays against, and what it may ask to be done there.
//!
//! Owns a server for everyone, a way to it that can be cut for each name in [`PROXIES`], a second
//! server that lets nobody in without a token, and the issuers of tokens, good and bad. Acts go
//! through the server's control handle, the one its API uses. Not here: how a program asks, which
//! is the program's.

use std::net::SocketAddr;

use chassis::testing::{Direction, FaultProxy, Issuer};
use chat_server::protocol::{DisconnectCode, Json, UnsubscribeCode};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::harness::{self, SECRET, unix};

/// The ways to the server that checks cut. Each belongs to one theme, so that themes may run
/// side by side.
const PROXIES: [&str; 2] = ["recovery", "leaving"];

const CHANNELS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/sdk/channels.toml");

/// The themes of a program share an address and hurry: what would hold back one client in a hurry
/// is tested elsewhere.
const VARIABLES: [(&str, &str); 4] = [
    ("CHANNELS_FILE", CHANNELS),
    ("COMMAND_RATE", "1000"),
    ("MAX_MESSAGE_RATE", "1000"),
    ("RATE_LIMIT_PER_MINUTE", "1000000"),
];

/// The servers and the ways to them; dropping it ends them.
#[derive(Debug)]
pub(super) struct Stage {
    server: harness::Stage,
    /// Lets nobody in without a token.
    members: harness::Stage,
    proxies: Vec<(&'static str, FaultProxy)>,
}

#[derive(Debug, Deserialize)]
#[serde(tag = "act", rename_all = "snake_case")]
enum Act {
    Token(Wish),
    Disconnect { user: String, code: u32 },
    Unsubscribe { user: String, channel: String, code: u32 },
    Subscribe { user: String, channel: String },
    Refresh { user: String, ttl: u64 },
    Send { user: String, data: Value },
    Publish { channel: String, data: Value },
    Cut { proxy: String },
    Restore { proxy: String },
}

/// The claims of a token; times are seconds from now.
#[derive(Debug, Deserialize)]
struct Wish {
    user: Option<String>,
    channel: Option<String>,
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
        let server = harness::Stage::with(&VARIABLES).await;
        let closed = [&VARIABLES[..], &[("ALLOW_ANONYMOUS", "false")]].concat();
        let members = harness::Stage::with(&closed).await;
        let mut proxies = Vec::new();
        for name in PROXIES {
            proxies.push((name, FaultProxy::start(server.addresses.connections).await));
        }
        Self { server, members, proxies }
    }

    /// Where clients connect, by the name a check calls it.
    pub(super) fn addresses(&self) -> Value {
        let of = |stage: &harness::Stage| stage.addresses;
        let mut ways = Map::new();
        ways.insert("direct".into(), way(of(&self.server).connections, of(&self.server).http));
        ways.insert("members".into(), way(of(&self.members).connections, of(&self.members).http));
        for (name, proxy) in &self.proxies {
            ways.insert((*name).into(), way(proxy.address(), proxy.address()));
        }
        ways.into()
    }

    /// Does what a program asks and gives it what it asked for.
    pub(super) fn act(&self, question: Value) -> Result<Value, String> {
        let control = &self.server.control;
        let told = match serde_json::from_value(question).map_err(|error| error.to_string())? {
            Act::Token(wish) => return Ok(wish.grant().into()),
            Act::Publish { channel, data } => {
                let published = control.publish(&channel, document(&data)?);
                let position = published.map_err(|error| error.to_string())?;
                return Ok(json!({ "offset": position.offset, "epoch": &*position.epoch }));
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
                control.disconnect(&user, *code.ok_or("no such code")?)
            }
            Act::Unsubscribe { user, channel, code } => {
                let code = UnsubscribeCode::ALL.iter().find(|known| known.code() == code);
                control.unsubscribe(&user, &channel, *code.ok_or("no such code")?)
            }
            Act::Subscribe { user, channel } => control.subscribe(&user, &channel),
            Act::Refresh { user, ttl } => control.refresh(&user, Some(unix() + ttl)),
            Act::Send { user, data } => control.send(&user, document(&data)?),
        };
        if told == 0 { Err("the user is not connected".into()) } else { Ok(told.into()) }
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

fn way(websocket: SocketAddr, http: SocketAddr) -> Value {
    json!({ "ws": format!("ws://{websocket}"), "http": format!("http://{http}") })
}

fn document(data: &Value) -> Result<Json, String> {
    Json::from_value(data).map_err(|error| error.to_string())
}
