//! A life to erase: somebody who did everything that can be done in rooms.

use std::sync::Arc;

use chat_server::room::say::{Saying, Sender};
use chat_server::room::{Body, Kind, MessageId, Reason, Role, RoomId, RoomName, Topic};
use chat_server::store::{
    Access, Appended, Deed, Deletion, Draft, Edit, EventKind, Mark, NewRoom, Reaction, Store, Tell,
};
use uuid::Uuid;

use crate::harness::vault::Vault;

/// Who is erased: texts that stand nowhere else.
pub const ERIN: &str = "erin-4711";
pub const NAME: &str = "Erin Unverwechselbar";
/// In everything she says.
pub const WORDS: &str = "quince jelly";

/// What there is of her.
#[derive(Debug)]
pub struct Life {
    store: Arc<Store>,
    /// She made it and is its only owner; Ann is an admin, Bob a member.
    pub own: RoomId,
    /// She was there and left.
    pub left: RoomId,
    /// She is banned and was never in it.
    pub banned: RoomId,
    /// With Ann.
    pub direct: RoomId,
    /// Hers in `own`, by what became of them.
    pub said: Appended,
    pub edited: Appended,
    pub deleted: Appended,
    /// Hers in `left`, which Ann deleted.
    pub deleted_by_ann: Appended,
    /// Bob's in `own`, which she deleted.
    pub deleted_by_her: Appended,
    /// Ann's in `own`, in which she is mentioned.
    pub of_ann: Appended,
    /// The key of `said`.
    pub idem: Uuid,
}

/// A message as the command makes it.
pub fn message(room: RoomId, sender: &str, words: &str, idem: Option<Uuid>) -> Draft {
    let (id, body) = (MessageId::new(), body(words));
    let name = (sender == ERIN).then_some(NAME);
    let said = Saying::Message {
        id,
        body: &body,
        sender: Sender { id: sender, name },
        idem,
        reply_to: None,
    };
    Draft {
        log: room.log(),
        channel: room.channel(),
        id,
        kind: EventKind::Message,
        sender: sender.into(),
        idem,
        digest: 7,
        data: said.event().unwrap(),
        access: Access::Member,
        accepted: tokio::time::Instant::now(),
    }
}

pub fn body(words: &str) -> Body {
    Body::parse(words, 1000).unwrap()
}

pub async fn create(store: &Store, by: &str, members: &[&str]) -> RoomId {
    let new = NewRoom {
        by: by.into(),
        name: RoomName::parse("a room").unwrap(),
        topic: Some(Topic::parse("of all sorts").unwrap()),
        kind: Kind::Public,
        members: members.iter().map(|&user| user.into()).collect(),
    };
    store.create_room(new).await.unwrap().value.id
}

pub fn deed(room: RoomId, by: &str, user: &str) -> Deed {
    let reason = Some(Reason::parse(&format!("{by} says so")).unwrap());
    Deed { room, by: by.into(), user: user.into(), reason }
}

impl Life {
    pub async fn lived(vault: &Vault) -> Self {
        let store = vault.store.clone();
        let own = create(&store, ERIN, &["bob"]).await;
        store.join(deed(own, "ann", "ann")).await.unwrap();
        store.set_role(deed(own, ERIN, "ann"), Role::Admin).await.unwrap();
        let left = create(&store, "ann", &[ERIN]).await;
        let banned = create(&store, "ann", &[]).await;
        store.ban(deed(banned, "ann", ERIN), chat_server::room::FOR_EVER).await.unwrap();
        let people = vec![ERIN.into(), "ann".into()];
        let direct = store.open_direct(ERIN.into(), people).await.unwrap().value;

        let idem = Uuid::new_v4();
        let said = say(&store, message(own, ERIN, WORDS, Some(idem))).await;
        let mut mine = Vec::new();
        for _ in 0..2 {
            mine.push(say(&store, message(own, ERIN, WORDS, Some(Uuid::new_v4()))).await);
        }
        let bobs = say(&store, message(own, "bob", "bob's", None)).await;
        let of_ann = say(&store, message(own, "ann", "ask @erin", Some(Uuid::new_v4()))).await;
        let in_left = message(left, ERIN, WORDS, Some(Uuid::new_v4()));
        let deleted_by_ann = say(&store, in_left).await;
        let life = Self {
            store,
            own,
            left,
            banned,
            direct,
            said,
            edited: mine[0],
            deleted: mine[1],
            deleted_by_ann,
            deleted_by_her: bobs,
            of_ann,
            idem,
        };
        life.change_messages().await;
        life.act_on_people().await;
        life.talk_elsewhere().await;
        life
    }

    async fn change_messages(&self) {
        let Self { store, own, left, .. } = self;
        for words in ["more quince jelly", "even more quince jelly"] {
            for id in [self.edited.id, self.deleted.id] {
                let edit = Edit { room: *own, id, editor: ERIN.into(), body: body(words) };
                store.edit(&edit).await.unwrap();
            }
        }
        for (room, id, by, reason) in [
            (own, self.deleted.id, ERIN, WORDS),
            (left, self.deleted_by_ann.id, "ann", "too sweet"),
            (own, self.deleted_by_her.id, ERIN, WORDS),
        ] {
            let (room, by, reason) = (*room, by.into(), Some(Reason::parse(reason).unwrap()));
            store.delete(&Deletion { room, id, by, reason }).await.unwrap();
        }
        for (by, id) in [(ERIN, self.of_ann.id), (ERIN, self.said.id), ("bob", self.said.id)] {
            let (by, emoji) = (by.into(), "👍".parse().unwrap());
            store.react(&Reaction { room: *own, id, by, emoji }).await.unwrap();
        }
    }

    async fn act_on_people(&self) {
        let Self { store, own, left, .. } = self;
        store.ban(deed(*own, ERIN, "mallory"), chat_server::room::FOR_EVER).await.unwrap();
        store.mute(deed(*own, ERIN, "bob"), 1).await.unwrap();
        say(store, message(*left, ERIN, WORDS, Some(Uuid::new_v4()))).await;
        store.leave(deed(*left, ERIN, ERIN)).await.unwrap();
        let mark = Mark { room: *own, user: ERIN.into(), offset: 3 };
        store.mark(&mark, Tell::Now).await.unwrap();
    }

    async fn talk_elsewhere(&self) {
        let Self { store, direct, .. } = self;
        say(store, message(*direct, ERIN, WORDS, Some(Uuid::new_v4()))).await;
        say(store, message(*direct, "ann", "only between us", None)).await;
    }
}

pub async fn say(store: &Store, draft: Draft) -> Appended {
    store.append(&[draft]).await.unwrap().remove(0).unwrap()
}
