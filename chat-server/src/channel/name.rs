//! What a channel may be called, and what its name says about it.

use std::fmt;
use std::sync::Arc;

use chassis::auth::UserId;

use crate::room::{LogId, RoomId};

/// Longest name in bytes.
pub const NAME_BYTES_MAX: usize = 255;

/// What the name of a person's feed begins with.
const USER_PREFIX: &str = "user:";

/// A checked channel name.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ChannelName(Arc<str>);

/// Where a name points; decided by what stands before its first colon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place<'a> {
    /// `room:<id>`; `None` for what is no id.
    Room(Option<RoomId>),
    /// `user:<id>`: the feed of one person.
    User(&'a str),
    /// `stream:<id>`.
    Stream,
    /// `<namespace>:<name>`.
    Namespace(&'a str),
    /// A name without a namespace.
    Plain,
}

/// Why a text is no channel name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidName {
    /// Nothing at all, or nothing before or behind the colon.
    #[error("channel name is empty")]
    Empty,
    /// Over [`NAME_BYTES_MAX`].
    #[error("channel name is longer than {NAME_BYTES_MAX} bytes")]
    TooLong {
        /// Its length in bytes.
        got: usize,
    },
    /// White space, control characters, or characters that turn the direction of text.
    #[error("channel name has a character that is not allowed")]
    Character,
}

impl InvalidName {
    /// The stable word for clients.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Empty => "channel_empty",
            Self::TooLong { .. } => "channel_too_long",
            Self::Character => "channel_character",
        }
    }
}

impl ChannelName {
    /// Checks a name.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, InvalidName> {
        // Whoever may have a feed has one: a user id may be longer, and may have spaces inside.
        if let Some(Ok(user)) = text.strip_prefix(USER_PREFIX).map(str::parse::<UserId>) {
            return Ok(Self::of_user(user.as_str()));
        }
        if text.len() > NAME_BYTES_MAX {
            return Err(InvalidName::TooLong { got: text.len() });
        }
        let halves_are_named = match text.split_once(':') {
            Some((namespace, name)) => !namespace.is_empty() && !name.is_empty(),
            None => !text.is_empty(),
        };
        if !halves_are_named {
            return Err(InvalidName::Empty);
        }
        if text.chars().any(is_forbidden) {
            return Err(InvalidName::Character);
        }
        Ok(Self(text.into()))
    }

    /// The feed of one person.
    #[must_use]
    pub fn of_user(user: &str) -> Self {
        Self(format!("{USER_PREFIX}{user}").into())
    }

    /// Where it points.
    #[must_use]
    pub fn place(&self) -> Place<'_> {
        match self.0.split_once(':') {
            None => Place::Plain,
            Some(("room", id)) => Place::Room(room_id(id)),
            Some(("user", user)) => Place::User(user),
            Some(("stream", _)) => Place::Stream,
            Some((namespace, _)) => Place::Namespace(namespace),
        }
    }

    /// The log behind it, for rooms and feeds.
    #[must_use]
    pub fn log(&self) -> Option<LogId> {
        match self.place() {
            Place::Room(id) => id.map(RoomId::log),
            Place::User(user) => Some(LogId::of_feed(user)),
            Place::Stream | Place::Namespace(_) | Place::Plain => None,
        }
    }

    /// The text, shared.
    #[must_use]
    pub fn shared(&self) -> &Arc<str> {
        &self.0
    }
}

impl fmt::Display for ChannelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One room has one name: the id in its one usual form.
fn room_id(text: &str) -> Option<RoomId> {
    text.parse().ok().filter(|id: &RoomId| id.to_string() == text)
}

/// Bidirectional controls could make one name look like another.
fn is_forbidden(character: char) -> bool {
    character.is_control()
        || character.is_whitespace()
        || matches!(character, '\u{200B}'..='\u{200F}' | '\u{202A}'..='\u{202E}'
            | '\u{2060}'..='\u{2069}' | '\u{FEFF}')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_part_before_the_colon_says_where_a_name_points() {
        let points =
            |text: &str, place| assert_eq!(ChannelName::parse(text).unwrap().place(), place);
        points("room:1", Place::Room(None));
        let room = RoomId::new();
        let (usual, shouted) = (room.channel(), room.channel().to_uppercase());
        points(&usual, Place::Room(Some(room)));
        points(&shouted.replace("ROOM", "room"), Place::Room(None));
        points("user:ann", Place::User("ann"));
        points("stream:1", Place::Stream);
        points("news:a:b", Place::Namespace("news"));
        points("lobby", Place::Plain);
    }

    #[test]
    fn names_that_are_none_are_refused_with_a_reason() {
        let reason = |text: &str| ChannelName::parse(text).unwrap_err().reason();
        assert_eq!(reason(""), "channel_empty");
        assert_eq!(reason(":a"), "channel_empty");
        assert_eq!(reason("news:"), "channel_empty");
        assert_eq!(reason(&"x".repeat(256)), "channel_too_long");
        for text in ["a b", "a\nb", "a\u{202E}b", "a\0"] {
            assert_eq!(reason(text), "channel_character", "{text:?}");
        }
        assert!(ChannelName::parse(&"x".repeat(255)).is_ok());
    }

    #[test]
    fn every_user_id_names_a_feed() {
        for user in ["ann", "auth0|5f", "Ann Smith", &"ü".repeat(128)] {
            let feed = ChannelName::of_user(user);
            assert_eq!(ChannelName::parse(feed.shared()).as_ref(), Ok(&feed));
            assert_eq!(feed.place(), Place::User(user));
        }
        assert!(ChannelName::parse("user: ann").is_err());
    }

    proptest! {
        #[test]
        fn any_text_is_a_name_or_not(text in any::<String>()) {
            if let Ok(name) = ChannelName::parse(&text) {
                prop_assert_eq!(name.to_string(), text);
            }
        }
    }
}
