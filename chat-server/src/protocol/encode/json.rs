//! Replies and pushes as JSON objects.
//!
//! Keys that stay although their value is zero or empty, and who needs them: a client's `user`
//! and `client`, the figures of presence and the map of clients (centrifuge-js hands them to the
//! application as they are), `reason` of pushes and `message` of errors (centrifuge-python fails
//! without).

use std::sync::Arc;

use super::expiry;
use super::object::Object;
use crate::protocol::{
    ClientInfo, ConnectResult, ErrorReply, Extensions, HistoryResult, Publication, PublishResult,
    Push, RefreshResult, Reply, ReplyBody, SubscribeResult,
};

pub(super) fn reply(reply: &Reply, out: &mut Vec<u8>) {
    let mut message = Object::open(out);
    message.number("id", reply.id);
    let body = match &reply.body {
        Ok(body) => body,
        Err(error) => return write_error(error, message.object("error")),
    };
    match body {
        ReplyBody::Connect(result) => connect(result, message.object("connect")),
        ReplyBody::Subscribe(result) => subscribe(result, message.object("subscribe")),
        ReplyBody::Unsubscribe => drop(message.object("unsubscribe")),
        ReplyBody::Publish(result) => publish(result, message.object("publish")),
        ReplyBody::Presence(clients) => presence(clients, message.object("presence")),
        ReplyBody::PresenceStats(result) => {
            let mut body = message.object("presence_stats");
            body.number("num_clients", result.num_clients);
            body.number("num_users", result.num_users);
        }
        ReplyBody::History(result) => history(result, message.object("history")),
        ReplyBody::Ping => drop(message.object("ping")),
        ReplyBody::Rpc { data } => message.object("rpc").json_if_any("data", data.as_ref()),
        ReplyBody::Refresh(result) => refresh(result, message.object("refresh")),
        ReplyBody::SubRefresh { ttl } => expires(*ttl, &mut message.object("sub_refresh")),
    }
}

pub(super) fn push(push: &Push, out: &mut Vec<u8>) {
    let mut message = Object::open(out);
    let mut message = message.object("push");
    if let Some(channel) = push.channel() {
        message.text("channel", channel);
    }
    match push {
        Push::Pub { publication: item, .. } => publication(item, message.object("pub")),
        Push::Join { info, .. } => client_info(info, message.object("join").object("info")),
        Push::Leave { info, .. } => client_info(info, message.object("leave").object("info")),
        Push::Unsubscribe { code, .. } => {
            let mut body = message.object("unsubscribe");
            body.number("code", code.code());
            body.text("reason", code.reason());
        }
        Push::Subscribe { recoverable, positioned, epoch, offset, data, .. } => {
            let mut body = message.object("subscribe");
            body.flag_if_set("recoverable", *recoverable);
            body.flag_if_set("positioned", *positioned);
            body.text_if_any("epoch", epoch);
            body.number_if_any("offset", *offset);
            body.json_if_any("data", data.as_ref());
        }
        Push::Message { data } => message.object("message").json("data", data),
        Push::Disconnect { code, after_ms } => {
            let mut body = message.object("disconnect");
            body.number("code", code.code());
            body.text("reason", code.reason());
            body.flag_if_set("reconnect", code.reconnect());
            body.number_if_any("after_ms", after_ms.unwrap_or_default());
        }
        Push::Refresh { ttl } => expires(*ttl, &mut message.object("refresh")),
        Push::Lag { from, to, epoch, .. } => {
            let mut body = message.object("lag");
            body.number("from", from);
            body.number("to", to);
            body.text("epoch", epoch);
        }
    }
}

pub(super) fn publication_push(channel: &str, item: &Publication, out: &mut Vec<u8>) {
    let mut message = Object::open(out);
    let mut message = message.object("push");
    message.text("channel", channel);
    publication(item, message.object("pub"));
}

fn write_error(error: &ErrorReply, mut body: Object<'_>) {
    body.number("code", error.code.code());
    body.text("message", &error.message);
    body.flag_if_set("temporary", error.code.is_temporary());
    body.text_if_any("reason", error.reason.unwrap_or_default());
    body.number_if_any("retry_after_ms", error.retry_after_ms.unwrap_or_default());
    body.text_if_any("field", error.field.unwrap_or_default());
    if let Some(limit) = error.limit {
        body.number("limit", limit);
    }
    if let Some(got) = error.got {
        body.number("got", got);
    }
}

fn expires(ttl: Option<u32>, body: &mut Object<'_>) {
    if let Some(ttl) = expiry(ttl) {
        body.flag_if_set("expires", true);
        body.number("ttl", ttl);
    }
}

fn connect(result: &ConnectResult, mut body: Object<'_>) {
    body.text("client", &result.client);
    body.text_if_any("version", &result.version);
    expires(result.ttl, &mut body);
    body.json_if_any("data", result.data.as_ref());
    if !result.subs.is_empty() {
        let mut subs = body.object("subs");
        for (channel, result) in &result.subs {
            subscribe(result, subs.entry(channel));
        }
    }
    body.number_if_any("ping", result.ping_interval);
    body.flag_if_set("pong", result.pong);
    body.text_if_any("session", &result.session);
    body.text_if_any("node", &result.node);
    body.number_if_any("time", result.time_ms);
    if result.veza != Extensions::default() {
        let mut veza = body.object("veza");
        veza.flag_if_set("lag", result.veza.lag);
        veza.flag_if_set("after", result.veza.after);
    }
}

fn subscribe(result: &SubscribeResult, mut body: Object<'_>) {
    expires(result.ttl, &mut body);
    body.flag_if_set("recoverable", result.recoverable);
    body.flag_if_set("positioned", result.positioned);
    body.text_if_any("epoch", &result.epoch);
    body.number_if_any("offset", result.offset);
    body.flag_if_set("was_recovering", result.was_recovering);
    body.flag_if_set("recovered", result.recovered);
    body.list_if_any("publications", &result.publications, publication);
    body.json_if_any("data", result.data.as_ref());
}

fn publish(result: &PublishResult, mut body: Object<'_>) {
    body.number_if_any("offset", result.offset);
    body.text_if_any("epoch", &result.epoch);
    body.text_if_any("id", result.id.as_deref().unwrap_or_default());
    body.flag_if_set("duplicate", result.duplicate);
    body.text_if_any("status", result.status.unwrap_or_default());
}

fn presence(clients: &[(Arc<str>, ClientInfo)], mut body: Object<'_>) {
    let mut map = body.object("presence");
    for (client, info) in clients {
        client_info(info, map.entry(client));
    }
}

fn history(result: &HistoryResult, mut body: Object<'_>) {
    body.list_if_any("publications", &result.publications, publication);
    body.text_if_any("epoch", &result.epoch);
    body.number_if_any("offset", result.offset);
}

fn refresh(result: &RefreshResult, mut body: Object<'_>) {
    body.text_if_any("client", &result.client);
    body.text_if_any("version", &result.version);
    expires(result.ttl, &mut body);
}

fn publication(publication: &Publication, mut body: Object<'_>) {
    body.json("data", &publication.data);
    if let Some(info) = &publication.info {
        client_info(info, body.object("info"));
    }
    body.number_if_any("offset", publication.offset);
    if !publication.tags.is_empty() {
        let mut tags = body.object("tags");
        for (name, value) in &publication.tags {
            tags.text_entry(name, value);
        }
    }
    body.number_if_any("time", publication.time_ms);
}

fn client_info(info: &ClientInfo, mut body: Object<'_>) {
    body.text("user", &info.user);
    body.text("client", &info.client);
    body.json_if_any("conn_info", info.conn_info.as_ref());
    body.json_if_any("chan_info", info.chan_info.as_ref());
}
