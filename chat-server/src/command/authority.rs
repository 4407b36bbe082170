//! What people are in rooms, remembered for less than a second.
//!
//! Every publication and subscription asks; what is remembered may be stale that long, and is
//! forgotten at once when this process changes it. Whoever writes is checked again under the
//! room's lock, so staleness only ever costs a refusal a moment too late for readers.
//!
//! Invariant: who asks after [`Authority::forget`] is told what was committed before it, also when
//! the store was being asked at that moment: what is remembered bears the marks that were up when
//! the store was asked, and forgetting changes a mark.

use std::hash::{BuildHasher, Hash};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use foldhash::fast::RandomState;
use moka::future::Cache;

use super::{Refusal, unix_millis};
use crate::room::{Act, Permit, Room, RoomId};
use crate::store::{self, Standing, Store};

/// How long it is remembered.
const TIME_TO_LIVE: Duration = Duration::from_millis(900);

/// How many: about 20 MB.
const STANDINGS_MAX: u64 = 100_000;

/// Marks: who shares one with somebody else is forgotten with them, which costs a question.
const MARKS: usize = 4096;

/// How often an answer may be overtaken before it is taken as it comes.
const ATTEMPTS_MAX: usize = 3;

/// The state decisions are made from; cheap to clone.
#[derive(Debug, Clone)]
pub struct Authority {
    store: Arc<Store>,
    standings: Cache<(RoomId, Arc<str>), Known>,
    marks: Arc<[AtomicU64]>,
    hasher: RandomState,
}

/// What is remembered of a person in a room.
#[derive(Debug, Clone)]
struct Known {
    standing: Arc<Standing>,
    /// The marks of the room and of the person in it, from before the store was asked.
    marks: (u64, u64),
}

impl Authority {
    /// One that knows nothing yet.
    #[must_use]
    pub fn new(store: Arc<Store>) -> Self {
        let standings =
            Cache::builder().max_capacity(STANDINGS_MAX).time_to_live(TIME_TO_LIVE).build();
        let marks = std::iter::repeat_with(AtomicU64::default).take(MARKS).collect();
        Self { store, standings, marks, hasher: RandomState::default() }
    }

    /// May this person (empty: nobody in particular) do this now?
    ///
    /// # Errors
    /// Why not, or that the room does not exist, or the store.
    pub async fn permit(
        &self,
        room: RoomId,
        user: &Arc<str>,
        act: Act,
    ) -> Result<(Room, Permit), Refusal> {
        let standing = self.standing(room, user).await?;
        let permit = standing.room.authorize(&standing.membership, act, unix_millis())?;
        Ok((standing.room.clone(), permit))
    }

    /// What a person is in a room. Who asks for the same at once waits for one answer.
    ///
    /// # Errors
    /// That the room does not exist, or the store.
    pub async fn standing(
        &self,
        room: RoomId,
        user: &Arc<str>,
    ) -> Result<Arc<Standing>, store::Error> {
        let key = (room, user.clone());
        for _ in 0..ATTEMPTS_MAX {
            let read = async {
                let marks = self.marks(room, user);
                let standing = self.store.standing(room, user).await.map(Arc::new)?;
                Ok(Known { standing, marks })
            };
            let known = self.standings.try_get_with(key.clone(), read).await;
            let known = known.map_err(|error: Arc<store::Error>| store::Error::clone(&error))?;
            if known.marks == self.marks(room, user) {
                return Ok(known.standing);
            }
            self.standings.invalidate(&key).await;
        }
        // It changes faster than it can be remembered.
        self.store.standing(room, user).await.map(Arc::new)
    }

    /// A person is something else in a room from now on.
    pub fn forget(&self, room: RoomId, user: &Arc<str>) {
        self.mark(&(room, user)).fetch_add(1, Ordering::SeqCst);
    }

    /// A room is something else from now on.
    pub fn forget_room(&self, room: RoomId) {
        self.mark(&room).fetch_add(1, Ordering::SeqCst);
    }

    fn marks(&self, room: RoomId, user: &Arc<str>) -> (u64, u64) {
        let up = |mark: &AtomicU64| mark.load(Ordering::SeqCst);
        (up(self.mark(&room)), up(self.mark(&(room, user))))
    }

    fn mark(&self, of: &impl Hash) -> &AtomicU64 {
        let hash = usize::try_from(self.hasher.hash_one(of) >> 32).unwrap_or_default();
        &self.marks[hash % MARKS]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::room::{FOR_EVER, Kind, Role, RoomName};
    use crate::store::{Deed, NewRoom, Settings, Target};

    /// A public room of ann's with bob in it.
    async fn lobby() -> (tempfile::TempDir, Arc<Store>, RoomId) {
        let data = tempfile::tempdir().unwrap();
        let target = Target::Sqlite(data.path().join("veza.db"));
        let settings = Settings { pool_size: 1, ..Settings::new(target) };
        let store = Store::open(&settings).await.unwrap();
        let name = RoomName::parse("Lobby").unwrap();
        let (by, members) = ("ann".into(), vec!["bob".into()]);
        let new = NewRoom { by, name, topic: None, kind: Kind::Public, members };
        let room = store.create_room(new).await.unwrap().value.id;
        (data, store, room)
    }

    fn ban(room: RoomId) -> Deed {
        Deed { room, by: "ann".into(), user: "bob".into(), reason: None }
    }

    #[tokio::test]
    async fn what_is_forgotten_is_asked_again() {
        let (_data, store, room) = lobby().await;
        let (authority, bob) = (Authority::new(store.clone()), Arc::from("bob"));
        assert!(authority.permit(room, &bob, Act::Read).await.is_ok());
        store.ban(ban(room), FOR_EVER).await.unwrap();
        authority.forget(room, &bob);
        assert!(authority.permit(room, &bob, Act::Read).await.is_err());
        store.unban(ban(room)).await.unwrap();
        authority.forget_room(room);
        assert!(authority.permit(room, &bob, Act::Read).await.is_ok());
    }

    #[tokio::test]
    async fn an_answer_from_before_it_was_forgotten_is_not_believed() {
        let (_data, store, room) = lobby().await;
        let (authority, bob) = (Authority::new(store.clone()), Arc::from("bob"));
        // The store was asked before the ban, and answers after everything was forgotten.
        let marks = authority.marks(room, &bob);
        let standing = Arc::new(store.standing(room, &bob).await.unwrap());
        store.ban(ban(room), FOR_EVER).await.unwrap();
        authority.forget(room, &bob);
        authority.standings.insert((room, bob.clone()), Known { standing, marks }).await;
        let standing = authority.standing(room, &bob).await.unwrap();
        assert_eq!((standing.membership.role, standing.membership.banned_until), (None, FOR_EVER));
        assert_eq!(standing.room.kind, Kind::Public);
        let ann = authority.standing(room, &"ann".into()).await.unwrap();
        assert_eq!(ann.membership.role, Some(Role::Owner));
    }
}
