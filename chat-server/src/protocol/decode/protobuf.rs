//! Commands in Protobuf: each preceded by its length, a length of zero being the pong.
//!
//! A message that breaks the encoding (truncated, wrong wire type, text that is not UTF-8) is no
//! command at all and closes the connection; only the JSON inside byte fields is judged per
//! command.

use prost::Message;
use proto::client::v1;

use super::{DecodeError, Incoming, Nonsense};
use super::{command, optional_data, ordinary_kind, required_data, secret};
use crate::protocol::{Connect, ErrorReply, Extensions, History, Position, Request, Subscribe};

/// Reads the next message, whose length must lie within the frame.
pub(super) fn next(rest: &mut &[u8]) -> Option<Result<Incoming, DecodeError>> {
    if rest.is_empty() {
        return None;
    }
    Some(split(rest).map_err(DecodeError::from).and_then(message))
}

fn split<'a>(rest: &mut &'a [u8]) -> Result<&'a [u8], Nonsense> {
    let mut after = *rest;
    // A varint decoder advances what it reads from, so `after` starts at the message.
    let length = prost::decode_length_delimiter(&mut after).map_err(|_error| Nonsense)?;
    let (message, tail) = after.split_at_checked(length).ok_or(Nonsense)?;
    *rest = tail;
    Ok(message)
}

fn message(bytes: &[u8]) -> Result<Incoming, DecodeError> {
    if bytes.is_empty() {
        return Ok(Incoming::Pong);
    }
    let message = v1::Command::decode(bytes).map_err(|_error| Nonsense)?;
    let id = message.id;
    let mut requests = requests(message).into_iter().flatten();
    match (requests.next(), requests.next()) {
        (Some(request), None) => command(id, request),
        _ => Err(Nonsense.into()),
    }
}

/// Every request of the command; there should be one.
fn requests(message: v1::Command) -> [Option<Result<Request, ErrorReply>>; 12] {
    [
        message.connect.map(connect),
        message.subscribe.map(|body| Ok(Request::Subscribe(Box::new(subscribe(body, None)?)))),
        message.unsubscribe.map(|body| Ok(Request::Unsubscribe { channel: body.channel })),
        message.publish.map(publish),
        message.presence.map(|body| Ok(Request::Presence { channel: body.channel })),
        message.presence_stats.map(|body| Ok(Request::PresenceStats { channel: body.channel })),
        message.history.map(|body| Ok(history(body))),
        message.ping.map(|_| Ok(Request::Ping)),
        message
            .send
            .map(|body| Ok(Request::Send { data: optional_data("send", Some(&body.data))? })),
        message.rpc.map(|body| {
            let data = optional_data("rpc", Some(&body.data))?;
            Ok(Request::Rpc { method: body.method, data })
        }),
        message.refresh.map(|body| Ok(Request::Refresh { token: secret(body.token) })),
        message.sub_refresh.map(sub_refresh),
    ]
}

fn connect(body: v1::ConnectRequest) -> Result<Request, ErrorReply> {
    let veza = body.veza.unwrap_or_default();
    Ok(Request::Connect(Box::new(Connect {
        token: secret(body.token),
        data: optional_data("connect", Some(&body.data))?,
        name: body.name,
        version: body.version,
        subs: body
            .subs
            .into_iter()
            .map(|(channel, body)| subscribe(body, Some(channel)))
            .collect::<Result<_, ErrorReply>>()?,
        flag: body.flag,
        veza: Extensions { lag: veza.lag, after: veza.after },
    })))
}

/// Within `connect` the key names the channel, whatever the body says.
fn subscribe(body: v1::SubscribeRequest, key: Option<String>) -> Result<Subscribe, ErrorReply> {
    Ok(Subscribe {
        channel: key.unwrap_or(body.channel),
        token: secret(body.token),
        recover: body.recover,
        offset: body.offset,
        epoch: body.epoch,
        data: optional_data("subscribe", Some(&body.data))?,
        positioned: body.positioned,
        recoverable: body.recoverable,
        join_leave: body.join_leave,
        flag: body.flag,
        kind: body.r#type,
        has_delta: !body.delta.is_empty(),
        has_tag_filter: body.tf.is_some(),
    })
}

fn publish(body: v1::PublishRequest) -> Result<Request, ErrorReply> {
    ordinary_kind("publish", body.r#type)?;
    let data = required_data("publish", Some(&body.data))?;
    Ok(Request::Publish { channel: body.channel, data })
}

fn history(body: v1::HistoryRequest) -> Request {
    Request::History(History {
        channel: body.channel,
        limit: body.limit,
        since: body.since.map(|since| Position { offset: since.offset, epoch: since.epoch.into() }),
        reverse: body.reverse,
    })
}

fn sub_refresh(body: v1::SubRefreshRequest) -> Result<Request, ErrorReply> {
    ordinary_kind("sub_refresh", body.r#type)?;
    Ok(Request::SubRefresh { channel: body.channel, token: secret(body.token) })
}
