//! What frames mean.

mod hostile;

use proptest::prelude::*;
use prost::Message;
use proto::client::v1;
use secrecy::ExposeSecret;

use super::*;
use crate::protocol::{Extensions, Subscribe};

type Decoded = Result<Incoming, DecodeError>;

const NONSENSE: DecodeError = DecodeError::Disconnect(DisconnectCode::BadRequest);

fn all(encoding: Encoding, frame: impl AsRef<[u8]>) -> Vec<Decoded> {
    decode(encoding, frame.as_ref()).collect()
}

/// The one message of a JSON frame.
fn one(frame: impl AsRef<[u8]>) -> Decoded {
    let mut found = all(Encoding::Json, frame);
    assert_eq!(found.len(), 1, "{found:?}");
    found.remove(0)
}

/// The one message of a Protobuf frame.
fn one_protobuf(command: &v1::Command) -> Decoded {
    let mut found = all(Encoding::Protobuf, command.encode_length_delimited_to_vec());
    assert_eq!(found.len(), 1, "{found:?}");
    found.remove(0)
}

fn accepted(decoded: Decoded) -> (u32, Request) {
    match decoded {
        Ok(Incoming::Command(command)) => (command.id, command.request),
        other => panic!("not a command: {other:?}"),
    }
}

/// Id, code, reason and field of a refusal.
fn refused(decoded: Decoded) -> (u32, u32, &'static str, &'static str) {
    match decoded {
        Err(DecodeError::Refuse { id, error }) => {
            (id, error.code.code(), error.reason.unwrap_or(""), error.field.unwrap_or(""))
        }
        other => panic!("not refused: {other:?}"),
    }
}

fn closes(decoded: &Decoded) -> bool {
    matches!(decoded, Err(error) if *error == NONSENSE)
}

fn debug(decoded: Decoded) -> String {
    format!("{decoded:?}")
}

const CONNECT: &str = r#"{"id":1,"connect":{"token":"t0k","data":{"a":1},"name":"js","version":"1",
    "headers":{"x":"y"},"flag":4,"veza":{"lag":true,"after":true},"unknown":[1],
    "subs":{"news":{"recover":true,"offset":5,"epoch":"e"}}}}"#;

fn connect_protobuf() -> v1::Command {
    let news =
        v1::SubscribeRequest { recover: true, offset: 5, epoch: "e".into(), ..Default::default() };
    let connect = v1::ConnectRequest {
        token: "t0k".into(),
        data: r#"{"a":1}"#.into(),
        subs: [("news".to_owned(), news)].into(),
        name: "js".into(),
        version: "1".into(),
        flag: 4,
        veza: Some(v1::Extensions { lag: true, after: true }),
    };
    v1::Command { id: 1, connect: Some(connect), ..Default::default() }
}

#[test]
fn connect_is_read_alike_in_both_encodings() {
    for decoded in [one(CONNECT.replace('\n', "")), one_protobuf(&connect_protobuf())] {
        let (1, Request::Connect(connect)) = accepted(decoded) else { panic!("not connect") };
        assert_eq!(connect.token.unwrap().expose_secret(), "t0k");
        assert_eq!(connect.data.unwrap().as_bytes(), br#"{"a":1}"#);
        assert_eq!((connect.name.as_str(), connect.version.as_str()), ("js", "1"));
        assert_eq!((connect.flag, connect.veza), (4, Extensions { lag: true, after: true }));
        let [news] = connect.subs.as_slice() else { panic!("one subscription") };
        assert_eq!((news.channel.as_str(), news.offset, news.epoch.as_str()), ("news", 5, "e"));
        assert!(news.recover);
    }
}

#[test]
fn a_connect_with_nothing_is_anonymous() {
    for frame in [r#"{"id":1,"connect":{}}"#, r#"{"connect":{"token":"","data":null},"id":1}"#] {
        let (1, Request::Connect(connect)) = accepted(one(frame)) else { panic!("not connect") };
        assert!(connect.token.is_none() && connect.data.is_none() && connect.subs.is_empty());
    }
}

#[test]
fn subscribe_is_read_alike_in_both_encodings() {
    let json = r#"{"id":2,"subscribe":{"channel":"news","token":"t","recover":true,"offset":7,
        "epoch":"e","data":[1],"positioned":true,"recoverable":true,"join_leave":true,"flag":3,
        "type":4,"delta":"fossil","tf":{"key":"k"}}}"#;
    let protobuf = v1::SubscribeRequest {
        channel: "news".into(),
        token: "t".into(),
        recover: true,
        epoch: "e".into(),
        offset: 7,
        data: "[1]".into(),
        positioned: true,
        recoverable: true,
        join_leave: true,
        delta: "fossil".into(),
        tf: Some(Default::default()),
        flag: 3,
        r#type: 4,
    };
    let protobuf = v1::Command { id: 2, subscribe: Some(protobuf), ..Default::default() };
    let (json, protobuf) = (one(json.replace('\n', "")), one_protobuf(&protobuf));
    assert_eq!(debug(json.clone()), debug(protobuf));
    let (2, Request::Subscribe(subscribe)) = accepted(json) else { panic!("not subscribe") };
    assert_eq!((subscribe.offset, subscribe.kind), (7, 4));
    assert!(subscribe.rejects_unrecovered() && subscribe.join_leave && subscribe.recoverable);
    assert!(subscribe.has_delta && subscribe.has_tag_filter && subscribe.positioned);
    let (_, Request::Subscribe(plain)) =
        accepted(one(r#"{"id":2,"subscribe":{"channel":"news","flag":1,"delta":"","tf":null}}"#))
    else {
        panic!("not subscribe")
    };
    assert!(!plain.rejects_unrecovered() && !plain.has_delta && !plain.has_tag_filter);
}

/// Command 3 in Protobuf.
fn command_with(set: impl FnOnce(&mut v1::Command)) -> v1::Command {
    let mut command = v1::Command { id: 3, ..Default::default() };
    set(&mut command);
    command
}

/// The commands about a channel, in JSON and in Protobuf.
fn channel_commands() -> Vec<(&'static str, v1::Command)> {
    let channel = String::from("ch");
    let unsubscribe = v1::UnsubscribeRequest { channel: channel.clone() };
    let publish = v1::PublishRequest { channel: channel.clone(), data: "[1]".into(), r#type: 0 };
    let presence = v1::PresenceRequest { channel: channel.clone() };
    let presence_stats = v1::PresenceStatsRequest { channel: channel.clone() };
    let since = Some(v1::StreamPosition { offset: 4, epoch: "e".into() });
    let history = v1::HistoryRequest { channel: channel.clone(), limit: -1, since, reverse: true };
    let sub_refresh = v1::SubRefreshRequest { channel, token: "t".into(), r#type: 0 };
    vec![
        (
            r#"{"id":3,"unsubscribe":{"channel":"ch"}}"#,
            command_with(|c| c.unsubscribe = Some(unsubscribe)),
        ),
        (
            r#"{"id":3,"publish":{"channel":"ch","data":[1]}}"#,
            command_with(|c| c.publish = Some(publish)),
        ),
        (r#"{"id":3,"presence":{"channel":"ch"}}"#, command_with(|c| c.presence = Some(presence))),
        (
            r#"{"id":3,"presence_stats":{"channel":"ch"}}"#,
            command_with(|c| c.presence_stats = Some(presence_stats)),
        ),
        (
            "{\"id\":3,\"history\":{\"channel\":\"ch\",\"limit\":-1,\
             \"since\":{\"offset\":4,\"epoch\":\"e\"},\"reverse\":true}}",
            command_with(|c| c.history = Some(history)),
        ),
        (
            r#"{"id":3,"sub_refresh":{"channel":"ch","token":"t"}}"#,
            command_with(|c| c.sub_refresh = Some(sub_refresh)),
        ),
    ]
}

/// The commands about the connection, in JSON and in Protobuf.
fn connection_commands() -> Vec<(&'static str, v1::Command)> {
    let send = v1::SendRequest { data: "[1]".into() };
    let rpc = v1::RpcRequest { data: "".into(), method: "m".into() };
    let refresh = v1::RefreshRequest { token: "t".into() };
    vec![
        (r#"{"id":3,"ping":{}}"#, command_with(|c| c.ping = Some(v1::PingRequest {}))),
        (r#"{"id":3,"send":{"data":[1]}}"#, command_with(|c| c.send = Some(send))),
        (r#"{"id":3,"rpc":{"method":"m","data":null}}"#, command_with(|c| c.rpc = Some(rpc))),
        (r#"{"id":3,"refresh":{"token":"t"}}"#, command_with(|c| c.refresh = Some(refresh))),
    ]
}

fn other_commands() -> Vec<(&'static str, v1::Command)> {
    channel_commands().into_iter().chain(connection_commands()).collect()
}

#[test]
fn a_send_needs_no_id() {
    let (0, Request::Send { data: Some(_) }) = accepted(one(r#"{"send":{"data":[1]}}"#)) else {
        panic!("not send")
    };
}

#[test]
fn the_other_commands_are_read_alike_in_both_encodings() {
    for (json, protobuf) in other_commands() {
        let (json, protobuf) = (one(json), one_protobuf(&protobuf));
        assert!(matches!(json, Ok(Incoming::Command(_))), "{json:?}");
        assert_eq!(debug(json), debug(protobuf));
    }
}

#[test]
fn several_messages_share_a_frame() {
    let frame = "{\"id\":1,\"ping\":{}}\n{}\r\n\n  \n{\"id\":2,\"ping\":{}}\n";
    let found = all(Encoding::Json, frame);
    assert!(matches!(
        found.as_slice(),
        [Ok(Incoming::Command(_)), Ok(Incoming::Pong), Ok(Incoming::Command(_))]
    ));
    let ping = v1::Command { id: 1, ping: Some(v1::PingRequest {}), ..Default::default() };
    let mut frame = ping.encode_length_delimited_to_vec();
    frame.push(0);
    frame.extend(ping.encode_length_delimited_to_vec());
    assert!(matches!(
        all(Encoding::Protobuf, frame).as_slice(),
        [Ok(Incoming::Command(_)), Ok(Incoming::Pong), Ok(Incoming::Command(_))]
    ));
}

#[test]
fn what_follows_the_message_asked_for_is_not_looked_at() {
    let mut decoder = decode(Encoding::Json, b"{\"id\":1,\"connect\":{}}\nnot json");
    assert!(matches!(decoder.next(), Some(Ok(Incoming::Command(_)))));
    assert!(closes(&decoder.next().unwrap()));
    assert!(decoder.next().is_none());
}

#[test]
fn unknown_keys_beside_a_request_are_ignored() {
    let (5, Request::Ping) = accepted(one(r#"{"x":[{}],"id":5,"ping":{"y":1},"z":null}"#)) else {
        panic!("not ping")
    };
}

#[test]
fn an_emulation_request_is_read_alike_in_both_encodings() {
    let json = br#"{"session":"s","node":"n","data":"{\"id\":1,\"ping\":{}}\n{}"}"#;
    let json = decode_emulation(Encoding::Json, json).unwrap();
    assert_eq!((json.node.as_str(), json.session.expose_secret()), ("n", "s"));
    assert_eq!(decode(Encoding::Json, &json.data).count(), 2);
    assert!(!format!("{json:?}").contains("\"s\""));
    let body = v1::EmulationRequest { node: "n".into(), session: "s".into(), data: vec![0].into() };
    let protobuf = decode_emulation(Encoding::Protobuf, &body.encode_to_vec()).unwrap();
    assert_eq!((protobuf.node.as_str(), protobuf.session.expose_secret()), ("n", "s"));
    assert_eq!(&protobuf.data[..], [0]);
}

proptest! {
    #[test]
    fn a_subscription_reads_back_from_both_encodings(
        id in 1_u32..,
        channel in any::<String>(),
        token in any::<String>(),
        epoch in any::<String>(),
        offset in any::<u64>(),
        recover in any::<bool>(),
        flag in any::<i64>(),
    ) {
        let protobuf = v1::SubscribeRequest {
            channel: channel.clone(),
            token: token.clone(),
            recover,
            epoch: epoch.clone(),
            offset,
            flag,
            ..Default::default()
        };
        let protobuf = v1::Command { id, subscribe: Some(protobuf), ..Default::default() };
        let json = serde_json::json!({ "id": id, "subscribe": {
            "channel": channel, "token": token, "recover": recover, "epoch": epoch,
            "offset": offset, "flag": flag,
        }});
        for decoded in [one(json.to_string()), one_protobuf(&protobuf)] {
            let (found, Request::Subscribe(read)) = accepted(decoded) else {
                panic!("not subscribe")
            };
            prop_assert_eq!(found, id);
            let Subscribe { channel: c, token: t, epoch: e, .. } = &*read;
            prop_assert_eq!((c, e), (&channel, &epoch));
            prop_assert_eq!(t.as_ref().map_or("", |t| t.expose_secret()), &token);
            prop_assert_eq!((read.offset, read.recover, read.flag), (offset, recover, flag));
        }
    }
}
