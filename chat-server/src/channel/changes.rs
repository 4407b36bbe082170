//! What happened to rooms and to the people in them, for those who decide from it.
//!
//! Two things. Marks: whoever remembers something of a room or of a person in it takes the marks
//! before it asks, and believes what it remembers while they are the same. Notes: who may have
//! lost a room is looked at by whoever puts people out. Channels and the fan-out write here and
//! call nobody.
//!
//! Bounded: notes of the same person are one note; when there are too many of people their room is
//! noted as a whole, and when there are too many of rooms all of them are. Nothing is lost.

use std::hash::{BuildHasher, Hash};
use std::mem;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use foldhash::fast::RandomState;
use hashbrown::HashSet;
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::room::RoomId;
use crate::room::happening::Heard;

/// Marks: who shares one with somebody else is forgotten with them, which costs a question.
const MARKS: usize = 4096;

/// People that are noted, with about 100 bytes each; more than are put out while a store answers.
const PEOPLE_MAX: usize = 4096;

/// Rooms that are noted.
const ROOMS_MAX: usize = 1024;

/// What happened, to those who decide from it; one for the process.
#[derive(Debug)]
pub struct Changes {
    marks: Box<[AtomicU64]>,
    hasher: RandomState,
    /// Held to add a note or to take all.
    notes: Mutex<Notes>,
    noted: Notify,
}

/// Who may have lost what.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Notes {
    /// These people a room.
    pub people: HashSet<(RoomId, Arc<str>)>,
    /// Anybody these rooms.
    pub rooms: HashSet<RoomId>,
    /// Anybody any room.
    pub everything: bool,
}

impl Default for Changes {
    fn default() -> Self {
        let marks = std::iter::repeat_with(AtomicU64::default).take(MARKS).collect();
        let (hasher, notes, noted) = (RandomState::default(), Mutex::default(), Notify::new());
        Self { marks, hasher, notes, noted }
    }
}

impl Changes {
    /// The marks of a room and of a person in it.
    #[must_use]
    pub fn marks(&self, room: RoomId, user: &str) -> (u64, u64) {
        let up = |mark: &AtomicU64| mark.load(Ordering::SeqCst);
        (up(self.mark(&room)), up(self.mark(&(room, user))))
    }

    /// Something happened in a room: what is remembered of it no longer counts.
    pub fn raise(&self, room: RoomId, heard: &Heard) {
        let mark = match heard {
            Heard::Member { user, .. } => self.mark(&(room, &**user)),
            Heard::Room { .. } => self.mark(&room),
        };
        mark.fetch_add(1, Ordering::SeqCst);
    }

    /// The same, and who may have lost the room is noted.
    pub fn note(&self, room: RoomId, heard: &Heard) {
        self.raise(room, heard);
        if !heard.may_put_out() {
            return;
        }
        match heard {
            Heard::Member { user, .. } => self.notes.lock().person(room, user),
            Heard::Room { .. } => self.notes.lock().room(room),
        }
        self.noted.notify_one();
    }

    /// Everything noted since the last time, as soon as there is anything. For one task.
    pub async fn noted(&self) -> Notes {
        loop {
            let notes = mem::take(&mut *self.notes.lock());
            if notes != Notes::default() {
                return notes;
            }
            self.noted.notified().await;
        }
    }

    fn mark(&self, of: &impl Hash) -> &AtomicU64 {
        let hash = usize::try_from(self.hasher.hash_one(of) >> 32).unwrap_or_default();
        &self.marks[hash % MARKS]
    }
}

impl Notes {
    fn person(&mut self, room: RoomId, user: &Arc<str>) {
        if self.people.len() < PEOPLE_MAX {
            self.people.insert((room, user.clone()));
        } else {
            self.room(room);
        }
    }

    fn room(&mut self, room: RoomId) {
        if self.rooms.len() < ROOMS_MAX {
            self.rooms.insert(room);
        } else {
            self.everything = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::room::happening::MemberChange;

    fn happened(user: &str, change: MemberChange) -> Heard {
        Heard::Member { user: user.into(), change, role: None, until: 0 }
    }

    #[tokio::test]
    async fn what_takes_nothing_from_anybody_raises_marks_alone() {
        let (changes, room) = (Changes::default(), RoomId::new());
        let before = changes.marks(room, "ann");
        changes.note(room, &happened("ann", MemberChange::Muted));
        assert_ne!(changes.marks(room, "ann"), before);
        changes.note(room, &happened("ann", MemberChange::Left));
        changes.note(room, &happened("ann", MemberChange::Kicked));
        let notes = changes.noted().await;
        assert_eq!(notes.people.into_iter().collect::<Vec<_>>(), [(room, "ann".into())]);
    }

    #[tokio::test]
    async fn too_many_notes_become_larger_ones() {
        let (changes, room) = (Changes::default(), RoomId::new());
        for number in 0..=PEOPLE_MAX {
            changes.note(room, &happened(&format!("user-{number}"), MemberChange::Banned));
        }
        let notes = changes.noted().await;
        assert_eq!((notes.people.len(), notes.rooms.len()), (PEOPLE_MAX, 1));
        assert!(notes.rooms.contains(&room) && !notes.everything);
        let kind = Some(crate::room::Kind::Private);
        let closed = Heard::Room { kind, slow_mode_seconds: None, archived: None };
        for _ in 0..=ROOMS_MAX {
            changes.note(RoomId::new(), &closed);
        }
        assert!(changes.noted().await.everything);
    }
}
