//! Who may do what in a room: one pure function, and the proof it gives.

use super::{FOR_EVER, Kind, Membership, Role, Room};

/// What somebody wants to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    /// Subscribe, page history, see who is there.
    Read,
    /// Publish a message, or show that one is typing.
    Post,
    /// Add or take a reaction.
    React,
    /// Change one's own message; another's never.
    Edit,
    /// Delete one's own message.
    DeleteOwn,
    /// Delete the message of somebody of this rank (`None`: no longer in the room).
    DeleteOf(Option<Role>),
    /// Mark what is read.
    Mark,
    /// Come in by oneself.
    Join,
    /// Go.
    Leave,
    /// Bring somebody in.
    Invite,
    /// Mute, unmute, kick, ban or unban somebody of this rank.
    Moderate(Option<Role>),
    /// Give somebody of the first rank the second.
    Promote(Role, Role),
    /// Change name, topic, visibility, slow mode, retention.
    Update,
    /// Close the room for writing, or open it again.
    Archive,
}

/// Why not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// Not in a room that only members see, or not a member where members act.
    #[error("you are not a member of this room")]
    NotAMember,
    /// The role is not enough.
    #[error("this takes the role {needs} or a higher one")]
    Role {
        /// The least that is enough.
        needs: Role,
    },
    /// The other's role, or the one to give, is not below one's own.
    #[error("that role is not below your own")]
    RoleAboveOwn,
    /// Muted until then (Unix milliseconds, or for ever).
    #[error("you are muted in this room")]
    Muted {
        /// When it ends.
        until: u64,
    },
    /// Banned until then (Unix milliseconds, or for ever).
    #[error("you are banned from this room")]
    Banned {
        /// When it ends.
        until: u64,
    },
    /// It is another's message.
    #[error("only its author can change a message")]
    NotTheAuthor,
    /// The room is closed for writing.
    #[error("the room is archived")]
    Archived,
    /// Nobody comes, goes or ranks in a direct conversation.
    #[error("this cannot be done in a direct conversation")]
    Direct,
}

/// The proof that somebody may do something now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Permit {
    act: Act,
}

impl Denied {
    /// When a mute or ban ends by itself.
    #[must_use]
    pub const fn ends_at(self) -> Option<u64> {
        match self {
            Self::Muted { until } | Self::Banned { until } if until < FOR_EVER => Some(until),
            _ => None,
        }
    }
}

impl Permit {
    /// What it allows.
    #[must_use]
    pub const fn act(self) -> Act {
        self.act
    }
}

impl Room {
    /// May this person do this now (Unix milliseconds)?
    ///
    /// # Errors
    /// The first reason why not: banned, not a member, a direct conversation, archived, muted,
    /// role. Who is not in a room that only members see learns nothing else about it.
    pub fn authorize(&self, who: &Membership, act: Act, now: u64) -> Result<Permit, Denied> {
        if who.banned_until > now {
            return Err(Denied::Banned { until: who.banned_until });
        }
        let role = match (who.role, act) {
            (None, Act::Read | Act::Join) if self.kind == Kind::Public => Role::Guest,
            (None, _) => return Err(Denied::NotAMember),
            (Some(role), _) => role,
        };
        if self.kind == Kind::Direct && act.is_about_members() {
            return Err(Denied::Direct);
        }
        if self.archived && act.writes() {
            return Err(Denied::Archived);
        }
        if who.muted_until > now && act.speaks() {
            return Err(Denied::Muted { until: who.muted_until });
        }
        let needs = act.needs(self.kind);
        if role < needs {
            return Err(Denied::Role { needs });
        }
        match act {
            // One's equals are out of reach, and so is oneself.
            Act::DeleteOf(Some(rank)) | Act::Moderate(Some(rank)) if rank >= role => {
                Err(Denied::RoleAboveOwn)
            }
            // Owners give and take every role, their own as well.
            Act::Promote(from, to) if role < Role::Owner && (from >= role || to >= role) => {
                Err(Denied::RoleAboveOwn)
            }
            _ => Ok(Permit { act }),
        }
    }
}

impl Act {
    const fn is_about_members(self) -> bool {
        matches!(
            self,
            Self::Join
                | Self::Leave
                | Self::Invite
                | Self::Moderate(_)
                | Self::Promote(..)
                | Self::Update
                | Self::Archive
        )
    }

    /// Things that an archived room no longer takes.
    const fn writes(self) -> bool {
        !matches!(self, Self::Read | Self::Mark | Self::Leave | Self::Archive | Self::Moderate(_))
    }

    /// Things that a muted person must not do.
    const fn speaks(self) -> bool {
        matches!(self, Self::Post | Self::React | Self::Edit)
    }

    const fn needs(self, kind: Kind) -> Role {
        match self {
            Self::Read | Self::Mark | Self::Join | Self::Leave => Role::Guest,
            Self::Post | Self::React | Self::Edit | Self::DeleteOwn => Role::Member,
            Self::Invite if matches!(kind, Kind::Public) => Role::Member,
            Self::Invite | Self::DeleteOf(_) | Self::Moderate(_) => Role::Moderator,
            Self::Promote(..) | Self::Update => Role::Admin,
            Self::Archive => Role::Owner,
        }
    }
}

#[cfg(test)]
mod tests;
