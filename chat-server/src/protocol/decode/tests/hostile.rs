//! Nonsense, refusals, and that no bytes at all do harm.

use super::*;

#[test]
fn nonsense_in_json_closes_the_connection() {
    for frame in [
        "",
        "\n",
        " \n ",
        "nonsense",
        "1",
        "[]",
        "null",
        "\"x\"",
        "{\"id\":1}",
        "{\"id\":0}",
        "{",
        "{}{}",
        "{\"ping\":{}}",
        "{\"id\":0,\"ping\":{}}",
        "{\"id\":1,\"dance\":{}}",
        "{\"id\":1,\"publish\":null}",
        "{\"id\":-1,\"ping\":{}}",
        "{\"id\":1.5,\"ping\":{}}",
        "{\"id\":4294967296,\"ping\":{}}",
        "{\"id\":\"1\",\"ping\":{}}",
        "{\"id\":1,\"ping\":{},\"presence\":{}}",
        "{\"id\":1,\"ping\":{},\"ping\":{}}",
        "{\"id\":1,\"id\":2,\"ping\":{}}",
        "{\"id\":1,\"ping\":{}",
        "{\"method\":1,\"params\":{}}",
    ] {
        assert!(closes(&one(frame)), "{frame:?}");
    }
    assert!(closes(&one(b"{\"id\":1,\"rpc\":{\"method\":\"\xff\"}}")));
}

#[test]
fn nonsense_in_protobuf_closes_the_connection() {
    let ping = v1::Command { id: 1, ping: Some(v1::PingRequest {}), ..Default::default() };
    let without_id = v1::Command { id: 0, ..ping.clone() };
    let two = v1::Command { presence: Some(v1::PresenceRequest::default()), ..ping.clone() };
    let none = v1::Command { id: 9, ..Default::default() };
    for command in [without_id, two, none] {
        assert!(closes(&one_protobuf(&command)), "{command:?}");
    }
    let whole = ping.encode_length_delimited_to_vec();
    for end in 1..whole.len() {
        assert!(closes(all(Encoding::Protobuf, &whole[..end]).last().unwrap()), "cut at {end}");
    }
    for frame in [&[][..], &[0x80], &[0xff; 11], &[3, 0x08, 0x01, 0xff], &[2, 0x0a, 0x05]] {
        assert!(closes(all(Encoding::Protobuf, frame).last().unwrap()), "{frame:?}");
    }
}

#[test]
fn reading_ends_with_nonsense_and_goes_on_after_a_refusal() {
    let refusal = "{\"id\":1,\"publish\":{\"channel\":\"a\"}}";
    let ping = "{\"id\":2,\"ping\":{}}";
    assert_eq!(all(Encoding::Json, format!("{refusal}\n{ping}")).len(), 2);
    assert_eq!(all(Encoding::Json, format!("[]\n{ping}")).len(), 1);
}

#[test]
fn data_that_is_missing_or_no_json_is_refused() {
    let missing = (4, 107, "data_missing", "data");
    assert_eq!(refused(one(r#"{"id":4,"publish":{"channel":"a"}}"#)), missing);
    assert_eq!(refused(one(r#"{"id":4,"publish":{"channel":"a","data":null}}"#)), missing);
    let publish = |data: &'static [u8]| {
        let publish = v1::PublishRequest { data: data.into(), ..Default::default() };
        one_protobuf(&v1::Command { id: 4, publish: Some(publish), ..Default::default() })
    };
    assert_eq!(refused(publish(b"")), missing);
    let not_json = (4, 107, "data_not_json", "data");
    assert_eq!(refused(publish(b"hi")), not_json);
    assert_eq!(refused(publish(b"1}}\n{\"push\":{}}")), not_json);
    assert_eq!(refused(publish(b"\xff")), not_json);
    assert_eq!(refused(one(r#"{"id":4,"publish":{"channel":"a","data":"\ud800"}}"#)), not_json);
}

#[test]
fn a_send_that_cannot_be_answered_closes_the_connection() {
    let send = |id| v1::Command {
        id,
        send: Some(v1::SendRequest { data: "x".into() }),
        ..Default::default()
    };
    assert!(closes(&one_protobuf(&send(0))));
    assert_eq!(refused(one_protobuf(&send(8))), (8, 107, "data_not_json", "data"));
}

#[test]
fn a_field_of_the_wrong_type_is_refused_without_quoting_it() {
    let decoded = one(r#"{"id":6,"connect":{"token":"s3cret","subs":"s3cret"}}"#);
    assert!(!debug(decoded.clone()).contains("s3cret"));
    assert_eq!(refused(decoded), (6, 107, "malformed", ""));
    for frame in [
        r#"{"id":6,"history":{"channel":"a","limit":"all"}}"#,
        r#"{"id":6,"history":{"channel":"a","limit":2147483648}}"#,
        r#"{"id":6,"history":{"since":{"offset":-1}}}"#,
        r#"{"id":6,"history":[]}"#,
        r#"{"id":6,"history":{"channel":"a","channel":"b"}}"#,
    ] {
        assert_eq!(refused(one(frame)), (6, 107, "malformed", ""), "{frame}");
    }
}

#[test]
fn kinds_of_other_servers_are_not_available() {
    assert_eq!(
        refused(one(r#"{"id":6,"publish":{"channel":"a","type":1,"key":"k","removed":true}}"#)),
        (6, 108, "kind_not_available", "type")
    );
    assert_eq!(
        refused(one(r#"{"id":6,"sub_refresh":{"channel":"a","type":1,"untrack":["k"]}}"#)),
        (6, 108, "kind_not_available", "type")
    );
}

#[test]
fn tokens_stay_out_of_debug_output() {
    for frame in [
        r#"{"id":1,"connect":{"token":"s3cret","subs":{"a":{"token":"s3cret"}}}}"#,
        r#"{"id":1,"subscribe":{"token":"s3cret"}}"#,
        r#"{"id":1,"refresh":{"token":"s3cret"}}"#,
        r#"{"id":1,"sub_refresh":{"token":"s3cret"}}"#,
    ] {
        assert!(!debug(one(frame)).contains("s3cret"), "{frame}");
    }
}

#[test]
fn an_emulation_request_names_a_session() {
    for body in ["", "{}", "[]", r#"{"session":"","data":"{}"}"#, r#"{"session":1}"#] {
        assert!(decode_emulation(Encoding::Json, body.as_bytes()).is_err(), "{body}");
    }
    assert!(decode_emulation(Encoding::Protobuf, b"").is_err());
    assert!(decode_emulation(Encoding::Protobuf, b"\x12\x05s").is_err());
}

/// Bytes near to frames: whole frames with a few bytes changed, inserted or cut.
fn nearly_frames() -> impl Strategy<Value = Vec<u8>> {
    let mut seeds: Vec<Vec<u8>> = vec![
        CONNECT.replace('\n', "").into_bytes(),
        connect_protobuf().encode_length_delimited_to_vec(),
    ];
    for (json, protobuf) in other_commands() {
        seeds.push(json.as_bytes().to_vec());
        seeds.push(protobuf.encode_length_delimited_to_vec());
    }
    let seed = proptest::sample::select(seeds);
    let edits = proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 0..4);
    (seed, edits, any::<proptest::sample::Index>(), any::<bool>()).prop_map(
        |(mut frame, edits, end, cut)| {
            for (at, byte) in edits {
                let at = at.index(frame.len());
                if byte % 2 == 0 {
                    frame[at] = byte;
                } else {
                    frame.insert(at, byte);
                }
            }
            if cut {
                frame.truncate(end.index(frame.len()));
            }
            frame
        },
    )
}

fn never_panics(frame: &[u8]) {
    for encoding in [Encoding::Json, Encoding::Protobuf] {
        let found: Vec<_> = decode(encoding, frame).collect();
        assert!(!found.is_empty(), "every frame has an outcome");
        let end = found.iter().position(closes);
        assert!(end.is_none_or(|end| end + 1 == found.len()), "nothing is read after nonsense");
        drop(decode_emulation(encoding, frame));
    }
}

proptest! {
    #[test]
    fn no_bytes_do_harm(frame in proptest::collection::vec(any::<u8>(), 0..512)) {
        never_panics(&frame);
    }

    #[test]
    fn no_text_does_harm(frame in r#"[{}\[\]":,\\a-z0-9 \n]{0,64}"#) {
        never_panics(frame.as_bytes());
    }

    #[test]
    fn no_damaged_frame_does_harm(frame in nearly_frames()) {
        never_panics(&frame);
    }
}
