//! What a room may be called, on the wire.

use serde_json::json;

use crate::harness::Stage;

#[tokio::test]
async fn a_name_that_deceives_or_says_nothing_is_refused() {
    let stage = Stage::start().await;
    let mut ann = stage.connect("ann").await;
    let room = ann.create("public", &[]).await;
    for (name, reason) in [
        (String::new(), "empty"),
        ("   ".to_owned(), "empty"),
        ("\u{3000}\n".to_owned(), "empty"),
        ("\u{301}\u{302}\u{308}".to_owned(), "empty"),
        ("x".repeat(1000), "too_long"),
        ("é".repeat(101), "too_long"),
        ("Lob\u{202e}yb".to_owned(), "character"),
        ("\u{2066}Lobby\u{2069}".to_owned(), "character"),
        ("Lob\u{200f}by".to_owned(), "character"),
        ("Lob\u{200b}by".to_owned(), "character"),
        ("Lob\nby".to_owned(), "character"),
        ("Lob\u{0}by".to_owned(), "character"),
    ] {
        let of_new = ann.call_refused("room.create", json!({ "name": name })).await;
        let update = json!({ "room": room.id, "name": name });
        let of_old = ann.call_refused("room.update", update).await;
        for error in [of_new, of_old] {
            assert_eq!(
                (&error["code"], &error["field"]),
                (&json!(400), &json!("name")),
                "{name:?}"
            );
            assert_eq!(error["reason"], reason, "{name:?}");
            if reason == "too_long" {
                assert_eq!(error["limit"], 100);
                assert_eq!(error["got"], name.chars().count());
            }
        }
    }
    assert_eq!(ann.call("room.get", room.alone()).await["name"], "Lobby");
}

#[tokio::test]
async fn a_name_has_one_form_and_may_be_of_any_script() {
    let stage = Stage::start().await;
    let mut ann = stage.connect("ann").await;
    for (given, kept) in [
        ("  Cafe\u{301}  ", "Caf\u{e9}"),
        ("Ελλάδα", "Ελλάδα"),
        ("می\u{200c}خواهم", "می\u{200c}خواهم"),
        ("\u{1f469}\u{200d}\u{1f680} Space", "\u{1f469}\u{200d}\u{1f680} Space"),
    ] {
        let made = ann.call("room.create", json!({ "name": given })).await;
        let room = ann.call("room.get", json!({ "room": made["id"] })).await;
        assert_eq!(room["name"], kept);
    }
    let hundred = "ü".repeat(100);
    ann.call("room.create", json!({ "name": hundred })).await;
}

#[tokio::test]
async fn a_topic_may_be_empty_and_is_one_line_of_five_hundred_characters() {
    let stage = Stage::start().await;
    let mut ann = stage.connect("ann").await;
    let create = |topic: &str| json!({ "name": "Lobby", "topic": topic });
    for (given, kept) in
        [("", ""), ("  ", ""), (" News ", "News"), (&*"ü".repeat(500), &*"ü".repeat(500))]
    {
        let made = ann.call("room.create", create(given)).await;
        let room = ann.call("room.get", json!({ "room": made["id"] })).await;
        assert_eq!(room["topic"], kept);
    }
    for (topic, reason) in [("ü".repeat(501), "too_long"), ("a\u{202e}b".to_owned(), "character")]
    {
        let error = ann.call_refused("room.create", create(&topic)).await;
        assert_eq!((&error["code"], &error["field"]), (&json!(400), &json!("topic")));
        assert_eq!(error["reason"], reason);
    }
}
