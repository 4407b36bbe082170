//! What a member is in a room, from reading along to owning it.

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};

/// A member's role; a later one may do all that an earlier one may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Reads.
    Guest,
    /// Writes.
    Member,
    /// Keeps order: deletes, mutes, kicks, bans.
    Moderator,
    /// Gives roles and changes the room.
    Admin,
    /// Everything, also archiving; a room is never without one.
    Owner,
}

/// The word is no role.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a role is guest, member, moderator, admin or owner")]
pub struct UnknownRole;

impl Role {
    /// All, from the least.
    pub const ALL: [Self; 5] =
        [Self::Guest, Self::Member, Self::Moderator, Self::Admin, Self::Owner];

    /// The number in the store.
    #[must_use]
    pub const fn number(self) -> i16 {
        self as i16 + 1
    }

    /// The role of a number in the store.
    #[must_use]
    pub fn of(number: i16) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.number() == number)
    }

    /// The word on the wire.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Guest => "guest",
            Self::Member => "member",
            Self::Moderator => "moderator",
            Self::Admin => "admin",
            Self::Owner => "owner",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

impl FromStr for Role {
    type Err = UnknownRole;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|role| role.word() == text).ok_or(UnknownRole)
    }
}

impl Serialize for Role {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.word())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_numbers_name_the_same_role() {
        for role in Role::ALL {
            assert_eq!(role.word().parse(), Ok(role));
            assert_eq!(Role::of(role.number()), Some(role));
        }
        assert_eq!("king".parse::<Role>(), Err(UnknownRole));
        assert_eq!(Role::of(0), None);
    }
}
