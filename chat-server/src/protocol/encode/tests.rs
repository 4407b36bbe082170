//! The exact JSON of everything the server sends, and that payloads cannot break out of it.

mod protobuf;

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::protocol::*;

const ANN: &str = r#"{"user":"42","client":"c1","conn_info":{"name":"Ann"}}"#;
const FULL_PUBLICATION: &str = r#"{"data":{"text":"hi"},"info":{"user":"42","client":"c1",
    "conn_info":{"name":"Ann"}},"offset":5,"tags":{"lang":"de"},"time":1700000000000}"#;

/// Written over several lines here, on one line on the wire.
fn flat(text: &str) -> String {
    text.lines().map(str::trim).collect()
}

fn json(text: &str) -> Json {
    Json::parse(text.as_bytes()).unwrap()
}

fn text_of(write: impl FnOnce(&mut Vec<u8>)) -> String {
    let mut out = Vec::new();
    write(&mut out);
    String::from_utf8(out).unwrap()
}

fn push_json(push: &Push) -> String {
    text_of(|out| encode_push(Encoding::Json, push, out))
}

/// Asserts the reply to command 7, `body` being what stands beside the id.
#[track_caller]
fn reply_is(reply: ReplyBody, body: &str) {
    let written = text_of(|out| encode_reply(Encoding::Json, &Reply::ok(7, reply), out));
    assert_eq!(written, flat(&format!(r#"{{"id":7,{body}}}"#)));
}

#[track_caller]
fn push_is(push: &Push, body: &str) {
    assert_eq!(push_json(push), flat(&format!(r#"{{"push":{{{body}}}}}"#)));
}

fn ann() -> ClientInfo {
    ClientInfo {
        user: "42".into(),
        client: "c1".into(),
        conn_info: Some(json(r#"{"name":"Ann"}"#)),
        chan_info: None,
    }
}

fn full_publication() -> Publication {
    Publication {
        info: Some(ann()),
        offset: 5,
        tags: BTreeMap::from([("lang".to_owned(), "de".to_owned())]),
        time_ms: 1_700_000_000_000,
        ..Publication::new(json(r#"{"text":"hi"}"#))
    }
}

fn full_connect() -> ConnectResult {
    let news = SubscribeResult {
        recoverable: true,
        epoch: "e".into(),
        offset: 3,
        ..SubscribeResult::default()
    };
    ConnectResult {
        client: "c1".into(),
        version: "0.1.0".into(),
        ttl: Some(3600),
        data: Some(json("[1]")),
        subs: vec![("news".into(), news), ("a\"b".into(), SubscribeResult::default())],
        ping_interval: 25,
        pong: true,
        session: "s3cr3t".into(),
        node: "n1".into(),
        time_ms: 1_700_000_000_000,
        veza: Extensions { lag: true, after: true },
    }
}

fn full_subscribe() -> SubscribeResult {
    SubscribeResult {
        ttl: Some(60),
        recoverable: true,
        positioned: true,
        epoch: "e".into(),
        offset: 6,
        publications: vec![full_publication(), Publication::new(json("null"))],
        recovered: true,
        was_recovering: true,
        data: Some(json("\"x\"")),
    }
}

fn full_publish() -> PublishResult {
    PublishResult {
        offset: 9,
        epoch: "e".into(),
        id: Some("m1".into()),
        duplicate: true,
        status: Some("accepted"),
    }
}

fn full_error() -> ErrorReply {
    ErrorReply::new(ErrorCode::TooManyRequests)
        .with_message("slow down")
        .with_reason("publish_rate")
        .with_retry_after_ms(250)
        .with_field("publish")
        .with_limit(100, 0)
}

#[test]
fn a_connect_reply() {
    let result = ConnectResult {
        client: "c1".into(),
        version: "0.1.0".into(),
        ping_interval: 25,
        pong: true,
        ..ConnectResult::default()
    };
    reply_is(
        ReplyBody::Connect(Box::new(result)),
        r#""connect":{"client":"c1","version":"0.1.0","ping":25,"pong":true}"#,
    );
    reply_is(
        ReplyBody::Connect(Box::new(full_connect())),
        r#""connect":{"client":"c1","version":"0.1.0","expires":true,"ttl":3600,"data":[1],
        "subs":{"news":{"recoverable":true,"epoch":"e","offset":3},"a\"b":{}},
        "ping":25,"pong":true,"session":"s3cr3t","node":"n1","time":1700000000000,
        "veza":{"lag":true,"after":true}}"#,
    );
}

#[test]
fn a_subscribe_reply() {
    reply_is(ReplyBody::Subscribe(Box::default()), r#""subscribe":{}"#);
    let body = format!(
        r#""subscribe":{{"expires":true,"ttl":60,"recoverable":true,"positioned":true,
        "epoch":"e","offset":6,"was_recovering":true,"recovered":true,
        "publications":[{FULL_PUBLICATION},{{"data":null}}],"data":"x"}}"#
    );
    reply_is(ReplyBody::Subscribe(Box::new(full_subscribe())), &body);
}

#[test]
fn an_expiring_token_never_has_a_ttl_of_zero() {
    reply_is(ReplyBody::SubRefresh { ttl: Some(0) }, r#""sub_refresh":{"expires":true,"ttl":1}"#);
}

#[test]
fn replies_with_little_in_them() {
    reply_is(ReplyBody::Unsubscribe, r#""unsubscribe":{}"#);
    reply_is(ReplyBody::Publish(PublishResult::default()), r#""publish":{}"#);
    reply_is(ReplyBody::Presence(Vec::new()), r#""presence":{"presence":{}}"#);
    reply_is(
        ReplyBody::PresenceStats(PresenceStatsResult::default()),
        r#""presence_stats":{"num_clients":0,"num_users":0}"#,
    );
    reply_is(ReplyBody::History(HistoryResult::default()), r#""history":{}"#);
    reply_is(ReplyBody::Ping, r#""ping":{}"#);
    reply_is(ReplyBody::Rpc { data: None }, r#""rpc":{}"#);
    reply_is(ReplyBody::Refresh(RefreshResult::default()), r#""refresh":{}"#);
    reply_is(ReplyBody::SubRefresh { ttl: None }, r#""sub_refresh":{}"#);
}

#[test]
fn replies_with_something_in_them() {
    reply_is(
        ReplyBody::Publish(full_publish()),
        r#""publish":{"offset":9,"epoch":"e","id":"m1","duplicate":true,"status":"accepted"}"#,
    );
    reply_is(
        ReplyBody::Presence(vec![("c0".into(), ClientInfo::default()), ("c1".into(), ann())]),
        &format!(r#""presence":{{"presence":{{"c0":{{"user":"","client":""}},"c1":{ANN}}}}}"#),
    );
    reply_is(
        ReplyBody::PresenceStats(PresenceStatsResult { num_clients: 3, num_users: 2 }),
        r#""presence_stats":{"num_clients":3,"num_users":2}"#,
    );
    let publications = vec![Publication { offset: 2, ..Publication::new(json("1")) }];
    reply_is(
        ReplyBody::History(HistoryResult { publications, epoch: "e".into(), offset: 2 }),
        r#""history":{"publications":[{"data":1,"offset":2}],"epoch":"e","offset":2}"#,
    );
    reply_is(ReplyBody::Rpc { data: Some(json("[]")) }, r#""rpc":{"data":[]}"#);
    reply_is(
        ReplyBody::Refresh(RefreshResult {
            client: "c1".into(),
            version: "v".into(),
            ttl: Some(60),
        }),
        r#""refresh":{"client":"c1","version":"v","expires":true,"ttl":60}"#,
    );
}

#[test]
fn an_error_has_a_code_and_a_message_and_what_else_is_known() {
    let written = |error| text_of(|out| encode_reply(Encoding::Json, &Reply::error(7, error), out));
    assert_eq!(
        written(ErrorCode::PermissionDenied.into()),
        r#"{"id":7,"error":{"code":103,"message":"permission denied"}}"#
    );
    assert_eq!(
        written(full_error()),
        flat(
            r#"{"id":7,"error":{"code":111,"message":"slow down","temporary":true,
            "reason":"publish_rate","retry_after_ms":250,"field":"publish","limit":100,"got":0}}"#
        )
    );
    assert_eq!(ErrorReply::new(ErrorCode::NotFound).with_message("").message, "not found");
}

#[test]
fn pushes_of_a_channel() {
    let channel: std::sync::Arc<str> = "news".into();
    let publication = Publication::new(json("{}"));
    push_is(
        &Push::Pub { channel: channel.clone(), publication },
        r#""channel":"news","pub":{"data":{}}"#,
    );
    push_is(
        &Push::Pub { channel: channel.clone(), publication: full_publication() },
        &format!(r#""channel":"news","pub":{FULL_PUBLICATION}"#),
    );
    push_is(
        &Push::Join { channel: channel.clone(), info: ann() },
        &format!(r#""channel":"news","join":{{"info":{ANN}}}"#),
    );
    push_is(
        &Push::Leave { channel: channel.clone(), info: ClientInfo::default() },
        r#""channel":"news","leave":{"info":{"user":"","client":""}}"#,
    );
    push_is(
        &Push::Unsubscribe { channel: channel.clone(), code: UnsubscribeCode::Server },
        r#""channel":"news","unsubscribe":{"code":2000,"reason":"server unsubscribe"}"#,
    );
    push_is(
        &Push::Subscribe {
            channel: channel.clone(),
            recoverable: true,
            positioned: true,
            epoch: "e".into(),
            offset: 4,
            data: Some(json("1")),
        },
        r#""channel":"news","subscribe":{"recoverable":true,"positioned":true,"epoch":"e",
        "offset":4,"data":1}"#,
    );
    push_is(
        &Push::Lag { channel, from: 3, to: 9, epoch: "e".into() },
        r#""channel":"news","lag":{"from":3,"to":9,"epoch":"e"}"#,
    );
}

#[test]
fn pushes_of_the_connection() {
    push_is(&Push::Message { data: json("[2]") }, r#""message":{"data":[2]}"#);
    push_is(
        &Push::Disconnect { code: DisconnectCode::Shutdown, after_ms: Some(1500) },
        r#""disconnect":{"code":3001,"reason":"shutdown","reconnect":true,"after_ms":1500}"#,
    );
    push_is(
        &Push::Disconnect { code: DisconnectCode::InvalidToken, after_ms: None },
        r#""disconnect":{"code":3500,"reason":"invalid token"}"#,
    );
    push_is(&Push::Refresh { ttl: Some(60) }, r#""refresh":{"expires":true,"ttl":60}"#);
    push_is(&Push::Refresh { ttl: None }, r#""refresh":{}"#);
}

#[test]
fn a_ping_is_an_empty_message() {
    assert_eq!(text_of(|out| encode_ping(Encoding::Json, out)), "{}");
    assert_eq!(text_of(|out| encode_ping(Encoding::Protobuf, out)), "\0");
}

#[test]
fn a_publication_encodes_the_same_from_its_parts() {
    for encoding in [Encoding::Json, Encoding::Protobuf] {
        let push = Push::Pub { channel: "news".into(), publication: full_publication() };
        let (mut whole, mut parts) = (Vec::new(), Vec::new());
        encode_push(encoding, &push, &mut whole);
        encode_publication(encoding, "news", &full_publication(), &mut parts);
        assert_eq!(whole, parts);
    }
}

#[test]
fn data_with_a_forged_push_stays_one_line() {
    let forged = "{\"a\":1,\n\"b\":\"\\n{\\\"push\\\":{}}\"\r\n}";
    let publication = Publication::new(json(forged));
    let channel = "x\"}}\n{\"push\":{\"disconnect\":{\"code\":3500}}}\n".into();
    let text = push_json(&Push::Pub { channel, publication });
    assert!(!text.contains(['\n', '\r']), "{text}");
    let value: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(value["push"].as_object().unwrap().len(), 2);
    assert_eq!(value["push"]["pub"]["data"]["b"], "\n{\"push\":{}}");
}

proptest! {
    #[test]
    fn pushes_are_one_line_and_read_back(
        channel in any::<String>(),
        user in any::<String>(),
        text in any::<String>(),
        tags in proptest::collection::btree_map(any::<String>(), any::<String>(), 0..4),
        offset in 0_u64..(1 << 53),
    ) {
        let publication = Publication {
            info: Some(ClientInfo { user: user.as_str().into(), ..ClientInfo::default() }),
            offset,
            tags: tags.clone(),
            ..Publication::new(Json::from_value(&text).unwrap())
        };
        let written = push_json(&Push::Pub { channel: channel.as_str().into(), publication });
        prop_assert!(!written.contains(['\n', '\r']));
        let read: Value = serde_json::from_str(&written).unwrap();
        let read = &read["push"];
        prop_assert_eq!(read["channel"].as_str().unwrap(), channel);
        prop_assert_eq!(read["pub"]["data"].as_str().unwrap(), text);
        prop_assert_eq!(read["pub"]["info"]["user"].as_str().unwrap(), user);
        prop_assert_eq!(read["pub"]["offset"].as_u64().unwrap_or_default(), offset);
        for (name, value) in &tags {
            prop_assert_eq!(read["pub"]["tags"][name].as_str().unwrap(), value);
        }
    }
}
