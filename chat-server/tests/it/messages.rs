//! Messages that are there: who may change or delete them, and what everyone finds afterwards.

use std::sync::Arc;

use chat_server::protocol::Json;
use chat_server::room::{Body, Denied, MessageId, Reason, Role, RoomId};
use chat_server::store::{
    Appended, Change, Conflict, Deletion, Edit, Error, Missing, Published, Range, Store,
};
use serde_json::{Value, json};

use crate::harness::on_both_stores;
use crate::harness::vault::{Vault, draft};

/// A message with an id and a name, as clients publish it.
async fn post(vault: &Vault, room: RoomId, sender: &str, text: &str) -> Appended {
    let mut draft = draft(room, sender, Some(uuid::Uuid::new_v4()));
    let event = json!({
        "type": "message", "id": draft.id, "body": text,
        "sender": { "id": sender, "name": "Somebody" }, "idem": draft.idem, "later": [1.50],
    });
    draft.data = Json::from_value(&event).unwrap();
    vault.store.append(&[draft]).await.unwrap().remove(0).unwrap()
}

async fn edit(
    store: &Store,
    (room, id): (RoomId, MessageId),
    editor: &str,
    text: &str,
) -> Result<Change<u64>, Error> {
    let body = Body::parse(text, 8192).unwrap();
    store.edit(&Edit { room, id, editor: editor.into(), body }).await
}

async fn delete(
    store: &Store,
    (room, id): (RoomId, MessageId),
    by: &str,
) -> Result<Change<u64>, Error> {
    let reason = Some(Reason::parse("spam").unwrap());
    store.delete(&Deletion { room, id, by: by.into(), reason }).await
}

/// Everything in a room, as a newcomer finds it.
async fn history(store: &Store, room: RoomId) -> Vec<Value> {
    let page = store.page(room.log(), Range::After(0), 1000).await.unwrap();
    page.iter().map(|event| value(&event.data)).collect()
}

fn value(data: &Json) -> Value {
    serde_json::from_slice(data.as_bytes()).unwrap()
}

/// What an event of a change says, and what it does to earlier ones, by their offsets.
fn told(change: &Change<u64>) -> (Value, Vec<(u64, Value)>) {
    let [Published { event, amends, .. }] = change.published.as_slice() else {
        panic!("{change:?}");
    };
    assert_eq!(event.offset, change.value);
    let amends = amends.iter().map(|amend| (amend.offset, value(&amend.data)));
    (value(&event.data), amends.collect())
}

on_both_stores! {
    async fn an_edited_message_is_found_as_it_stands(vault: Vault) {
        let room = vault.room_of(&["ann", "bob"]).await;
        let Appended { id, offset, .. } = post(&vault, room, "ann", "helo").await;
        let before = history(&vault.store, room).await[0].clone();
        let change = edit(&vault.store, (room, id), "ann", "hello").await.unwrap();
        assert_eq!(change.value, 2);
        let (event, amends) = told(&change);
        assert_eq!(event, json!({ "type": "edit", "id": id, "body": "hello", "editor": "ann" }));

        let found = history(&vault.store, room).await;
        let mut expected = before;
        expected["body"] = json!("hello");
        expected["edited_at"] = found[0]["edited_at"].clone();
        assert!(expected["edited_at"].as_u64() > Some(1_700_000_000_000));
        assert_eq!(found, [expected, event]);
        // Who has the page in memory is told the same.
        assert_eq!(amends, [(offset, found[0].clone())]);
    }

    async fn the_text_of_an_earlier_edit_is_in_no_history(vault: Vault) {
        let room = vault.room_of(&["ann"]).await;
        let Appended { id, .. } = post(&vault, room, "ann", "one").await;
        for text in ["two", "three", "four"] {
            let change = edit(&vault.store, (room, id), "ann", text).await.unwrap();
            // However often it is edited, only the last edit and the message are touched.
            assert!(told(&change).1.len() <= 2);
        }
        let found = history(&vault.store, room).await;
        let superseded = json!({ "type": "edit", "id": id, "editor": "ann", "superseded": true });
        assert_eq!(found[1..3], [superseded.clone(), superseded]);
        assert_eq!((&found[0]["body"], &found[3]["body"]), (&json!("four"), &json!("four")));
    }

    async fn the_same_text_again_is_no_edit(vault: Vault) {
        let room = vault.room_of(&["ann"]).await;
        let Appended { id, offset, .. } = post(&vault, room, "ann", "hi").await;
        let change = edit(&vault.store, (room, id), "ann", "hi").await.unwrap();
        assert_eq!((change.value, change.published), (offset, vec![]));
        let second = edit(&vault.store, (room, id), "ann", "ho").await.unwrap().value;
        let change = edit(&vault.store, (room, id), "ann", "ho").await.unwrap();
        assert_eq!((change.value, change.published), (second, vec![]));
        assert_eq!(vault.offsets(room.log()).await, [1, 2]);
    }

    async fn nobody_edits_the_message_of_another(vault: Vault) {
        let room = vault.room_of(&["ann", "bob"]).await;
        vault.member(room, "owner", Some(Role::Owner)).await;
        let Appended { id, .. } = post(&vault, room, "ann", "hi").await;
        for person in ["bob", "owner"] {
            let edited = edit(&vault.store, (room, id), person, "ha").await;
            assert!(matches!(edited, Err(Error::Denied(Denied::NotTheAuthor))), "{edited:?}");
        }
        let edited = edit(&vault.store, (room, id), "stranger", "ha").await;
        assert!(matches!(edited, Err(Error::Denied(Denied::NotAMember))), "{edited:?}");
        vault.member(room, "ann", None).await;
        let edited = edit(&vault.store, (room, id), "ann", "ha").await;
        assert!(matches!(edited, Err(Error::Denied(Denied::NotAMember))), "{edited:?}");
        assert_eq!(vault.offsets(room.log()).await, [1]);
    }

    async fn a_muted_author_changes_nothing_but_may_delete(vault: Vault) {
        let room = vault.room_of(&["ann"]).await;
        let Appended { id, .. } = post(&vault, room, "ann", "hi").await;
        vault.run(format!("UPDATE members SET muted_until = {}", i64::MAX)).await;
        let edited = edit(&vault.store, (room, id), "ann", "ha").await;
        assert!(matches!(edited, Err(Error::Denied(Denied::Muted { .. }))), "{edited:?}");
        assert_eq!(delete(&vault.store, (room, id), "ann").await.unwrap().value, 2);
    }

    async fn a_deleted_message_leaves_tombstones(vault: Vault) {
        let room = vault.room_of(&["ann"]).await;
        let Appended { id, .. } = post(&vault, room, "ann", "one").await;
        edit(&vault.store, (room, id), "ann", "two").await.unwrap();
        edit(&vault.store, (room, id), "ann", "three").await.unwrap();
        let change = delete(&vault.store, (room, id), "ann").await.unwrap();
        let (event, amends) = told(&change);
        let expected = json!({ "type": "delete", "id": id, "by": "ann", "reason": "spam" });
        assert_eq!(event, expected);

        let found = history(&vault.store, room).await;
        let at = found[0]["deleted_at"].clone();
        let stone = json!({
            "type": "message", "id": id, "sender": { "id": "ann", "name": "Somebody" },
            "deleted_at": at, "by": "ann", "reason": "spam",
        });
        assert_eq!(found[0], stone);
        let stone = json!({
            "type": "edit", "id": id, "editor": "ann",
            "deleted_at": at, "by": "ann", "reason": "spam",
        });
        assert_eq!(found[2], stone);
        assert_eq!(amends, [(1, found[0].clone()), (3, found[2].clone())]);
        let text = serde_json::to_string(&found).unwrap();
        for word in ["one", "two", "three"] {
            assert!(!text.contains(word), "{text}");
        }
        // The index of what is there no longer has it.
        let live = "SELECT off FROM messages WHERE deleted_at IS NULL ORDER BY off";
        assert_eq!(vault.numbers(live).await, [2, 4]);
    }

    async fn a_deleted_message_stays_as_it_is(vault: Vault) {
        let room = vault.room_of(&["ann"]).await;
        vault.member(room, "mod", Some(Role::Moderator)).await;
        let Appended { id, .. } = post(&vault, room, "ann", "hi").await;
        let first = delete(&vault.store, (room, id), "ann").await.unwrap().value;
        let before = history(&vault.store, room).await;
        let edited = edit(&vault.store, (room, id), "ann", "ha").await;
        assert!(matches!(edited, Err(Error::Conflict(Conflict::Deleted))), "{edited:?}");
        for person in ["ann", "mod"] {
            let again = delete(&vault.store, (room, id), person).await.unwrap();
            assert_eq!((again.value, again.published), (first, vec![]));
        }
        assert_eq!(history(&vault.store, room).await, before);
    }

    async fn who_keeps_order_deletes_what_those_below_said(vault: Vault) {
        let room = vault.room_of(&["ann", "bob"]).await;
        for (user, role) in
            [("mod", Role::Moderator), ("mod2", Role::Moderator), ("admin", Role::Admin)]
        {
            vault.member(room, user, Some(role)).await;
        }
        let by = |author| post(&vault, room, author, "hi");
        let (of_ann, of_mod, of_admin) = (by("ann").await, by("mod2").await, by("admin").await);

        let refused = delete(&vault.store, (room, of_ann.id), "bob").await;
        let needs = Denied::Role { needs: Role::Moderator };
        assert!(matches!(refused, Err(Error::Denied(denied)) if denied == needs), "{refused:?}");
        for message in [of_mod.id, of_admin.id] {
            let refused = delete(&vault.store, (room, message), "mod").await;
            let above = matches!(refused, Err(Error::Denied(Denied::RoleAboveOwn)));
            assert!(above, "{refused:?}");
        }
        delete(&vault.store, (room, of_ann.id), "mod").await.unwrap();
        delete(&vault.store, (room, of_mod.id), "admin").await.unwrap();
        // Who left has no rank any more.
        vault.member(room, "admin", None).await;
        delete(&vault.store, (room, of_admin.id), "mod").await.unwrap();

        let audited = "SELECT created_at FROM audit WHERE action = 'message.delete'";
        assert_eq!(vault.numbers(audited).await.len(), 3);
        let by_mod = format!("{audited} AND actor = 'mod' AND subject = '{}'", of_ann.id);
        assert_eq!(vault.numbers(by_mod).await.len(), 1);
    }

    async fn who_deletes_their_own_is_not_audited(vault: Vault) {
        let room = vault.room_of(&[]).await;
        vault.member(room, "mod", Some(Role::Moderator)).await;
        let Appended { id, .. } = post(&vault, room, "mod", "hi").await;
        delete(&vault.store, (room, id), "mod").await.unwrap();
        assert_eq!(vault.numbers("SELECT count(*) FROM audit").await, [0]);
    }

    async fn a_message_of_another_room_is_none_of_this_one(vault: Vault) {
        let (room, other) = (vault.room_of(&["ann"]).await, vault.room_of(&["ann"]).await);
        let Appended { id, .. } = post(&vault, room, "ann", "hi").await;
        let is_missing = |error: &Error| matches!(error, Error::Missing(Missing::Message));
        let edited = edit(&vault.store, (other, id), "ann", "ha").await.unwrap_err();
        let deleted = delete(&vault.store, (other, id), "ann").await.unwrap_err();
        let got = vault.store.message(other, id, "ann").await.unwrap_err();
        assert!([&edited, &deleted, &got].into_iter().all(is_missing));
        assert_eq!(history(&vault.store, other).await, Vec::<Value>::new());
    }

    async fn two_who_change_one_message_at_once_come_one_after_the_other(vault: Vault) {
        let room = vault.room_of(&["ann"]).await;
        let message = post(&vault, room, "ann", "hi").await;
        let stores: [Arc<Store>; 2] = [vault.store.clone(), vault.node().await];
        let edits = (0..20).map(|turn| {
            let store = stores[turn % 2].clone();
            async move { edit(&store, (room, message.id), "ann", &format!("text {turn}")).await }
        });
        let changes = futures_util::future::join_all(edits).await;
        let mut offsets: Vec<u64> = changes.iter().map(|it| it.as_ref().unwrap().value).collect();
        offsets.sort_unstable();
        assert_eq!(offsets, (2..=21).collect::<Vec<_>>());
        let found = history(&vault.store, room).await;
        assert_eq!(found[0]["body"], found[20]["body"]);
        assert!(found[1..20].iter().all(|edit| edit["superseded"] == true));
    }
}
