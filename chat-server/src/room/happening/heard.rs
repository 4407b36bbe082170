//! What an event of a room's log changes in what is remembered of the room and its people.
//!
//! Pure. Read back from what clients get: an event that came from another node or from the store
//! says the same as one of this process.

use std::sync::Arc;

use serde::Deserialize;

use super::MemberChange;
use crate::protocol::Json;
use crate::room::{FOR_EVER, Kind, Membership, Role, Room};

/// How such events begin: the word for what they are stands first in everything a log holds.
const BEGINNINGS: [&[u8]; 2] = [br#"{"type":"member""#, br#"{"type":"room""#];

/// What happened, as far as decisions depend on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// Something happened to a person.
    Member {
        /// To whom.
        user: Arc<str>,
        /// What.
        change: MemberChange,
        /// What they are now, where that changed.
        role: Option<Role>,
        /// When a mute or ban ends by itself; [`FOR_EVER`] when it does not.
        until: u64,
    },
    /// The room is something else.
    Room {
        /// Who may come in, where that changed.
        kind: Option<Kind>,
        /// Seconds between two messages, where they changed.
        slow_mode_seconds: Option<u32>,
        /// Whether it is closed for writing, where that changed.
        archived: Option<bool>,
    },
}

#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
enum Words {
    Member { user: String, change: MemberChange, role: Option<String>, until: Option<u64> },
    Room { visibility: Option<String>, slow_mode: Option<u32>, archived: Option<bool> },
}

impl Heard {
    /// What the data of an event of a room says; `None` for all that is said in rooms.
    #[must_use]
    pub fn parse(data: &Json) -> Option<Self> {
        let bytes = data.as_bytes();
        if !BEGINNINGS.iter().any(|beginning| bytes.starts_with(beginning)) {
            return None;
        }
        Some(match serde_json::from_slice(bytes).ok()? {
            Words::Member { user, change, role, until } => Self::Member {
                user: user.into(),
                change,
                role: role.and_then(|role| role.parse().ok()),
                until: until.unwrap_or(FOR_EVER),
            },
            Words::Room { visibility, slow_mode, archived } => Self::Room {
                kind: visibility.and_then(|word| Kind::of_word(&word)),
                slow_mode_seconds: slow_mode,
                archived,
            },
        })
    }

    /// Whether somebody who could read the room before perhaps no longer can.
    #[must_use]
    pub fn may_put_out(&self) -> bool {
        match self {
            Self::Member { change, .. } => {
                matches!(change, MemberChange::Left | MemberChange::Banned | MemberChange::Kicked)
            }
            Self::Room { kind, .. } => kind.is_some_and(|kind| kind != Kind::Public),
        }
    }
}

impl Membership {
    /// What a person is after something happened to them.
    #[must_use]
    pub fn after(self, change: MemberChange, role: Option<Role>, until: u64) -> Self {
        match change {
            MemberChange::Joined => {
                Self { role: role.or(self.role).or(Some(Role::Member)), ..self }
            }
            MemberChange::Role => Self { role: role.or(self.role), ..self },
            MemberChange::Left | MemberChange::Kicked => Self { role: None, ..self },
            MemberChange::Muted => Self { muted_until: until, ..self },
            MemberChange::Unmuted => Self { muted_until: 0, ..self },
            MemberChange::Banned => Self { role: None, banned_until: until, ..self },
            MemberChange::Unbanned => Self { banned_until: 0, ..self },
        }
    }
}

impl Room {
    /// What a room is after some of it changed.
    #[must_use]
    pub fn after(
        self,
        kind: Option<Kind>,
        slow_mode_seconds: Option<u32>,
        archived: Option<bool>,
    ) -> Self {
        Self {
            kind: kind.unwrap_or(self.kind),
            slow_mode_seconds: slow_mode_seconds.unwrap_or(self.slow_mode_seconds),
            archived: archived.unwrap_or(self.archived),
            ..self
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{MemberEvent, RoomEvent};
    use super::*;

    #[test]
    fn what_is_told_is_heard() {
        let event = MemberEvent {
            room: None,
            user: "a \"person\"",
            change: MemberChange::Banned,
            role: None,
            until: Some(5),
            by: "ann",
        };
        let heard = Heard::parse(&event.json().unwrap()).unwrap();
        let (user, change, role) = ("a \"person\"".into(), MemberChange::Banned, None);
        assert_eq!(heard, Heard::Member { user, change, role, until: 5 });
        assert!(heard.may_put_out());
        let event = RoomEvent {
            kind: Some(Kind::Private),
            slow_mode_seconds: Some(3),
            retention_seconds: Some(None),
            archived: Some(true),
            ..RoomEvent::default()
        };
        let heard = Heard::parse(&event.json().unwrap()).unwrap();
        let (kind, slow_mode_seconds, archived) = (Some(Kind::Private), Some(3), Some(true));
        assert_eq!(heard, Heard::Room { kind, slow_mode_seconds, archived });
    }

    #[test]
    fn what_is_said_changes_nobody() {
        for data in [
            r#"{"type":"message","body":"{\"type\":\"member\"}"}"#,
            r#"{"type":"members"}"#,
            r#"{"type":"member","user":"ann","change":"promoted"}"#,
            r#"["member"]"#,
            "1",
        ] {
            assert_eq!(Heard::parse(&Json::parse(data.as_bytes()).unwrap()), None, "{data}");
        }
    }

    #[test]
    fn a_person_is_what_happened_to_them() {
        let nobody = Membership::default();
        let inside = nobody.after(MemberChange::Joined, Some(Role::Member), FOR_EVER);
        assert_eq!(inside.role, Some(Role::Member));
        let muted = inside.after(MemberChange::Muted, None, 7);
        assert_eq!((muted.role, muted.muted_until), (Some(Role::Member), 7));
        let banned = muted.after(MemberChange::Banned, None, FOR_EVER);
        let wanted = Membership { role: None, muted_until: 7, banned_until: FOR_EVER };
        assert_eq!(banned, wanted);
        let free = banned.after(MemberChange::Unbanned, None, FOR_EVER);
        assert_eq!(free.after(MemberChange::Unmuted, None, FOR_EVER), nobody);
        let admin = inside.after(MemberChange::Role, Some(Role::Admin), FOR_EVER);
        assert_eq!(admin.role, Some(Role::Admin));
        assert_eq!(admin.after(MemberChange::Kicked, None, FOR_EVER), nobody);
        assert_eq!(admin.after(MemberChange::Left, None, FOR_EVER), nobody);
    }
}
