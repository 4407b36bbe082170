//! Commands in JSON: one object per line, the request under its name.
//!
//! Read in two steps. The envelope is scanned for `id` and the one request, so that nonsense is
//! told from a command; then the request alone is read, so that a wrong field is answered with
//! error 107 and the command's id.
//!
//! `null` counts as absent everywhere, as encoders of several languages write it; unknown keys
//! are skipped.

use std::collections::BTreeMap;
use std::fmt;

use memchr::memchr;
use serde::Deserialize;
use serde::de::{Deserializer, Error, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::{DecodeError, Incoming, Nonsense};
use super::{command, optional_data, ordinary_kind, required_data, secret};
use crate::protocol::{
    Connect, ErrorCode, ErrorReply, Extensions, History, Position, Request, Subscribe,
};

/// Reads the next line that is not blank.
pub(super) fn next(rest: &mut &[u8]) -> Option<Result<Incoming, DecodeError>> {
    loop {
        if rest.is_empty() {
            return None;
        }
        let end = memchr(b'\n', rest);
        let line = rest.get(..end.unwrap_or(rest.len()))?.trim_ascii();
        *rest = end.and_then(|end| rest.get(end + 1..)).unwrap_or_default();
        if !line.is_empty() {
            return Some(message(line));
        }
    }
}

fn message(line: &[u8]) -> Result<Incoming, DecodeError> {
    let envelope = match std::str::from_utf8(line) {
        Ok(line) => serde_json::from_str::<Envelope<'_>>(line).map_err(|_error| Nonsense)?,
        Err(_) => return Err(Nonsense.into()),
    };
    match envelope {
        Envelope { is_empty: true, .. } => Ok(Incoming::Pong),
        Envelope { id, request: Some((name, body)), .. } => command(id, request(name, body)),
        Envelope { request: None, .. } => Err(Nonsense.into()),
    }
}

/// A command before its request is read.
struct Envelope<'a> {
    id: u32,
    request: Option<(Name, &'a RawValue)>,
    /// Without a single key: the pong.
    is_empty: bool,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(field_identifier, rename_all = "snake_case")]
enum Name {
    Id,
    Connect,
    Subscribe,
    Unsubscribe,
    Publish,
    Presence,
    PresenceStats,
    History,
    Ping,
    Send,
    Rpc,
    Refresh,
    SubRefresh,
    #[serde(other)]
    Unknown,
}

impl Name {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Id => "id",
            Self::Connect => "connect",
            Self::Subscribe => "subscribe",
            Self::Unsubscribe => "unsubscribe",
            Self::Publish => "publish",
            Self::Presence => "presence",
            Self::PresenceStats => "presence_stats",
            Self::History => "history",
            Self::Ping => "ping",
            Self::Send => "send",
            Self::Rpc => "rpc",
            Self::Refresh => "refresh",
            Self::SubRefresh => "sub_refresh",
            Self::Unknown => "command",
        }
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Envelope<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(EnvelopeVisitor)
    }
}

struct EnvelopeVisitor;

impl<'de> Visitor<'de> for EnvelopeVisitor {
    type Value = Envelope<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a command")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut id = None;
        let mut request = None;
        let mut is_empty = true;
        while let Some(name) = map.next_key::<Name>()? {
            is_empty = false;
            match name {
                Name::Id => {
                    if id.replace(map.next_value::<Option<u32>>()?).is_some() {
                        return Err(A::Error::duplicate_field("id"));
                    }
                }
                Name::Unknown => {
                    map.next_value::<IgnoredAny>()?;
                }
                _ => {
                    let Some(body) = map.next_value::<Option<&RawValue>>()? else {
                        continue;
                    };
                    if request.replace((name, body)).is_some() {
                        return Err(A::Error::custom("several requests in one command"));
                    }
                }
            }
        }
        Ok(Envelope { id: id.flatten().unwrap_or_default(), request, is_empty })
    }
}

/// Reads the body of a request whose name is known.
fn request(name: Name, body: &RawValue) -> Result<Request, ErrorReply> {
    match name {
        Name::Connect => read::<ConnectBody<'_>>(name, body)?.into_request(),
        Name::Subscribe => {
            let subscribe = read::<SubscribeBody<'_>>(name, body)?.into_subscribe(None)?;
            Ok(Request::Subscribe(Box::new(subscribe)))
        }
        Name::Unsubscribe => Ok(Request::Unsubscribe { channel: channel(name, body)? }),
        Name::Publish => read::<PublishBody<'_>>(name, body)?.into_request(),
        Name::Presence => Ok(Request::Presence { channel: channel(name, body)? }),
        Name::PresenceStats => Ok(Request::PresenceStats { channel: channel(name, body)? }),
        Name::History => Ok(read::<HistoryBody>(name, body)?.into_request()),
        Name::Ping => read::<EmptyBody>(name, body).map(|_| Request::Ping),
        Name::Send => {
            let body = read::<DataBody<'_>>(name, body)?;
            Ok(Request::Send { data: optional_data("send", raw(body.data))? })
        }
        Name::Rpc => {
            let body = read::<DataBody<'_>>(name, body)?;
            let data = optional_data("rpc", raw(body.data))?;
            Ok(Request::Rpc { method: body.method.unwrap_or_default(), data })
        }
        Name::Refresh => {
            let body = read::<TokenBody>(name, body)?;
            Ok(Request::Refresh { token: body.token.and_then(secret) })
        }
        Name::SubRefresh => read::<TokenBody>(name, body)?.into_sub_refresh(),
        // The envelope keeps neither as a request.
        Name::Id | Name::Unknown => Err(malformed(name, 0)),
    }
}

fn read<'a, T: Deserialize<'a>>(name: Name, body: &'a RawValue) -> Result<T, ErrorReply> {
    serde_json::from_str(body.get()).map_err(|error| malformed(name, error.column()))
}

fn channel(name: Name, body: &RawValue) -> Result<String, ErrorReply> {
    Ok(read::<ChannelBody>(name, body)?.channel.unwrap_or_default())
}

/// The parser's own words are left out: they quote what was read, which may be a token.
fn malformed(name: Name, column: usize) -> ErrorReply {
    let name = name.as_str();
    ErrorReply::new(ErrorCode::BadRequest)
        .with_message(format!("{name} is malformed at its column {column}"))
        .with_reason("malformed")
}

fn raw(data: Option<&RawValue>) -> Option<&[u8]> {
    data.map(|data| data.get().as_bytes())
}

#[derive(Deserialize)]
struct EmptyBody {}

#[derive(Deserialize)]
struct ChannelBody {
    channel: Option<String>,
}

#[derive(Deserialize)]
struct ConnectBody<'a> {
    token: Option<String>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
    name: Option<String>,
    version: Option<String>,
    /// Ordered by channel; of a channel named twice the last counts.
    #[serde(borrow)]
    subs: Option<BTreeMap<String, SubscribeBody<'a>>>,
    flag: Option<i64>,
    veza: Option<ExtensionsBody>,
}

#[derive(Deserialize)]
struct ExtensionsBody {
    lag: Option<bool>,
    after: Option<bool>,
}

#[derive(Deserialize)]
struct SubscribeBody<'a> {
    channel: Option<String>,
    token: Option<String>,
    recover: Option<bool>,
    offset: Option<u64>,
    epoch: Option<String>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
    positioned: Option<bool>,
    recoverable: Option<bool>,
    join_leave: Option<bool>,
    delta: Option<String>,
    tf: Option<IgnoredAny>,
    flag: Option<i64>,
    r#type: Option<i32>,
}

#[derive(Deserialize)]
struct PublishBody<'a> {
    channel: Option<String>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
    r#type: Option<i32>,
}

#[derive(Deserialize)]
struct HistoryBody {
    channel: Option<String>,
    limit: Option<i32>,
    since: Option<PositionBody>,
    reverse: Option<bool>,
}

#[derive(Deserialize)]
struct PositionBody {
    offset: Option<u64>,
    epoch: Option<String>,
}

/// `send` and `rpc`.
#[derive(Deserialize)]
struct DataBody<'a> {
    method: Option<String>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
}

/// `refresh` and `sub_refresh`.
#[derive(Deserialize)]
struct TokenBody {
    channel: Option<String>,
    token: Option<String>,
    r#type: Option<i32>,
}

impl ConnectBody<'_> {
    fn into_request(self) -> Result<Request, ErrorReply> {
        let subs = self.subs.unwrap_or_default().into_iter();
        let veza = self.veza.map_or_else(Extensions::default, |veza| Extensions {
            lag: veza.lag.unwrap_or_default(),
            after: veza.after.unwrap_or_default(),
        });
        Ok(Request::Connect(Box::new(Connect {
            token: self.token.and_then(secret),
            data: optional_data("connect", raw(self.data))?,
            name: self.name.unwrap_or_default(),
            version: self.version.unwrap_or_default(),
            subs: subs
                .map(|(channel, sub)| sub.into_subscribe(Some(channel)))
                .collect::<Result<_, ErrorReply>>()?,
            flag: self.flag.unwrap_or_default(),
            veza,
        })))
    }
}

impl SubscribeBody<'_> {
    /// Within `connect` the key names the channel, whatever the body says.
    fn into_subscribe(self, key: Option<String>) -> Result<Subscribe, ErrorReply> {
        Ok(Subscribe {
            channel: key.or(self.channel).unwrap_or_default(),
            token: self.token.and_then(secret),
            recover: self.recover.unwrap_or_default(),
            offset: self.offset.unwrap_or_default(),
            epoch: self.epoch.unwrap_or_default(),
            data: optional_data("subscribe", raw(self.data))?,
            positioned: self.positioned.unwrap_or_default(),
            recoverable: self.recoverable.unwrap_or_default(),
            join_leave: self.join_leave.unwrap_or_default(),
            flag: self.flag.unwrap_or_default(),
            kind: self.r#type.unwrap_or_default(),
            has_delta: self.delta.is_some_and(|delta| !delta.is_empty()),
            has_tag_filter: self.tf.is_some(),
        })
    }
}

impl PublishBody<'_> {
    fn into_request(self) -> Result<Request, ErrorReply> {
        ordinary_kind("publish", self.r#type.unwrap_or_default())?;
        let data = required_data("publish", raw(self.data))?;
        Ok(Request::Publish { channel: self.channel.unwrap_or_default(), data })
    }
}

impl HistoryBody {
    fn into_request(self) -> Request {
        Request::History(History {
            channel: self.channel.unwrap_or_default(),
            limit: self.limit.unwrap_or_default(),
            since: self.since.map(|since| Position {
                offset: since.offset.unwrap_or_default(),
                epoch: since.epoch.unwrap_or_default().into(),
            }),
            reverse: self.reverse.unwrap_or_default(),
        })
    }
}

impl TokenBody {
    fn into_sub_refresh(self) -> Result<Request, ErrorReply> {
        ordinary_kind("sub_refresh", self.r#type.unwrap_or_default())?;
        Ok(Request::SubRefresh {
            channel: self.channel.unwrap_or_default(),
            token: self.token.and_then(secret),
        })
    }
}
