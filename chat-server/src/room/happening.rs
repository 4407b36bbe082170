//! What happens to a room and to the people in it, as events: what clients get besides what is
//! said.
//!
//! Pure; the field names and words are those of the protocol.

mod heard;

use serde::{Deserialize, Serialize, Serializer};

pub use heard::Heard;

use super::{FOR_EVER, Kind, Reason, Role, RoomId, RoomName, Topic};
use crate::protocol::{Json, NotJson};

/// What happened to a person in a room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MemberChange {
    /// They are in it, by themselves or because somebody brought them in.
    Joined,
    /// They went.
    Left,
    /// They have another role.
    Role,
    /// They may not write.
    Muted,
    /// They may write again.
    Unmuted,
    /// They may not come in; whoever was in it is not any more.
    Banned,
    /// They may come in again.
    Unbanned,
    /// They were put out and may come back.
    Kicked,
}

/// Something that happened to a person.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(tag = "type", rename = "member")]
pub struct MemberEvent<'a> {
    /// The room; only in the person's own feed, where it does not go without saying.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub room: Option<RoomId>,
    /// To whom.
    pub user: &'a str,
    /// What.
    pub change: MemberChange,
    /// What they are now, where that changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<Role>,
    /// When a mute or ban ends by itself, in Unix milliseconds; none for ever.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<u64>,
    /// Who did it.
    pub by: &'a str,
}

/// What changed in a room itself; what stayed the same is not there.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(tag = "type", rename = "room")]
pub struct RoomEvent {
    /// What it is called.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<RoomName>,
    /// What it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub topic: Option<Topic>,
    /// Who may come in.
    #[serde(rename = "visibility", skip_serializing_if = "Option::is_none")]
    pub kind: Option<Kind>,
    /// Seconds between two messages of a member.
    #[serde(rename = "slow_mode", skip_serializing_if = "Option::is_none")]
    pub slow_mode_seconds: Option<u32>,
    /// How long events are kept, in seconds; `null` is as long as the server keeps any.
    #[serde(rename = "retention", skip_serializing_if = "Option::is_none")]
    pub retention_seconds: Option<Option<u64>>,
    /// Whether it is closed for writing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub archived: Option<bool>,
}

/// What the audit keeps of an act besides who did what to whom.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Detail<'a> {
    /// The role given, and
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<Role>,
    /// the one before it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<Role>,
    /// When it ends by itself, in Unix milliseconds; none for ever.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<u64>,
    /// Why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<&'a Reason>,
}

impl MemberChange {
    /// The method that does it, for what takes more rights than everyone has.
    #[must_use]
    pub const fn audited(self) -> Option<&'static str> {
        match self {
            Self::Joined | Self::Left => None,
            Self::Role => Some("member.role"),
            Self::Muted => Some("member.mute"),
            Self::Unmuted => Some("member.unmute"),
            Self::Banned => Some("member.ban"),
            Self::Unbanned => Some("member.unban"),
            Self::Kicked => Some("member.kick"),
        }
    }
}

impl MemberEvent<'_> {
    /// As clients get it.
    ///
    /// # Errors
    /// Never for texts, numbers and ids; the type cannot say so.
    pub fn json(&self) -> Result<Json, NotJson> {
        Json::from_value(self)
    }
}

impl RoomEvent {
    /// As clients get it.
    ///
    /// # Errors
    /// Never for texts, numbers and words; the type cannot say so.
    pub fn json(&self) -> Result<Json, NotJson> {
        Json::from_value(self)
    }

    /// True when everything stays as it is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl Serialize for Kind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.word())
    }
}

/// When a mute or ban ends, as it is told: not at all where it does not end by itself.
#[must_use]
pub const fn told_until(until: u64) -> Option<u64> {
    if until < FOR_EVER { Some(until) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(json: Result<Json, NotJson>) -> String {
        String::from_utf8(json.unwrap().as_bytes().to_vec()).unwrap()
    }

    #[test]
    fn a_member_event_says_what_changed_and_nothing_else() {
        let event = MemberEvent {
            room: None,
            user: "ann",
            change: MemberChange::Joined,
            role: Some(Role::Member),
            until: None,
            by: "bob",
        };
        let joined =
            r#"{"type":"member","user":"ann","change":"joined","role":"member","by":"bob"}"#;
        assert_eq!(text(event.json()), joined);
        let until = told_until(5);
        let muted = MemberEvent { change: MemberChange::Muted, role: None, until, ..event };
        let words = r#"{"type":"member","user":"ann","change":"muted","until":5,"by":"bob"}"#;
        assert_eq!(text(muted.json()), words);
        let for_ever = MemberEvent { until: told_until(FOR_EVER), ..muted };
        let words = r#"{"type":"member","user":"ann","change":"muted","by":"bob"}"#;
        assert_eq!(text(for_ever.json()), words);
        let room = Some(RoomId::from_uuid(uuid::Uuid::nil()));
        let told = text(MemberEvent { room, ..event }.json());
        let begins = r#"{"type":"member","room":"00000000-0000-0000-0000-000000000000","user""#;
        assert!(told.starts_with(begins), "{told}");
    }

    #[test]
    fn a_room_event_says_what_changed_and_nothing_else() {
        assert_eq!(text(RoomEvent::default().json()), r#"{"type":"room"}"#);
        let event = RoomEvent {
            name: Some(RoomName::parse("Lobby").unwrap()),
            topic: Some(Topic::parse("").unwrap()),
            kind: Some(Kind::Private),
            slow_mode_seconds: Some(0),
            retention_seconds: Some(None),
            archived: Some(false),
        };
        let words = concat!(
            r#"{"type":"room","name":"Lobby","topic":"","visibility":"private","#,
            r#""slow_mode":0,"retention":null,"archived":false}"#
        );
        assert_eq!(text(event.json()), words);
    }
}
