//! What people react with: one emoji of the Unicode list, in its full form.

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};

/// One emoji. Forms that look the same are one: with and without the variation selector.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Emoji(&'static str);

/// The text is no emoji, or more than one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a reaction is one emoji")]
pub struct NotAnEmoji;

impl Emoji {
    /// The emoji as it is stored and sent.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        self.0
    }
}

impl FromStr for Emoji {
    type Err = NotAnEmoji;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        emojis::get(text).map(|emoji| Self(emoji.as_str())).ok_or(NotAnEmoji)
    }
}

impl fmt::Display for Emoji {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl Serialize for Emoji {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_emoji_is_one_with_its_skin_flag_or_family() {
        for emoji in ["👍", "👍🏽", "🇫🇷", "👩‍👩‍👧‍👦", "🏴󠁧󠁢󠁳󠁣󠁴󠁿", "1️⃣", "❤️"]
        {
            assert_eq!(emoji.parse::<Emoji>().map(Emoji::as_str), Ok(emoji));
        }
    }

    #[test]
    fn forms_that_look_the_same_are_one() {
        assert_eq!("\u{2764}".parse::<Emoji>(), "\u{2764}\u{FE0F}".parse());
    }

    #[test]
    fn anything_else_is_none() {
        let half_a_flag = "\u{1F1EB}";
        for text in ["", "a", "+1", ":thumbsup:", "👍👍", "👍 ", half_a_flag, "\u{1F3FD}\u{1F3FD}"]
        {
            assert_eq!(text.parse::<Emoji>(), Err(NotAnEmoji), "{text:?}");
        }
    }
}
