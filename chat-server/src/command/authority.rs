//! What people are in rooms, remembered for less than a second.
//!
//! Every publication and subscription asks; what is remembered may be stale that long, and is
//! forgotten at once when this process changes it. Whoever writes is checked again under the
//! room's lock, so staleness only ever costs a refusal a moment too late for readers.

use std::sync::Arc;
use std::time::Duration;

use moka::future::Cache;

use super::{Refusal, unix_millis};
use crate::room::{Act, Permit, Room, RoomId};
use crate::store::{self, Standing, Store};

/// How long it is remembered.
const TIME_TO_LIVE: Duration = Duration::from_millis(900);

/// How many: about 20 MB.
const STANDINGS_MAX: u64 = 100_000;

/// The state decisions are made from.
#[derive(Debug)]
pub struct Authority {
    store: Arc<Store>,
    standings: Cache<(RoomId, Arc<str>), Arc<Standing>>,
}

impl Authority {
    /// One that knows nothing yet.
    #[must_use]
    pub fn new(store: Arc<Store>) -> Self {
        let standings = Cache::builder()
            .max_capacity(STANDINGS_MAX)
            .time_to_live(TIME_TO_LIVE)
            .support_invalidation_closures()
            .build();
        Self { store, standings }
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
        let read = async { self.store.standing(room, user).await.map(Arc::new) };
        let read = self.standings.try_get_with(key, read).await;
        read.map_err(|error| store::Error::clone(&error))
    }

    /// A person is something else in a room from now on.
    pub async fn forget(&self, room: RoomId, user: &Arc<str>) {
        self.standings.invalidate(&(room, user.clone())).await;
    }

    /// A room is something else from now on.
    pub fn forget_room(&self, room: RoomId) {
        let forgotten = self.standings.invalidate_entries_if(move |(known, _), _| *known == room);
        if let Err(error) = forgotten {
            tracing::warn!(%error, "a room could not be forgotten: it is for a second");
        }
    }
}
