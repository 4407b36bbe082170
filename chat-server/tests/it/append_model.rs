//! Appends against a model: whatever is sent in whatever batches while rooms change, the store
//! answers as one that takes the drafts one by one, decides by `room::permit`, and remembers.

use std::collections::HashMap;
use std::sync::Arc;

use aws_lc_rs::hmac;
use chat_server::room::{Act, FOR_EVER, Kind, Membership, MessageId, Role, Room, RoomId};
use chat_server::store::{Conflict, Draft, Error, Missing, Outcome, Store};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use tokio::runtime::Runtime;
use uuid::Uuid;

use crate::harness::vault::{Vault, draft};
use crate::harness::{Backend, Begin};

const PEOPLE: [&str; 3] = ["ana", "bo", "cy"];

/// One more room than there is.
const ROOMS: usize = 4;

#[derive(Debug, Clone)]
enum Step {
    /// Drafts that are written together: room, sender, key, digest.
    Append(Vec<(usize, usize, Option<u8>, i64)>),
    /// Somebody is something else in a room.
    Member { room: usize, who: usize, membership: Membership },
    /// A room is closed for writing, or open again.
    Archive { room: usize, archived: bool },
    /// Retention takes everything there is.
    Forget { room: usize },
}

/// What one room should be.
#[derive(Debug)]
struct Expected {
    room: Room,
    members: HashMap<usize, Membership>,
    head: u64,
    keys: HashMap<(usize, u8), (u64, MessageId, i64)>,
}

#[test]
fn sqlite_answers_as_the_model_does() {
    compare(Backend::Sqlite);
}

#[test]
fn postgres_answers_as_the_model_does() {
    compare(Backend::Postgres);
}

fn compare(backend: Backend) {
    let runtime = Runtime::new().unwrap();
    let vault = runtime.block_on(Vault::on(backend));
    let config = Config { cases: 48, max_shrink_iters: 200, ..Config::default() };
    let mut runner = TestRunner::new(config);
    let steps = proptest::collection::vec(step(), 1..24);
    runner
        .run(&steps, |steps| runtime.block_on(Run::new(&vault).of(steps)))
        .unwrap_or_else(|failure| panic!("{failure}"));
}

fn step() -> impl Strategy<Value = Step> {
    let draft = (0..ROOMS, 0..PEOPLE.len(), proptest::option::of(0..4u8), 1..3i64);
    let until = prop_oneof![Just(0), Just(1), Just(FOR_EVER)];
    let role = proptest::option::weighted(0.9, proptest::sample::select(&Role::ALL));
    let membership = (role, until.clone(), until).prop_map(|(role, muted_until, banned_until)| {
        Membership { role, muted_until, banned_until }
    });
    prop_oneof![
        6 => proptest::collection::vec(draft, 1..12).prop_map(Step::Append),
        2 => (0..ROOMS - 1, 0..PEOPLE.len(), membership)
            .prop_map(|(room, who, membership)| Step::Member { room, who, membership }),
        1 => (0..ROOMS - 1, any::<bool>()).prop_map(|(room, archived)| Step::Archive { room, archived }),
        1 => (0..ROOMS - 1).prop_map(|room| Step::Forget { room }),
    ]
}

/// One case: rooms of its own in the store, and what they should be.
struct Run<'a> {
    vault: &'a Vault,
    store: Arc<Store>,
    ids: Vec<RoomId>,
    idems: Vec<Uuid>,
    expected: Vec<Expected>,
}

impl<'a> Run<'a> {
    fn new(vault: &'a Vault) -> Self {
        let ids: Vec<RoomId> = (0..ROOMS).map(|_| RoomId::new()).collect();
        let expected = ids[..ROOMS - 1].iter().map(|&id| Expected {
            room: Room { id, kind: Kind::Public, archived: false, slow_mode_seconds: 0 },
            members: HashMap::new(),
            head: 0,
            keys: HashMap::new(),
        });
        Self {
            vault,
            store: vault.store.clone(),
            expected: expected.collect(),
            ids,
            idems: (0..4).map(|_| Uuid::new_v4()).collect(),
        }
    }

    async fn of(mut self, steps: Vec<Step>) -> Result<(), TestCaseError> {
        for place in 0..ROOMS - 1 {
            self.vault.make_room(self.ids[place], Kind::Public).await;
            for who in 0..PEOPLE.len() {
                let membership = Membership { role: Some(Role::Member), ..Membership::default() };
                self.set(place, who, membership).await;
            }
        }
        for step in steps {
            match step {
                Step::Append(drafts) => self.append(&drafts).await?,
                Step::Member { room, who, membership } => self.set(room, who, membership).await,
                Step::Archive { room, archived } => {
                    self.expected[room].room.archived = archived;
                    let (id, at) = (self.sql(room), if archived { "1" } else { "NULL" });
                    let sql = format!("UPDATE rooms SET archived_at = {at} WHERE id = {id}");
                    self.vault.run(sql).await;
                }
                Step::Forget { room } => self.forget(room).await,
            }
        }
        for (place, expected) in self.expected.iter().enumerate() {
            let head = self.vault.head(self.ids[place].log()).await;
            prop_assert_eq!(head, Some(expected.head.cast_signed()));
        }
        Ok(())
    }

    async fn append(
        &mut self,
        drafts: &[(usize, usize, Option<u8>, i64)],
    ) -> Result<(), TestCaseError> {
        let made: Vec<Draft> = drafts
            .iter()
            .map(|&(room, who, key, digest)| {
                let idem = key.map(|key| self.idems[usize::from(key)]);
                Draft { digest, ..draft(self.ids[room], PEOPLE[who], idem) }
            })
            .collect();
        let outcomes = self.store.append(&made).await.unwrap();
        prop_assert_eq!(outcomes.len(), drafts.len());
        for ((&(room, who, key, digest), made), outcome) in drafts.iter().zip(&made).zip(&outcomes)
        {
            let expected = match self.expected.get_mut(room) {
                Some(expected) => expected.append(who, key, digest, made.id),
                None => Err(Error::Missing(Missing::Room)),
            };
            let expected = expected.map_err(|error| format!("{error:?}"));
            prop_assert_eq!(answer(outcome), expected, "{:?}", drafts);
        }
        Ok(())
    }

    async fn set(&mut self, room: usize, who: usize, membership: Membership) {
        self.expected[room].members.insert(who, membership);
        self.vault.member(self.ids[room], PEOPLE[who], membership.role).await;
        let Membership { muted_until, banned_until, .. } = membership;
        let (id, user) = (self.sql(room), PEOPLE[who]);
        let sql = format!(
            "UPDATE members SET muted_until = {muted_until}, banned_until = {banned_until} \
             WHERE room_id = {id} AND user_id = '{user}'"
        );
        self.vault.run(sql).await;
    }

    /// Moves the keys of all rows, and takes the rows.
    async fn forget(&self, room: usize) {
        let secret = self.vault.blob("SELECT value FROM meta WHERE key = 'secret'").await;
        let key = hmac::Key::new(hmac::HMAC_SHA256, &secret);
        let room = self.sql(room);
        for user in PEOPLE {
            let hash = self.vault.bytes(hmac::sign(&key, user.as_bytes()).as_ref());
            let sql = format!(
                "INSERT INTO publish_keys (room_id, sender_hash, idem, off, id, digest) \
                 SELECT room_id, {hash}, idem, off, id, digest FROM messages \
                 WHERE room_id = {room} AND sender = '{user}' AND idem IS NOT NULL"
            );
            self.vault.run(sql).await;
        }
        self.vault.run(format!("DELETE FROM messages WHERE room_id = {room}")).await;
    }

    fn sql(&self, room: usize) -> String {
        self.vault.id(self.ids[room].uuid())
    }
}

impl Expected {
    fn append(
        &mut self,
        who: usize,
        key: Option<u8>,
        digest: i64,
        id: MessageId,
    ) -> Result<(u64, MessageId, bool), Error> {
        if let Some(key) = key
            && let Some(&(offset, id, first)) = self.keys.get(&(who, key))
        {
            let same = first == digest;
            return same.then_some((offset, id, true)).ok_or(Error::Conflict(Conflict::IdemReused));
        }
        let membership = self.members.get(&who).copied().unwrap_or_default();
        self.room.authorize(&membership, Act::Post, chat_server::command::unix_millis())?;
        self.head += 1;
        if let Some(key) = key {
            self.keys.insert((who, key), (self.head, id, digest));
        }
        Ok((self.head, id, false))
    }
}

fn answer(outcome: &Outcome) -> Result<(u64, MessageId, bool), String> {
    match outcome {
        Ok(appended) => Ok((appended.offset, appended.id, appended.duplicate)),
        Err(error) => Err(format!("{error:?}")),
    }
}
