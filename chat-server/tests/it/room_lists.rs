//! Lists of rooms: page by page, each with its own cursor.

use serde_json::{Value, json};

use crate::harness::{Client, Stage, on_both_stores};

/// All ids of a list, by pages of this size.
async fn all(client: &mut Client, filter: &str, limit: usize) -> Vec<String> {
    let (mut ids, mut cursor) = (Vec::new(), Value::Null);
    loop {
        let data = json!({ "filter": filter, "limit": limit, "cursor": cursor });
        let page = client.call("room.list", data).await;
        let rooms = page["rooms"].as_array().unwrap();
        assert!(rooms.len() <= limit, "{page}");
        ids.extend(rooms.iter().map(|room| room["id"].as_str().unwrap().to_owned()));
        let Some(next) = page.get("next") else { return ids };
        assert_eq!(rooms.len(), limit, "a page that names another is full");
        cursor = next.clone();
    }
}

on_both_stores! {
    async fn rooms_come_page_by_page_in_the_order_of_their_making(stage: Stage) {
        let (mut ann, mut bob) = (stage.connect("ann").await, stage.connect("bob").await);
        let (mut public, mut joined) = (Vec::new(), Vec::new());
        for number in 0..9 {
            let members: &[&str] = if number % 2 == 0 { &["bob"] } else { &[] };
            let visibility = if number % 3 == 0 { "private" } else { "public" };
            let room = ann.create(visibility, members).await;
            if visibility == "public" {
                public.push(room.id.clone());
            }
            if !members.is_empty() {
                joined.push(room.id);
            }
        }
        for limit in [1, 2, 5, 6, 100] {
            assert_eq!(all(&mut bob, "public", limit).await, public, "{limit}");
            assert_eq!(all(&mut bob, "joined", limit).await, joined, "{limit}");
        }
        let mut nobody = stage.anonymous().await;
        assert_eq!(all(&mut nobody, "public", 4).await, public);
        assert_eq!(all(&mut stage.connect("eve").await, "joined", 4).await, Vec::<String>::new());

        let unnamed = bob.call("room.list", json!({})).await;
        assert_eq!(unnamed["rooms"].as_array().unwrap().len(), joined.len());
        assert_eq!(
            (unnamed["rooms"][0]["role"].as_str(), unnamed.get("next")),
            (Some("member"), None)
        );
        let first = bob.call("room.get", json!({ "room": joined[0] })).await;
        assert_eq!(unnamed["rooms"][0], first, "a list has what a room says of itself");
    }

    async fn a_cursor_belongs_to_its_list(stage: Stage) {
        let mut ann = stage.connect("ann").await;
        let room = ann.create("public", &["bob"]).await;
        ann.create("public", &["bob"]).await;
        let next = async |client: &mut Client, filter: &str| {
            let page = client.call("room.list", json!({ "filter": filter, "limit": 1 })).await;
            page["next"].as_str().unwrap().to_owned()
        };
        let (joined, public) = (next(&mut ann, "joined").await, next(&mut ann, "public").await);
        let data = json!({ "room": room.id, "limit": 1 });
        let members = ann.call("room.members", data).await["next"].as_str().unwrap().to_owned();
        for (filter, cursor) in
            [("joined", &public), ("public", &joined), ("joined", &members), ("public", &members)]
        {
            let data = json!({ "filter": filter, "cursor": cursor });
            let error = ann.call_refused("room.list", data).await;
            assert_eq!((&error["code"], &error["field"]), (&json!(400), &json!("cursor")));
            assert_eq!(error["reason"], "cursor");
        }
        let data = json!({ "room": room.id, "cursor": joined });
        assert_eq!(ann.call_refused("room.members", data).await["field"], "cursor");
    }

    async fn a_room_that_is_left_is_listed_no_more(stage: Stage) {
        let (mut ann, mut bob) = (stage.connect("ann").await, stage.connect("bob").await);
        let room = ann.create("public", &["bob"]).await;
        // A row that says only that he is muted is no membership.
        ann.call("member.mute", room.with("bob")).await;
        bob.call("room.leave", room.alone()).await;
        assert_eq!(all(&mut bob, "joined", 10).await, Vec::<String>::new());
        let list = bob.call("room.list", json!({ "filter": "public" })).await;
        assert_eq!(
            (list["rooms"][0].get("role"), &list["rooms"][0]["muted"]),
            (None, &json!(true))
        );
    }
}
