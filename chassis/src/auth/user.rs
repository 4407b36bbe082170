//! Who a person is to every service: an opaque, shared, validated identifier.
//!
//! Responsible for: the shape of a user id and its conversions. Not for: looking anybody up.
//! Invariant: a `UserId` in hand is 1 to 128 visible characters, so it can be logged, shown and
//! used as a key without another check. Cloning it copies a pointer: one session, its presence
//! entry and its rate-limit key share the same text.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::text;

/// Longest user id in characters: a UUID takes 36, an e-mail address or an external issuer's
/// `provider|subject` rarely more than 100.
pub const USER_ID_CHARS_MAX: usize = 128;

/// Identifier of a person, as the issuer of tokens wrote it into `sub`.
///
/// 1 to [`USER_ID_CHARS_MAX`] characters of visible text: no control, bidirectional or invisible
/// characters, no white space but spaces inside. Serialised as a plain string.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UserId(Arc<str>);

/// The text is no user id: it is empty, longer than 128 characters, or has characters that
/// cannot be seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a user id is 1 to {USER_ID_CHARS_MAX} visible characters")]
pub struct InvalidUserId;

impl UserId {
    /// The identifier as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for UserId {
    type Err = InvalidUserId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text::is_identifier(text, USER_ID_CHARS_MAX) {
            Ok(Self(Arc::from(text)))
        } else {
            Err(InvalidUserId)
        }
    }
}

impl TryFrom<String> for UserId {
    type Error = InvalidUserId;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl fmt::Display for UserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for UserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "UserId({:?})", &*self.0)
    }
}

impl AsRef<str> for UserId {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for UserId {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl Serialize for UserId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for UserId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    #[test]
    fn reads_back_what_it_shows() {
        let user: UserId = "alice".parse().unwrap();
        assert_eq!(user.to_string().parse::<UserId>(), Ok(user.clone()));
        assert_eq!(serde_json::to_string(&user).unwrap(), "\"alice\"");
        assert_eq!(serde_json::from_str::<UserId>("\"alice\"").unwrap(), user);
    }

    #[test]
    fn refuses_bad_text_on_every_way_in() {
        assert_eq!("".parse::<UserId>(), Err(InvalidUserId));
        assert_eq!(UserId::try_from("a\nb".to_owned()), Err(InvalidUserId));
        assert!(serde_json::from_str::<UserId>("\"a\\u202eb\"").is_err());
        assert!(serde_json::from_str::<UserId>("7").is_err());
    }

    #[test]
    fn is_found_in_a_map_by_its_text() {
        let user: UserId = "alice".parse().unwrap();
        let map = HashMap::from([(user, 1)]);
        assert_eq!(map.get("alice"), Some(&1));
    }
}
