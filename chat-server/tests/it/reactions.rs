//! Reactions: counted exactly, bounded, and gone with their message.

use std::sync::Arc;

use chat_server::protocol::Json;
use chat_server::room::{Denied, Emoji, MessageId, Role, RoomId};
use chat_server::store::{
    Change, Conflict, Deletion, Error, Event, Missing, Range, Reacted, Reaction, Store,
};
use futures_util::StreamExt;
use serde_json::{Value, json};

use crate::harness::on_both_stores;
use crate::harness::vault::{Vault, draft};

type Answer = Result<Change<Reacted>, Error>;

/// A message and who reacts to it.
#[derive(Clone)]
struct Said {
    store: Arc<Store>,
    room: RoomId,
    id: MessageId,
}

impl Said {
    /// Something that Ann says.
    async fn in_room(vault: &Vault, room: RoomId) -> Self {
        vault.member(room, "ann", Some(Role::Member)).await;
        let draft = draft(room, "ann", None);
        let said = vault.store.append(&[draft]).await.unwrap().remove(0).unwrap();
        Self { store: vault.store.clone(), room, id: said.id }
    }

    fn reaction(&self, by: &str, emoji: &str) -> Reaction {
        let emoji: Emoji = emoji.parse().unwrap();
        Reaction { room: self.room, id: self.id, by: by.into(), emoji }
    }

    async fn react(&self, by: &str, emoji: &str) -> Answer {
        self.store.react(&self.reaction(by, emoji)).await
    }

    async fn unreact(&self, by: &str, emoji: &str) -> Answer {
        self.store.unreact(&self.reaction(by, emoji)).await
    }

    /// What a reader sees below the message.
    async fn below(&self, reader: &str) -> Value {
        json!(self.store.message(self.room, self.id, reader).await.unwrap().reactions)
    }
}

fn value(data: &Json) -> Value {
    serde_json::from_slice(data.as_bytes()).unwrap()
}

/// A hundred and more emojis that differ.
fn emojis() -> impl Iterator<Item = &'static str> + Clone {
    emojis::iter().map(emojis::Emoji::as_str)
}

on_both_stores! {
    async fn everyone_is_told_how_many_there_are(vault: Vault) {
        let room = vault.room_of(&["ann", "bob"]).await;
        let said = Said::in_room(&vault, room).await;
        let change = said.react("bob", "👍").await.unwrap();
        assert_eq!(change.value, Reacted { offset: 2, count: 1 });
        let event = json!({
            "type": "reaction", "id": said.id, "emoji": "👍", "by": "bob", "on": true, "count": 1,
        });
        assert_eq!(value(&change.published[0].event.data), event);
        assert_eq!(change.published[0].event.offset, 2);
        assert_eq!(said.react("ann", "👍").await.unwrap().value.count, 2);
        assert_eq!(said.react("ann", "🎉").await.unwrap().value.count, 1);
        let below = json!([
            { "emoji": "👍", "count": 2, "me": true }, { "emoji": "🎉", "count": 1, "me": false },
        ]);
        assert_eq!(said.below("bob").await, below);

        let change = said.unreact("bob", "👍").await.unwrap();
        assert_eq!(change.value, Reacted { offset: 5, count: 1 });
        let event = json!({
            "type": "reaction", "id": said.id, "emoji": "👍", "by": "bob", "on": false, "count": 1,
        });
        assert_eq!(value(&change.published[0].event.data), event);
        assert_eq!(said.below("bob").await[0]["me"], false);
    }

    async fn a_repeated_reaction_changes_nothing(vault: Vault) {
        let room = vault.room_of(&["ann", "bob"]).await;
        let said = Said::in_room(&vault, room).await;
        said.react("bob", "❤️").await.unwrap();
        said.react("ann", "👍").await.unwrap();
        // The same without its variation selector is the same.
        let again = said.react("bob", "\u{2764}").await.unwrap();
        assert_eq!(again, Change { value: Reacted { offset: 3, count: 1 }, published: vec![] });
        let never = said.unreact("ann", "❤️").await.unwrap();
        assert_eq!(never, Change { value: Reacted { offset: 3, count: 1 }, published: vec![] });
        assert_eq!(vault.offsets(room.log()).await, [1, 2, 3]);
    }

    async fn of_ten_thousand_reactions_of_one_person_ten_stay(vault: Vault) {
        let room = vault.room_of(&["ann"]).await;
        let said = Said::in_room(&vault, room).await;
        let all = (0..10_000).zip(emojis().cycle()).map(|(_, emoji)| said.react("ann", emoji));
        let answers: Vec<Answer> = futures_util::stream::iter(all).buffered(4).collect().await;
        let is_limit = |answer: &Answer| {
            matches!(answer, Err(Error::Limit { what: "reactions_per_user", limit: 10 }))
        };
        let (refused, done): (Vec<_>, Vec<_>) = answers.iter().partition(|it| is_limit(it));
        // Those that stay are answered each time they come round again.
        assert!(done.iter().all(|answer| answer.is_ok()));
        assert!(refused.len() > 9_900, "{}", refused.len());
        assert_eq!(vault.numbers("SELECT count(*) FROM reactions").await, [10]);
        assert_eq!(vault.head(room.log()).await, Some(11));
        // One back, and there is room for another.
        let kept: Vec<&str> = emojis().take(11).collect();
        said.unreact("ann", kept[0]).await.unwrap();
        said.react("ann", kept[10]).await.unwrap();
    }

    async fn two_devices_at_once_have_ten_together(vault: Vault) {
        let room = vault.room_of(&["ann"]).await;
        let said = Said::in_room(&vault, room).await;
        let other = Said { store: vault.node().await, ..said.clone() };
        let all = emojis().take(40).enumerate().map(|(at, emoji)| {
            let said = if at % 2 == 0 { &said } else { &other };
            said.react("ann", emoji)
        });
        // More than there are connections, and not so many that some wait for too long.
        let all = futures_util::stream::iter(all).buffer_unordered(32);
        let answers: Vec<Answer> = all.collect().await;
        assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 10);
        assert_eq!(vault.numbers("SELECT count(*) FROM reactions").await, [10]);
    }

    async fn a_message_bears_a_hundred_different_emojis(vault: Vault) {
        let people: Vec<String> = (0..11).map(|n| format!("user{n}")).collect();
        let room = vault.room_of(&people.iter().map(String::as_str).collect::<Vec<_>>()).await;
        let said = Said::in_room(&vault, room).await;
        let (wall, extra): (Vec<_>, Vec<_>) =
            emojis().take(101).enumerate().partition(|(at, _)| *at < 100);
        for (at, emoji) in wall {
            said.react(&people[at / 10], emoji).await.unwrap();
        }
        let one_more = said.react("user10", extra[0].1).await;
        let is_limit =
            matches!(one_more, Err(Error::Limit { what: "reactions_per_message", limit: 100 }));
        assert!(is_limit, "{one_more:?}");
        // One of those that are there is none more.
        let first = emojis().next().unwrap();
        assert_eq!(said.react("user10", first).await.unwrap().value.count, 2);
        assert_eq!(said.below("user10").await.as_array().unwrap().len(), 100);
    }

    async fn who_reacts_at_once_is_counted_exactly(vault: Vault) {
        let people: Vec<String> = (0..200).map(|n| format!("user{n}")).collect();
        let room = vault.room_of(&people.iter().map(String::as_str).collect::<Vec<_>>()).await;
        let said = Said::in_room(&vault, room).await;
        let other = Said { store: vault.node().await, ..said.clone() };
        let all = people.iter().enumerate().map(|(at, user)| {
            let said = if at % 2 == 0 { &said } else { &other };
            said.react(user, "👍")
        });
        // More than there are connections, and not so many that some wait for too long.
        let all = futures_util::stream::iter(all).buffer_unordered(32);
        let answers: Vec<Answer> = all.collect().await;
        let count = |answer: &Answer| answer.as_ref().unwrap().value.count;
        let mut counts: Vec<u64> = answers.iter().map(count).collect();
        counts.sort_unstable();
        assert_eq!(counts, (1..=200).collect::<Vec<_>>());
        // The counts in the log are in the order of the log.
        let page = vault.store.page(room.log(), Range::After(1), 1000).await.unwrap();
        let count = |event: &Event| value(&event.data)["count"].as_u64().unwrap();
        let counts: Vec<_> = page.iter().map(count).collect();
        assert_eq!(counts, (1..=200).collect::<Vec<_>>());
        assert_eq!(said.below("user0").await, json!([{ "emoji": "👍", "count": 200, "me": true }]));
    }

    async fn reactions_go_with_their_message(vault: Vault) {
        let room = vault.room_of(&["ann", "bob"]).await;
        let (said, other) = (Said::in_room(&vault, room).await, Said::in_room(&vault, room).await);
        said.react("bob", "👍").await.unwrap();
        other.react("bob", "👍").await.unwrap();
        let deletion = Deletion { room, id: said.id, by: "ann".into(), reason: None };
        vault.store.delete(&deletion).await.unwrap();
        assert_eq!(said.below("bob").await, json!([]));
        assert_eq!(other.below("bob").await[0]["count"], 1);
        for answer in [said.react("ann", "👍").await, said.unreact("bob", "👍").await] {
            let is_deleted = matches!(answer, Err(Error::Conflict(Conflict::Deleted)));
            assert!(is_deleted, "{answer:?}");
        }
    }

    async fn who_may_not_speak_does_not_react(vault: Vault) {
        let room = vault.room_of(&["ann", "muted"]).await;
        let said = Said::in_room(&vault, room).await;
        vault.member(room, "guest", Some(Role::Guest)).await;
        let forever = i64::MAX;
        let mute = format!("UPDATE members SET muted_until = {forever} WHERE user_id = 'muted'");
        vault.run(mute).await;
        let refused = said.react("stranger", "👍").await;
        assert!(matches!(refused, Err(Error::Denied(Denied::NotAMember))), "{refused:?}");
        let refused = said.react("muted", "👍").await;
        assert!(matches!(refused, Err(Error::Denied(Denied::Muted { .. }))), "{refused:?}");
        let refused = said.react("guest", "👍").await;
        let needs = Denied::Role { needs: Role::Member };
        assert!(matches!(refused, Err(Error::Denied(denied)) if denied == needs), "{refused:?}");
        vault.run("UPDATE rooms SET archived_at = 1").await;
        let refused = said.react("ann", "👍").await;
        assert!(matches!(refused, Err(Error::Denied(Denied::Archived))), "{refused:?}");
        let elsewhere = Said { room: vault.room_of(&["ann"]).await, ..said };
        let refused = elsewhere.react("ann", "👍").await;
        assert!(matches!(refused, Err(Error::Missing(Missing::Message))), "{refused:?}");
    }
}
