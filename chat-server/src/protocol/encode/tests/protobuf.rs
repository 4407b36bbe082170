//! What the server sends in Protobuf: the same as in JSON, under the numbers of the .proto file.

use prost::Message;
use proto::client::v1::{self, push, reply};

use super::*;

fn decoded(write: impl FnOnce(&mut Vec<u8>)) -> v1::Reply {
    let mut out = Vec::new();
    write(&mut out);
    let mut rest = out.as_slice();
    let reply = v1::Reply::decode_length_delimited(&mut rest).unwrap();
    assert!(rest.is_empty(), "one message and nothing after it");
    reply
}

#[track_caller]
fn reply_is(body: Result<ReplyBody, ErrorReply>, expected: reply::Body) {
    let reply = Reply { id: 7, body };
    let found = decoded(|out| encode_reply(Encoding::Protobuf, &reply, out));
    assert_eq!(found, v1::Reply { id: 7, body: Some(expected) });
}

#[track_caller]
fn push_is(push: &Push, channel: &str, body: push::Body) {
    let found = decoded(|out| encode_push(Encoding::Protobuf, push, out));
    let push = v1::Push { channel: channel.to_owned(), body: Some(body) };
    assert_eq!(found, v1::Reply { id: 0, body: Some(reply::Body::Push(push)) });
}

fn ann() -> v1::ClientInfo {
    v1::ClientInfo {
        user: "42".to_owned(),
        client: "c1".to_owned(),
        conn_info: r#"{"name":"Ann"}"#.into(),
        chan_info: "".into(),
    }
}

fn publication() -> v1::Publication {
    v1::Publication {
        data: r#"{"text":"hi"}"#.into(),
        info: Some(ann()),
        offset: 5,
        tags: [("lang".to_owned(), "de".to_owned())].into(),
        time: 1_700_000_000_000,
    }
}

#[test]
fn connect_and_subscribe_replies() {
    let news = v1::SubscribeResult {
        recoverable: true,
        epoch: "e".to_owned(),
        offset: 3,
        ..Default::default()
    };
    reply_is(
        Ok(ReplyBody::Connect(Box::new(full_connect()))),
        reply::Body::Connect(v1::ConnectResult {
            client: "c1".to_owned(),
            version: "0.1.0".to_owned(),
            expires: true,
            ttl: 3600,
            data: "[1]".into(),
            subs: [("news".to_owned(), news), ("a\"b".to_owned(), Default::default())].into(),
            ping: 25,
            pong: true,
            session: "s3cr3t".to_owned(),
            node: "n1".to_owned(),
            time: 1_700_000_000_000,
            veza: Some(v1::Extensions { lag: true, after: true }),
        }),
    );
    let null = v1::Publication { data: "null".into(), ..Default::default() };
    reply_is(
        Ok(ReplyBody::Subscribe(Box::new(full_subscribe()))),
        reply::Body::Subscribe(v1::SubscribeResult {
            expires: true,
            ttl: 60,
            recoverable: true,
            epoch: "e".to_owned(),
            publications: vec![publication(), null],
            recovered: true,
            offset: 6,
            positioned: true,
            data: "\"x\"".into(),
            was_recovering: true,
        }),
    );
}

#[test]
fn the_other_replies() {
    reply_is(Ok(ReplyBody::Unsubscribe), reply::Body::Unsubscribe(v1::UnsubscribeResult {}));
    reply_is(
        Ok(ReplyBody::Publish(full_publish())),
        reply::Body::Publish(v1::PublishResult {
            offset: 9,
            epoch: "e".to_owned(),
            id: "m1".to_owned(),
            duplicate: true,
            status: "accepted".to_owned(),
        }),
    );
    reply_is(
        Ok(ReplyBody::Presence(vec![("c1".into(), super::ann())])),
        reply::Body::Presence(v1::PresenceResult { presence: [("c1".to_owned(), ann())].into() }),
    );
    reply_is(
        Ok(ReplyBody::PresenceStats(PresenceStatsResult { num_clients: 3, num_users: 2 })),
        reply::Body::PresenceStats(v1::PresenceStatsResult { num_clients: 3, num_users: 2 }),
    );
    reply_is(Ok(ReplyBody::Ping), reply::Body::Ping(v1::PingResult {}));
    reply_is(
        Ok(ReplyBody::Rpc { data: Some(json("[]")) }),
        reply::Body::Rpc(v1::RpcResult { data: "[]".into() }),
    );
    reply_is(
        Ok(ReplyBody::Refresh(RefreshResult { ttl: None, ..RefreshResult::default() })),
        reply::Body::Refresh(v1::RefreshResult::default()),
    );
    reply_is(
        Ok(ReplyBody::SubRefresh { ttl: Some(0) }),
        reply::Body::SubRefresh(v1::SubRefreshResult { expires: true, ttl: 1 }),
    );
    reply_is(
        Err(full_error()),
        reply::Body::Error(v1::Error {
            code: 111,
            message: "slow down".to_owned(),
            temporary: true,
            reason: "publish_rate".to_owned(),
            retry_after_ms: 250,
            field: "publish".to_owned(),
            limit: Some(100),
            got: Some(0),
        }),
    );
}

#[test]
fn pushes_of_a_channel() {
    let channel: std::sync::Arc<str> = "news".into();
    push_is(
        &Push::Pub { channel: channel.clone(), publication: full_publication() },
        "news",
        push::Body::Pub(publication()),
    );
    push_is(
        &Push::Join { channel: channel.clone(), info: super::ann() },
        "news",
        push::Body::Join(v1::Join { info: Some(ann()) }),
    );
    push_is(
        &Push::Leave { channel: channel.clone(), info: ClientInfo::default() },
        "news",
        push::Body::Leave(v1::Leave { info: Some(v1::ClientInfo::default()) }),
    );
    push_is(
        &Push::Unsubscribe { channel: channel.clone(), code: UnsubscribeCode::Expired },
        "news",
        push::Body::Unsubscribe(v1::Unsubscribe {
            code: 2501,
            reason: "subscription expired".to_owned(),
        }),
    );
    push_is(
        &Push::Subscribe {
            channel: channel.clone(),
            recoverable: true,
            positioned: true,
            epoch: "e".into(),
            offset: 4,
            data: None,
        },
        "news",
        push::Body::Subscribe(v1::Subscribe {
            recoverable: true,
            epoch: "e".to_owned(),
            offset: 4,
            positioned: true,
            data: "".into(),
        }),
    );
    push_is(
        &Push::Lag { channel, from: 3, to: 9, epoch: "e".into() },
        "news",
        push::Body::Lag(v1::Lag { from: 3, to: 9, epoch: "e".to_owned() }),
    );
}

#[test]
fn pushes_of_the_connection() {
    push_is(
        &Push::Message { data: json("1") },
        "",
        push::Body::Message(v1::Message { data: "1".into() }),
    );
    push_is(
        &Push::Disconnect { code: DisconnectCode::Shutdown, after_ms: Some(9) },
        "",
        push::Body::Disconnect(v1::Disconnect {
            code: 3001,
            reason: "shutdown".to_owned(),
            reconnect: true,
            after_ms: 9,
        }),
    );
    push_is(
        &Push::Refresh { ttl: Some(60) },
        "",
        push::Body::Refresh(v1::Refresh { expires: true, ttl: 60 }),
    );
}

#[test]
fn the_bytes_are_those_of_the_centrifuge_protocol() {
    let push = Push::Pub {
        channel: "ch".into(),
        publication: Publication { offset: 5, ..Publication::new(json("1")) },
    };
    let mut out = Vec::new();
    encode_push(Encoding::Protobuf, &push, &mut out);
    encode_reply(Encoding::Protobuf, &Reply::ok(300, ReplyBody::Ping), &mut out);
    encode_ping(Encoding::Protobuf, &mut out);
    #[rustfmt::skip]
    let expected = [
        13, 0x22, 11, 0x12, 2, b'c', b'h', 0x22, 5, 0x22, 1, b'1', 0x30, 5, // reply.push.pub
        5, 0x08, 0xac, 0x02, 0x62, 0, // reply.id, reply.ping
        0, // ping
    ];
    assert_eq!(out, expected);
}

#[test]
fn numbers_of_our_own_start_at_1000() {
    let lag = Push::Lag { channel: "a".into(), from: 1, to: 2, epoch: "".into() };
    let mut out = Vec::new();
    encode_push(Encoding::Protobuf, &lag, &mut out);
    assert_eq!(out, [12, 0x22, 10, 0x12, 1, b'a', 0xc2, 0x3e, 4, 0x08, 1, 0x10, 2]);
}

proptest! {
    #[test]
    fn history_reads_back(
        id in 1_u32..,
        epoch in any::<String>(),
        items in proptest::collection::vec((any::<String>(), any::<u64>(), any::<i64>()), 0..8),
    ) {
        let publications = items.iter().map(|(text, offset, time_ms)| Publication {
            offset: *offset,
            time_ms: *time_ms,
            ..Publication::new(Json::from_value(text).unwrap())
        });
        let result = HistoryResult {
            publications: publications.collect(),
            epoch: epoch.as_str().into(),
            offset: 1,
        };
        let reply = Reply::ok(id, ReplyBody::History(result));
        let found = decoded(|out| encode_reply(Encoding::Protobuf, &reply, out));
        prop_assert_eq!(found.id, id);
        let Some(reply::Body::History(read)) = found.body else { panic!("not history") };
        prop_assert_eq!(read.epoch, epoch);
        prop_assert_eq!(read.publications.len(), items.len());
        for (found, (text, offset, time)) in read.publications.iter().zip(&items) {
            prop_assert_eq!(&serde_json::from_slice::<String>(&found.data).unwrap(), text);
            prop_assert_eq!((found.offset, found.time), (*offset, *time));
        }
    }
}
