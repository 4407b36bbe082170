//! What a room may be called, its topic, and the reason that somebody gives for an act.
//!
//! All three are one line that people read: trimmed, in the composed form of Unicode (NFC), without
//! control characters, without what turns the direction of text, and without what cannot be seen.
//! Joiners and variation selectors stay allowed, for emoji and several scripts are made with them.
//! Not for: names that only look alike; a room is found by its id.

use serde::Serialize;
use unicode_normalization::UnicodeNormalization as _;
use unicode_normalization::char::is_combining_mark;

/// Longest name in characters.
const NAME_CHARS_MAX: usize = 100;

/// Longest topic in characters.
const TOPIC_CHARS_MAX: usize = 500;

/// Longest reason in characters.
const REASON_CHARS_MAX: usize = 500;

/// The name of a room: 1 to 100 characters that can be seen, spaces inside allowed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RoomName(String);

/// What a room is about: up to 500 characters, empty is none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Topic(String);

/// Why somebody did something: up to 500 characters, empty is none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Reason(String);

/// Why a text is no name, topic or reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidName {
    /// Nothing that can be seen.
    #[error("is empty")]
    Empty,
    /// Too many characters.
    #[error("is longer than {limit} characters")]
    TooLong {
        /// The most there may be.
        limit: usize,
        /// How many there are.
        got: usize,
    },
    /// Control characters, characters that turn the direction of text, or invisible ones.
    #[error("has a character that is not allowed")]
    Character,
}

impl RoomName {
    /// Checks a text and brings it into its one form.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, InvalidName> {
        match one_line(text, NAME_CHARS_MAX)? {
            line if line.is_empty() => Err(InvalidName::Empty),
            line => Ok(Self(line)),
        }
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Topic {
    /// Checks a text and brings it into its one form.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, InvalidName> {
        one_line(text, TOPIC_CHARS_MAX).map(Self)
    }

    /// The text; empty is none.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Reason {
    /// Checks a text and brings it into its one form.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, InvalidName> {
        one_line(text, REASON_CHARS_MAX).map(Self)
    }

    /// The text; empty is none.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl InvalidName {
    /// The stable word for clients.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::TooLong { .. } => "too_long",
            Self::Character => "character",
        }
    }
}

/// The text in its one form: empty, or something that can be seen.
fn one_line(text: &str, chars_max: usize) -> Result<String, InvalidName> {
    let line: String = text.trim().nfc().collect();
    let got = line.chars().count();
    if got > chars_max {
        return Err(InvalidName::TooLong { limit: chars_max, got });
    }
    if !line.chars().all(is_allowed) {
        return Err(InvalidName::Character);
    }
    if !line.is_empty() && !line.chars().any(paints) {
        return Err(InvalidName::Empty);
    }
    Ok(line)
}

fn is_allowed(character: char) -> bool {
    chassis::auth::is_visible(character) || is_joiner(character)
}

/// What is invisible alone and changes how its neighbours are drawn: zero-width joiner and
/// non-joiner, and the choice between text and emoji.
const fn is_joiner(character: char) -> bool {
    matches!(character, '\u{200c}' | '\u{200d}' | '\u{fe0e}' | '\u{fe0f}')
}

/// What leaves something on the screen by itself.
fn paints(character: char) -> bool {
    let is_blank = character == ' ' || is_combining_mark(character);
    chassis::auth::is_visible(character) && !is_blank
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn name(text: &str) -> Result<String, InvalidName> {
        RoomName::parse(text).map(|name| name.as_str().to_owned())
    }

    #[test]
    fn names_of_any_script_are_taken() {
        for text in
            ["General", "a", "Café – Zürich", "общий", "日本語", "می‌خواهم", "👩‍🚀 Space", "❤️"]
        {
            assert_eq!(name(text).as_deref(), Ok(text));
        }
    }

    #[test]
    fn what_nobody_sees_is_no_name() {
        let marks_only = "\u{301}\u{302}\u{20dd}";
        for text in ["", " ", "   \t\n", "\u{3000}", marks_only, "\u{200d}\u{fe0f}", " \u{301} "] {
            assert_eq!(name(text), Err(InvalidName::Empty), "{text:?}");
        }
    }

    #[test]
    fn a_name_has_at_most_a_hundred_characters() {
        assert!(name(&"é".repeat(100)).is_ok());
        let too_long = |got| Err(InvalidName::TooLong { limit: 100, got });
        assert_eq!(name(&"é".repeat(101)), too_long(101));
        assert_eq!(name(&"x".repeat(1000)), too_long(1000));
        // White space around it and decomposed letters do not count twice.
        assert!(name(&format!("  {}  ", "e\u{301}".repeat(100))).is_ok());
    }

    #[test]
    fn what_deceives_the_eye_is_refused() {
        let bidi =
            ["\u{202a}", "\u{202e}", "\u{2066}", "\u{2069}", "\u{200e}", "\u{200f}", "\u{61c}"];
        let controls = ["\0", "\n", "\t", "\u{7f}", "\u{85}", "\u{2028}"];
        let invisible = ["\u{200b}", "\u{ad}", "\u{2060}", "\u{feff}", "\u{3164}", "\u{e0041}"];
        let blanks = ["\u{a0}", "\u{2003}"];
        for character in [&bidi[..], &controls, &invisible, &blanks].concat() {
            let text = format!("a{character}b");
            assert_eq!(name(&text), Err(InvalidName::Character), "{text:?}");
            assert_eq!(Topic::parse(&text), Err(InvalidName::Character), "{text:?}");
        }
    }

    #[test]
    fn a_name_has_one_form() {
        assert_eq!(name("  Cafe\u{301}\n").as_deref(), Ok("Caf\u{e9}"));
        assert_eq!(name("e\u{301}"), name("\u{e9}"));
    }

    #[test]
    fn a_topic_may_be_empty_and_has_at_most_five_hundred_characters() {
        for text in ["", "   "] {
            assert_eq!(Topic::parse(text).unwrap().as_str(), "");
        }
        assert_eq!(Topic::parse("\u{301}"), Err(InvalidName::Empty));
        assert!(Topic::parse(&"ü".repeat(500)).is_ok());
        let too_long = InvalidName::TooLong { limit: 500, got: 501 };
        assert_eq!(Topic::parse(&"ü".repeat(501)), Err(too_long));
        assert_eq!(Reason::parse(&"ü".repeat(501)), Err(too_long));
    }

    proptest! {
        #[test]
        fn any_text_is_a_name_in_its_one_form_or_none(text in any::<String>()) {
            if let Ok(line) = name(&text) {
                prop_assert_eq!(name(&line), Ok(line.clone()));
                prop_assert!((1..=NAME_CHARS_MAX).contains(&line.chars().count()));
                prop_assert!(!line.chars().any(chassis::auth::is_formatting));
            }
        }
    }
}
