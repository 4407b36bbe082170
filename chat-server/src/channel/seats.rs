//! A room with everybody in it, kept right by what is delivered in its channel.
//!
//! Pure. It is of one offset, that of the store when it was read; what happened up to there is in
//! it already, what is delivered behind it is done to it in order. Whoever reads it from the store
//! takes a ticket before: what was read is not believed when it may have been overtaken.
//!
//! Bounded: larger rooms are not kept, and are asked about person by person.

use std::sync::Arc;

use hashbrown::HashMap;

use crate::room::happening::Heard;
use crate::room::{Membership, Room};
use crate::store::{Roster, Standing};

/// People of a room that is kept, at about 100 bytes each.
pub(crate) const ROSTER_MAX: usize = 10_000;

/// What is known of a room and its people.
#[derive(Debug, Default)]
pub(super) struct Seats {
    /// Most channels are no room.
    known: Option<Box<Known>>,
    /// How often everything was forgotten.
    forgotten: u64,
    /// Where something happened last.
    happened_at: u64,
    /// There are more than are kept.
    crowded: bool,
}

#[derive(Debug)]
struct Known {
    room: Room,
    people: HashMap<Arc<str>, Membership>,
    /// What happened up to there is in it.
    head: u64,
}

/// What was forgotten before the store was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ticket(u64);

impl Seats {
    /// What a person is; `None` when the room is not known.
    pub(super) fn standing(&self, user: &str) -> Option<Standing> {
        let Known { room, people, .. } = self.known.as_deref()?;
        let membership = people.get(user).copied().unwrap_or_default();
        Some(Standing { room: room.clone(), membership })
    }

    /// How many people are kept.
    pub(super) fn len(&self) -> usize {
        self.known.as_ref().map_or(0, |known| known.people.len())
    }

    /// What to show with what is read; `None` when nothing need be read.
    pub(super) fn ticket(&self) -> Option<Ticket> {
        (self.known.is_none() && !self.crowded).then_some(Ticket(self.forgotten))
    }

    /// Takes what was read since the ticket; `None`: there are more people than are kept.
    pub(super) fn take(&mut self, ticket: Ticket, roster: Option<Roster>) {
        let Some(Roster { room, head, people }) = roster else {
            self.crowded = true;
            return;
        };
        if self.ticket() == Some(ticket) && self.happened_at <= head {
            let people = people.into_iter().collect();
            self.known = Some(Box::new(Known { room, people, head }));
        }
    }

    /// Something happened at the next offset.
    pub(super) fn hear(&mut self, offset: u64, heard: &Heard) {
        self.happened_at = offset;
        let Some(Known { room, people, head }) = self.known.as_deref_mut() else { return };
        if offset <= *head {
            return;
        }
        *head = offset;
        match heard {
            Heard::Member { user, change, role, until } => {
                let before = people.get(user).copied().unwrap_or_default();
                match before.after(*change, *role, *until) {
                    nothing if nothing == Membership::default() => people.remove(user),
                    after => people.insert(user.clone(), after),
                };
                if people.len() > ROSTER_MAX {
                    self.crowded = true;
                    self.forget();
                }
            }
            Heard::Room { kind, slow_mode_seconds, archived } => {
                *room = room.clone().after(*kind, *slow_mode_seconds, *archived);
            }
        }
    }

    /// What is known, or being read, may be wrong.
    pub(super) fn forget(&mut self) {
        self.forgotten += 1;
        self.known = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::room::happening::MemberChange;
    use crate::room::{FOR_EVER, Kind, Role, RoomId};

    fn roster(head: u64, people: &[(&str, Role)]) -> Option<Roster> {
        let (id, kind) = (RoomId::new(), Kind::Public);
        let room = Room { id, kind, archived: false, slow_mode_seconds: 0 };
        let person = |&(user, role): &(&str, Role)| {
            (user.into(), Membership { role: Some(role), ..Membership::default() })
        };
        Some(Roster { room, head, people: people.iter().map(person).collect() })
    }

    fn happened(user: &str, change: MemberChange, role: Option<Role>) -> Heard {
        Heard::Member { user: user.into(), change, role, until: FOR_EVER }
    }

    fn role(seats: &Seats, user: &str) -> Option<Option<Role>> {
        seats.standing(user).map(|standing| standing.membership.role)
    }

    #[test]
    fn what_happens_is_done_to_what_was_read() {
        let mut seats = Seats::default();
        let ticket = seats.ticket().unwrap();
        seats.take(ticket, roster(5, &[("ann", Role::Owner), ("bob", Role::Member)]));
        assert_eq!(seats.ticket(), None);
        // In what was read already: bob left and came back since.
        seats.hear(4, &happened("bob", MemberChange::Left, None));
        assert_eq!(role(&seats, "bob"), Some(Some(Role::Member)));
        seats.hear(6, &happened("bob", MemberChange::Banned, None));
        let bob = seats.standing("bob").unwrap().membership;
        assert_eq!((bob.role, bob.banned_until), (None, FOR_EVER));
        seats.hear(7, &happened("eve", MemberChange::Joined, Some(Role::Member)));
        seats.hear(8, &happened("bob", MemberChange::Unbanned, None));
        assert_eq!((role(&seats, "eve"), seats.len()), (Some(Some(Role::Member)), 2));
        let kind = Some(Kind::Private);
        seats.hear(9, &Heard::Room { kind, slow_mode_seconds: Some(3), archived: None });
        let room = seats.standing("").unwrap().room;
        assert_eq!((room.kind, room.slow_mode_seconds), (Kind::Private, 3));
    }

    #[test]
    fn what_was_overtaken_while_it_was_read_is_not_believed() {
        let mut seats = Seats::default();
        let ticket = seats.ticket().unwrap();
        seats.hear(6, &happened("bob", MemberChange::Banned, None));
        seats.take(ticket, roster(5, &[("bob", Role::Member)]));
        assert_eq!(role(&seats, "bob"), None);
        seats.forget();
        seats.take(ticket, roster(6, &[]));
        assert_eq!(role(&seats, "bob"), None);
        let ticket = seats.ticket().unwrap();
        seats.take(ticket, roster(6, &[]));
        assert_eq!(role(&seats, "bob"), Some(None));
    }

    #[test]
    fn a_room_that_is_too_large_is_not_kept() {
        let mut seats = Seats::default();
        let people: Vec<String> = (0..ROSTER_MAX).map(|number| format!("user-{number}")).collect();
        let people: Vec<_> = people.iter().map(|user| (&**user, Role::Member)).collect();
        let ticket = seats.ticket().unwrap();
        seats.take(ticket, roster(1, &people));
        assert_eq!(seats.len(), ROSTER_MAX);
        seats.hear(2, &happened("one more", MemberChange::Joined, Some(Role::Member)));
        assert_eq!((seats.len(), seats.ticket()), (0, None));
        let mut seats = Seats::default();
        let ticket = seats.ticket().unwrap();
        seats.take(ticket, None);
        assert_eq!(seats.ticket(), None);
    }
}
