//! What can be published into a room, and what is refused by the name of its field.

use chassis::testing::Issuer;
use serde_json::{Value, json};

use crate::harness::rooms::Room;
use crate::harness::{Client, SECRET, Stage, on_both_stores, unix};

/// The largest body by default, in bytes.
const LIMIT: usize = 8192;

/// The error with which something published is refused.
async fn refused(client: &mut Client, room: &Room, data: Value) -> Value {
    client.refused("publish", json!({ "channel": room.channel, "data": data })).await
}

/// The code, reason and field of an error.
fn short(error: &Value) -> (u64, &str, &str) {
    let text = |key| error[key].as_str().unwrap_or("");
    (error["code"].as_u64().unwrap(), text("reason"), text("field"))
}

fn message(body: impl Into<Value>) -> Value {
    json!({ "type": "message", "body": body.into() })
}

on_both_stores! {
    async fn a_body_is_taken_to_the_last_byte_and_no_further(stage: Stage) {
        let mut ann = stage.connect("ann").await;
        let room = ann.create("public", &[]).await;
        for body in ["a".repeat(LIMIT), "ü".repeat(LIMIT / 2), "👍".repeat(LIMIT / 4)] {
            ann.publish(&room.channel, message(body)).await;
        }
        for body in ["a".repeat(LIMIT + 1), format!("{}a", "ü".repeat(LIMIT / 2))] {
            let error = refused(&mut ann, &room, message(body)).await;
            assert_eq!(short(&error), (413, "message_size", "body"), "{error}");
            assert_eq!((&error["limit"], &error["got"]), (&json!(8192), &json!(8193)));
        }
        // Bytes that JSON writes in more than one place are counted as the text has them.
        let body = format!("a{}", "\\\"\n".repeat(LIMIT / 3));
        ann.publish(&room.channel, message(body)).await;
    }

    async fn a_body_that_nobody_can_read_is_refused(stage: Stage) {
        let mut ann = stage.connect("ann").await;
        let room = ann.create("public", &[]).await;
        let zalgo = format!("a{}", "\u{301}".repeat(31));
        let bodies = [
            ("", "empty"), (" \n\t\u{3000}", "empty"), ("\u{301}\u{302}\u{20DD}", "empty"),
            ("\u{200B}\u{2060}\u{FEFF}", "empty"), ("\u{115F}\u{3164}\u{2800}", "empty"),
            ("a\0", "control"), ("\u{1b}[2J", "control"), ("a\rb", "control"),
            (&zalgo, "combining"),
        ];
        for (body, reason) in bodies {
            let error = refused(&mut ann, &room, message(body)).await;
            assert_eq!(short(&error), (400, reason, "body"), "{body:?}: {error}");
        }
        for data in [message(1), message(json!(["a"])), message(json!({}))] {
            let error = refused(&mut ann, &room, data).await;
            assert_eq!(short(&error), (400, "type", "body"), "{error}");
        }
        for data in [json!({ "type": "message" }), message(Value::Null)] {
            let error = refused(&mut ann, &room, data).await;
            assert_eq!(short(&error), (400, "missing", "body"), "{error}");
        }
        assert_eq!(stage.logs().await.room(&room).await.len(), 1, "only she came in");
    }

    async fn what_people_write_arrives_as_they_wrote_it(stage: Stage) {
        let mut ann = stage.connect("ann").await;
        let room = ann.create("public", &[]).await;
        ann.subscribe(&room.channel).await;
        let texts = [
            "שלום, עולם", "مرحبا \u{202E}abc", " a\tb\nc ", "\"\\/\u{2028}",
            "👩‍👩‍👧‍👦 1️⃣", "zu\u{308}rich",
        ];
        for text in texts {
            ann.publish(&room.channel, message(text)).await;
            assert_eq!(ann.hears(&room.channel).await["body"], text);
        }
        ann.publish(&room.channel, message("a\r\nb")).await;
        assert_eq!(ann.hears(&room.channel).await["body"], "a\nb");
    }

    async fn a_message_says_who_and_what_and_keeps_nothing_else(stage: Stage) {
        let named = json!({ "sub": "ann", "name": "Ann A.", "exp": unix() + 60 });
        let token = Issuer::hs256(SECRET.as_bytes()).token(&named);
        let mut ann = stage.socket().await;
        ann.ask("connect", json!({ "token": token })).await;
        let room = ann.create("public", &[]).await;
        ann.subscribe(&room.channel).await;
        let first = ann.publish(&room.channel, message("first")).await;
        let idem = uuid::Uuid::new_v4();
        let said = ann.publish(&room.channel, json!({
            "type": "message", "body": "second", "idem": idem, "reply_to": first["id"],
            "attachments": [], "sender": { "id": "bob" }, "id": "mine", "color": "red",
        })).await;
        ann.hears(&room.channel).await;
        let expected = json!({
            "type": "message", "id": said["id"], "body": "second",
            "sender": { "id": "ann", "name": "Ann A." }, "idem": idem, "reply_to": first["id"],
        });
        assert_eq!(ann.hears(&room.channel).await, expected);
        assert_eq!(said["status"], "accepted");
    }

    async fn every_wrong_field_is_refused_by_its_name(stage: Stage) {
        let mut ann = stage.connect("ann").await;
        let room = ann.create("public", &[]).await;
        let other = ann.create("public", &[]).await;
        let elsewhere = ann.publish(&other.channel, message("hi")).await["id"].clone();
        let with = |field: &str, value: Value| {
            let mut data = message("hi");
            data[field] = value;
            data
        };
        let nobody = uuid::Uuid::now_v7();
        let cases = [
            (with("idem", json!("no")), (400, "format", "idem")),
            (with("idem", json!(7)), (400, "type", "idem")),
            (with("reply_to", json!("no")), (400, "format", "reply_to")),
            (with("reply_to", json!(nobody)), (404, "not_found", "reply_to")),
            (with("reply_to", elsewhere), (404, "not_found", "reply_to")),
            (with("thread", json!(nobody)), (108, "threads_not_available", "thread")),
            (
                with("attachments", json!([{ "url": "x" }])),
                (108, "attachments_not_available", "attachments"),
            ),
            (with("type", json!("edit")), (400, "not_published", "type")),
            (with("type", json!("shout")), (400, "unknown_type", "type")),
            (with("type", Value::Null), (400, "missing", "type")),
            (json!("hi"), (400, "type", "data")),
            (json!([]), (400, "type", "data")),
        ];
        for (data, expected) in cases {
            let error = refused(&mut ann, &room, data).await;
            assert_eq!(short(&error), expected, "{error}");
        }
        let error = refused(&mut ann, &room, with("type", json!("reaction"))).await;
        assert!(error["message"].as_str().unwrap().contains("message.react"), "{error}");
    }

    async fn a_changed_text_obeys_the_same_rules(stage: Stage) {
        let mut ann = stage.connect("ann").await;
        let room = ann.create("public", &[]).await;
        let id = ann.publish(&room.channel, message("hi")).await["id"].clone();
        let edit = |body: Value| json!({ "room": room.id, "id": id, "body": body });
        ann.call("message.edit", edit(json!("a".repeat(LIMIT)))).await;
        let cases = [
            (json!("a".repeat(LIMIT + 1)), (413, "message_size", "body")),
            (json!("\u{200B} "), (400, "empty", "body")),
            (json!("\u{7}"), (400, "control", "body")),
            (Value::Null, (400, "missing", "body")),
        ];
        for (body, expected) in cases {
            let error = ann.call_refused("message.edit", edit(body)).await;
            assert_eq!(short(&error), expected, "{error}");
        }
    }

    async fn who_has_no_name_says_nothing(stage: Stage) {
        let mut ann = stage.connect("ann").await;
        let room = ann.create("public", &[]).await;
        let id = ann.publish(&room.channel, message("hi")).await["id"].clone();
        let mut nobody = stage.anonymous().await;
        let error = refused(&mut nobody, &room, message("hi")).await;
        assert_eq!(short(&error), (101, "user_required", ""), "{error}");
        let of_it = json!({ "room": room.id, "id": id, "body": "ho", "emoji": "👍", "offset": 1 });
        for method in ["edit", "delete", "react", "unreact"] {
            let denied = nobody.denied(&format!("message.{method}"), of_it.clone()).await;
            assert_eq!(denied, (101, "user_required".to_owned()), "{method}");
        }
        for method in ["read.mark", "unread.list"] {
            let denied = nobody.denied(method, of_it.clone()).await;
            assert_eq!(denied, (101, "user_required".to_owned()), "{method}");
        }
        // What everyone may read, nobody in particular may read.
        assert_eq!(nobody.call("message.get", of_it).await["body"], "hi");
    }
}
