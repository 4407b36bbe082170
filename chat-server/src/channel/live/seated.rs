//! The people of a room, as its channel knows them.

use super::{Channel, State};
use crate::channel::seats::Ticket;
use crate::protocol::Publication;
use crate::room::RoomId;
use crate::room::happening::Heard;
use crate::store::{Roster, Standing};

impl Channel {
    /// What a person is in the room; `None` when that is not known here.
    #[must_use]
    pub fn standing(&self, user: &str) -> Option<Standing> {
        self.state.lock().seats.standing(user)
    }

    /// What to show with everybody who is in the room, once they are read; `None` when they need
    /// not be read or cannot be kept.
    #[must_use]
    pub fn seats_wanted(&self) -> Option<Ticket> {
        let state = self.state.lock();
        let follows = self.room().is_some() && state.order.is_based();
        state.seats.ticket().filter(|_| follows && !self.kept.is_crowded())
    }

    /// Takes everybody who is in the room, as they were read after the ticket was given; `None`
    /// when they are too many to be kept.
    pub fn seat(&self, ticket: Ticket, roster: Option<Roster>) {
        let mut state = self.state.lock();
        state.seats.take(ticket, roster);
        self.kept.count(&mut state);
    }

    pub(super) fn unseat(&self, state: &mut State) {
        state.seats.forget();
        self.kept.count(state);
    }

    /// What happened to the room or to somebody in it.
    pub(super) fn heard(&self, publication: &Publication) -> Option<(RoomId, Heard)> {
        self.room().and_then(|room| Some((room, Heard::parse(&publication.data)?)))
    }
}
