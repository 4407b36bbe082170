//! Rooms: who they are, what somebody is in them, and what that allows. Pure decisions.
//!
//! Nothing here reads a store or a clock: the state and `now` are arguments, so the same decision
//! is made from a cached state before a command and from the rows under the room's lock.

mod body;
mod emoji;
pub mod happening;
mod id;
mod name;
mod permit;
mod role;
pub mod say;

pub use body::{Body, InvalidBody};
pub use emoji::{Emoji, NotAnEmoji};
pub use id::{LogId, MessageId, RoomId};
pub use name::{InvalidName, Reason, RoomName, Topic};
pub use permit::{Act, Denied, Permit};
pub use role::{Role, UnknownRole};

/// What kind of log a room is; the numbers are those of the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Anyone may read and join it.
    Public,
    /// Members only, by invitation.
    Private,
    /// A conversation of certain people; nobody joins or leaves it.
    Direct,
    /// A person's own feed.
    Feed,
}

/// A room as decisions see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Room {
    /// Which one.
    pub id: RoomId,
    /// Who may come in.
    pub kind: Kind,
    /// Nothing can be written any more.
    pub archived: bool,
    /// Seconds between two messages of a member; 0 is off.
    pub slow_mode_seconds: u32,
}

/// What a person is in a room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Membership {
    /// `None` = not in it.
    pub role: Option<Role>,
    /// Unix milliseconds; 0 is not muted, [`FOR_EVER`] until somebody ends it.
    pub muted_until: u64,
    /// Unix milliseconds, as above.
    pub banned_until: u64,
}

/// The end of a mute or ban that does not end by itself.
pub const FOR_EVER: u64 = i64::MAX as u64;

impl Kind {
    /// The number in the store.
    #[must_use]
    pub const fn number(self) -> i16 {
        match self {
            Self::Public => 1,
            Self::Private => 2,
            Self::Direct => 3,
            Self::Feed => 4,
        }
    }

    /// The kind of a number in the store.
    #[must_use]
    pub const fn of(number: i16) -> Option<Self> {
        match number {
            1 => Some(Self::Public),
            2 => Some(Self::Private),
            3 => Some(Self::Direct),
            4 => Some(Self::Feed),
            _ => None,
        }
    }

    /// The word on the wire.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::Private => "private",
            Self::Direct => "direct",
            Self::Feed => "feed",
        }
    }

    /// The kind of a word on the wire.
    #[must_use]
    pub fn of_word(word: &str) -> Option<Self> {
        let all = [Self::Public, Self::Private, Self::Direct, Self::Feed];
        all.into_iter().find(|kind| kind.word() == word)
    }
}
