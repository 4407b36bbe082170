//! What people are in rooms.
//!
//! Every publication and subscription asks. Where somebody is in the channel of the room, the
//! whole room is read once, with everybody in it, and then follows the log: thousands who come back
//! to it cost one query. It is as old as what was delivered there: a moment while nodes hear each
//! other, a second while they do not, five for a message that the bus lost. Of all other rooms
//! single people are remembered for less than a second. Whoever writes is checked again under the
//! room's lock, so staleness only ever costs a refusal a moment too late for readers.
//!
//! Invariant: who asks after [`Changes::raise`] is told what was committed before it, also when the
//! store was being asked at that moment: what is remembered bears the marks that were up when the
//! store was asked, and whatever happens in a room raises one.

use std::sync::Arc;
use std::time::Duration;

use moka::future::Cache;

use super::{Refusal, unix_millis};
use crate::channel::{Changes, Channel, Hub, ROSTER_MAX};
use crate::room::{Act, Permit, Room, RoomId};
use crate::store::{self, Standing, Store};

/// How long it is remembered.
const TIME_TO_LIVE: Duration = Duration::from_millis(900);

/// How many: about 20 MB.
const STANDINGS_MAX: u64 = 100_000;

/// How soon after another a room is read as a whole: in between, people are asked about singly.
const ROSTER_INTERVAL: Duration = Duration::from_millis(100);

/// How often an answer may be overtaken before it is taken as it comes.
const ATTEMPTS_MAX: usize = 3;

/// The state decisions are made from; cheap to clone.
#[derive(Debug, Clone)]
pub struct Authority {
    store: Arc<Store>,
    hub: Arc<Hub>,
    standings: Cache<(RoomId, Arc<str>), Known>,
    /// Rooms that were read just now, or are being read: everybody waits for one answer.
    rosters: Cache<RoomId, ()>,
}

/// What is remembered of a person in a room.
#[derive(Debug, Clone)]
struct Known {
    standing: Standing,
    /// The marks of the room and of the person in it, from before the store was asked.
    marks: (u64, u64),
}

impl Authority {
    /// One that knows nothing yet.
    #[must_use]
    pub fn new(store: Arc<Store>, hub: Arc<Hub>) -> Self {
        let standings =
            Cache::builder().max_capacity(STANDINGS_MAX).time_to_live(TIME_TO_LIVE).build();
        let rosters = Cache::builder().time_to_live(ROSTER_INTERVAL).build();
        Self { store, hub, standings, rosters }
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
        Ok((standing.room, permit))
    }

    /// What a person is in a room. Who asks for the same at once waits for one answer.
    ///
    /// # Errors
    /// That the room does not exist, or the store.
    pub async fn standing(&self, room: RoomId, user: &Arc<str>) -> Result<Standing, store::Error> {
        let channel = self.hub.find_by_text(&room.channel()).filter(|_| self.hub.is_abreast());
        if let Some(channel) = channel
            && let Some(standing) = self.followed(room, &channel, user).await?
        {
            return Ok(standing);
        }
        let key = (room, user.clone());
        for _ in 0..ATTEMPTS_MAX {
            let read = async {
                let marks = self.changes().marks(room, user);
                let standing = self.store.standing(room, user).await?;
                Ok(Known { standing, marks })
            };
            let known = self.standings.try_get_with(key.clone(), read).await;
            let known = known.map_err(|error: Arc<store::Error>| store::Error::clone(&error))?;
            if known.marks == self.changes().marks(room, user) {
                return Ok(known.standing);
            }
            self.standings.invalidate(&key).await;
        }
        // It changes faster than it can be remembered.
        self.store.standing(room, user).await
    }

    /// What a person is in a room that follows its log; `None` when it does not, or not yet.
    async fn followed(
        &self,
        room: RoomId,
        channel: &Arc<Channel>,
        user: &str,
    ) -> Result<Option<Standing>, store::Error> {
        let standing = channel.standing(user);
        if standing.is_some() || channel.seats_wanted().is_none() {
            return Ok(standing);
        }
        let read = async {
            // Given before the store is asked.
            if let Some(ticket) = channel.seats_wanted() {
                channel.seat(ticket, self.store.roster(room, ROSTER_MAX).await?);
            }
            Ok(())
        };
        // On the heap: it is rare, and everyone who asks anything would have room for it.
        let read = Box::pin(self.rosters.try_get_with(room, read)).await;
        read.map_err(|error: Arc<store::Error>| store::Error::clone(&error))?;
        Ok(channel.standing(user))
    }

    /// True when everybody in a room is known here.
    pub(super) fn knows(&self, channel: &Channel) -> bool {
        self.hub.is_abreast() && channel.standing("").is_some()
    }

    fn changes(&self) -> &Changes {
        self.hub.changes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channel::testing::hub;
    use crate::room::happening::{Heard, MemberChange};
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

    fn authority(store: &Arc<Store>) -> Authority {
        Authority::new(store.clone(), hub())
    }

    fn banned() -> Heard {
        let (user, change) = ("bob".into(), MemberChange::Banned);
        Heard::Member { user, change, role: None, until: FOR_EVER }
    }

    fn ban(room: RoomId) -> Deed {
        Deed { room, by: "ann".into(), user: "bob".into(), reason: None }
    }

    #[tokio::test]
    async fn what_is_forgotten_is_asked_again() {
        let (_data, store, room) = lobby().await;
        let (authority, bob) = (authority(&store), Arc::from("bob"));
        assert!(authority.permit(room, &bob, Act::Read).await.is_ok());
        store.ban(ban(room), FOR_EVER).await.unwrap();
        authority.changes().raise(room, &banned());
        assert!(authority.permit(room, &bob, Act::Read).await.is_err());
        store.unban(ban(room)).await.unwrap();
        let opened = Heard::Room { kind: None, slow_mode_seconds: None, archived: None };
        authority.changes().raise(room, &opened);
        assert!(authority.permit(room, &bob, Act::Read).await.is_ok());
    }

    #[tokio::test]
    async fn an_answer_from_before_it_was_forgotten_is_not_believed() {
        let (_data, store, room) = lobby().await;
        let (authority, bob) = (authority(&store), Arc::from("bob"));
        // The store was asked before the ban, and answers after everything was forgotten.
        let marks = authority.changes().marks(room, &bob);
        let standing = store.standing(room, &bob).await.unwrap();
        store.ban(ban(room), FOR_EVER).await.unwrap();
        authority.changes().raise(room, &banned());
        authority.standings.insert((room, bob.clone()), Known { standing, marks }).await;
        let standing = authority.standing(room, &bob).await.unwrap();
        assert_eq!((standing.membership.role, standing.membership.banned_until), (None, FOR_EVER));
        assert_eq!(standing.room.kind, Kind::Public);
        let ann = authority.standing(room, &"ann".into()).await.unwrap();
        assert_eq!(ann.membership.role, Some(Role::Owner));
    }
}
