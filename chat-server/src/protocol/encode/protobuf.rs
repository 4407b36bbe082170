//! Replies and pushes as Protobuf messages with their length in front.
//!
//! Payloads are shared with the message being built, not copied; text is copied once.

use bytes::Bytes;
use prost::Message;
use proto::client::v1;

use super::expiry;
use crate::protocol::{
    ClientInfo, ConnectResult, ErrorReply, Extensions, HistoryResult, Json, Publication,
    PublishResult, Push, RefreshResult, Reply, ReplyBody, SubscribeResult,
};

pub(super) fn reply(reply: &Reply, out: &mut Vec<u8>) {
    use v1::reply::Body;
    let body = match &reply.body {
        Err(refused) => Body::Error(error(refused)),
        Ok(ReplyBody::Connect(result)) => Body::Connect(connect(result)),
        Ok(ReplyBody::Subscribe(result)) => Body::Subscribe(subscribe(result)),
        Ok(ReplyBody::Unsubscribe) => Body::Unsubscribe(v1::UnsubscribeResult {}),
        Ok(ReplyBody::Publish(result)) => Body::Publish(publish(result)),
        Ok(ReplyBody::Presence(clients)) => Body::Presence(v1::PresenceResult {
            presence: clients.iter().map(|(id, info)| (id.to_string(), client(info))).collect(),
        }),
        Ok(ReplyBody::PresenceStats(result)) => Body::PresenceStats(v1::PresenceStatsResult {
            num_clients: result.num_clients,
            num_users: result.num_users,
        }),
        Ok(ReplyBody::History(result)) => Body::History(history(result)),
        Ok(ReplyBody::Ping) => Body::Ping(v1::PingResult {}),
        Ok(ReplyBody::Rpc { data }) => Body::Rpc(v1::RpcResult { data: payload(data.as_ref()) }),
        Ok(ReplyBody::Refresh(result)) => Body::Refresh(refresh(result)),
        Ok(ReplyBody::SubRefresh { ttl }) => {
            let (expires, ttl) = expires(*ttl);
            Body::SubRefresh(v1::SubRefreshResult { expires, ttl })
        }
    };
    write(&v1::Reply { id: reply.id, body: Some(body) }, out);
}

pub(super) fn push(push: &Push, out: &mut Vec<u8>) {
    use v1::push::Body;
    let body = match push {
        Push::Pub { publication: item, .. } => Body::Pub(publication(item)),
        Push::Join { info, .. } => Body::Join(v1::Join { info: Some(client(info)) }),
        Push::Leave { info, .. } => Body::Leave(v1::Leave { info: Some(client(info)) }),
        Push::Unsubscribe { code, .. } => Body::Unsubscribe(v1::Unsubscribe {
            code: code.code(),
            reason: code.reason().to_owned(),
        }),
        Push::Subscribe { recoverable, positioned, epoch, offset, data, .. } => {
            Body::Subscribe(v1::Subscribe {
                recoverable: *recoverable,
                epoch: epoch.to_string(),
                offset: *offset,
                positioned: *positioned,
                data: payload(data.as_ref()),
            })
        }
        Push::Message { data } => Body::Message(v1::Message { data: data.bytes().clone() }),
        Push::Disconnect { code, after_ms } => Body::Disconnect(v1::Disconnect {
            code: code.code(),
            reason: code.reason().to_owned(),
            reconnect: code.reconnect(),
            after_ms: after_ms.unwrap_or_default(),
        }),
        Push::Refresh { ttl } => {
            let (expires, ttl) = expires(*ttl);
            Body::Refresh(v1::Refresh { expires, ttl })
        }
        Push::Lag { from, to, epoch, .. } => {
            Body::Lag(v1::Lag { from: *from, to: *to, epoch: epoch.to_string() })
        }
    };
    write_push(push.channel().unwrap_or_default(), body, out);
}

pub(super) fn publication_push(channel: &str, item: &Publication, out: &mut Vec<u8>) {
    write_push(channel, v1::push::Body::Pub(publication(item)), out);
}

fn write_push(channel: &str, body: v1::push::Body, out: &mut Vec<u8>) {
    let push = v1::Push { channel: channel.to_owned(), body: Some(body) };
    write(&v1::Reply { id: 0, body: Some(v1::reply::Body::Push(push)) }, out);
}

fn write(message: &v1::Reply, out: &mut Vec<u8>) {
    message.encode_length_delimited(out).expect("a Vec takes every write");
}

fn expires(ttl: Option<u32>) -> (bool, u32) {
    (ttl.is_some(), expiry(ttl).unwrap_or_default())
}

fn payload(data: Option<&Json>) -> Bytes {
    data.map(|data| data.bytes().clone()).unwrap_or_default()
}

fn text(text: Option<&str>) -> String {
    text.unwrap_or_default().to_owned()
}

fn error(error: &ErrorReply) -> v1::Error {
    v1::Error {
        code: error.code.code(),
        message: error.message.clone().into_owned(),
        temporary: error.code.is_temporary(),
        reason: text(error.reason),
        retry_after_ms: error.retry_after_ms.unwrap_or_default(),
        field: text(error.field),
        limit: error.limit,
        got: error.got,
    }
}

fn connect(result: &ConnectResult) -> v1::ConnectResult {
    let (expires, ttl) = expires(result.ttl);
    let subs = result.subs.iter();
    let Extensions { lag, after } = result.veza;
    v1::ConnectResult {
        client: result.client.to_string(),
        version: result.version.to_string(),
        expires,
        ttl,
        data: payload(result.data.as_ref()),
        subs: subs.map(|(channel, result)| (channel.to_string(), subscribe(result))).collect(),
        ping: result.ping_interval,
        pong: result.pong,
        session: result.session.to_string(),
        node: result.node.to_string(),
        time: result.time_ms,
        veza: (lag || after).then_some(v1::Extensions { lag, after }),
    }
}

fn subscribe(result: &SubscribeResult) -> v1::SubscribeResult {
    let (expires, ttl) = expires(result.ttl);
    v1::SubscribeResult {
        expires,
        ttl,
        recoverable: result.recoverable,
        epoch: result.epoch.to_string(),
        publications: result.publications.iter().map(publication).collect(),
        recovered: result.recovered,
        offset: result.offset,
        positioned: result.positioned,
        data: payload(result.data.as_ref()),
        was_recovering: result.was_recovering,
    }
}

fn publish(result: &PublishResult) -> v1::PublishResult {
    v1::PublishResult {
        offset: result.offset,
        epoch: result.epoch.to_string(),
        id: text(result.id.as_deref()),
        duplicate: result.duplicate,
        status: text(result.status),
    }
}

fn history(result: &HistoryResult) -> v1::HistoryResult {
    v1::HistoryResult {
        publications: result.publications.iter().map(publication).collect(),
        epoch: result.epoch.to_string(),
        offset: result.offset,
    }
}

fn refresh(result: &RefreshResult) -> v1::RefreshResult {
    let (expires, ttl) = expires(result.ttl);
    v1::RefreshResult {
        client: result.client.to_string(),
        version: result.version.to_string(),
        expires,
        ttl,
    }
}

fn publication(publication: &Publication) -> v1::Publication {
    v1::Publication {
        data: publication.data.bytes().clone(),
        info: publication.info.as_ref().map(client),
        offset: publication.offset,
        tags: publication.tags.clone(),
        time: publication.time_ms,
    }
}

fn client(info: &ClientInfo) -> v1::ClientInfo {
    v1::ClientInfo {
        user: info.user.to_string(),
        client: info.client.to_string(),
        conn_info: payload(info.conn_info.as_ref()),
        chan_info: payload(info.chan_info.as_ref()),
    }
}
