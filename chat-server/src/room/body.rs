//! The text of a message.
//!
//! Bytes of a body are counted as they were sent. Everything else that is refused would be a
//! message that nobody can read, or one that spoils the screens of those who read others.

use serde::Serialize;
use unicode_normalization::char::is_combining_mark;

/// Combining marks in a row: no language needs more (the stream-safe text of UAX #15), and a
/// hundred of them on one letter paint over the lines above and below.
const COMBINING_MAX: usize = 30;

/// A text that people can read: at least one visible character, no control characters but line
/// breaks and tabs, at most 30 combining marks in a row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Body(String);

/// Why a text is no body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidBody {
    /// Nothing that can be seen: white space, combining marks and invisible characters only.
    #[error("has nothing that can be seen")]
    Empty,
    /// Over `MAX_MESSAGE_SIZE`.
    #[error("is larger than {limit} bytes")]
    TooLarge {
        /// The most there may be, in bytes.
        limit: usize,
        /// How many there are.
        got: usize,
    },
    /// A control character.
    #[error("has a control character")]
    Control,
    /// More than 30 combining marks in a row.
    #[error("has more than 30 combining marks in a row")]
    Combining,
}

impl Body {
    /// Checks a text of at most `bytes_max`; line breaks become `\n`.
    ///
    /// # Errors
    /// What is wrong with it, the size first.
    pub fn parse(text: &str, bytes_max: usize) -> Result<Self, InvalidBody> {
        if text.len() > bytes_max {
            return Err(InvalidBody::TooLarge { limit: bytes_max, got: text.len() });
        }
        let text = text.replace("\r\n", "\n");
        let (mut marks, mut is_visible) = (0, false);
        for character in text.chars() {
            if character.is_control() && !matches!(character, '\n' | '\t') {
                return Err(InvalidBody::Control);
            }
            if is_combining_mark(character) {
                marks += 1;
                if marks > COMBINING_MAX {
                    return Err(InvalidBody::Combining);
                }
            } else if !is_ignorable(character) {
                marks = 0;
                is_visible |= !character.is_whitespace();
            }
        }
        if is_visible { Ok(Self(text)) } else { Err(InvalidBody::Empty) }
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl InvalidBody {
    /// The stable word for clients.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::TooLarge { .. } => "message_size",
            Self::Control => "control",
            Self::Combining => "combining",
        }
    }
}

/// Characters that paint nothing by themselves: those with the property
/// `Default_Ignorable_Code_Point` (Unicode 16, `DerivedCoreProperties`), and the empty Braille
/// pattern, which is a symbol by its class and a blank by its looks.
const fn is_ignorable(character: char) -> bool {
    matches!(
        character,
        '\u{AD}' | '\u{34F}' | '\u{61C}' | '\u{115F}'..='\u{1160}' | '\u{17B4}'..='\u{17B5}'
            | '\u{180B}'..='\u{180F}' | '\u{200B}'..='\u{200F}' | '\u{202A}'..='\u{202E}'
            | '\u{2060}'..='\u{206F}' | '\u{2800}' | '\u{3164}' | '\u{FE00}'..='\u{FE0F}'
            | '\u{FEFF}' | '\u{FFA0}' | '\u{FFF0}'..='\u{FFF8}' | '\u{1BCA0}'..='\u{1BCA3}'
            | '\u{1D173}'..='\u{1D17A}' | '\u{E0000}'..='\u{E0FFF}'
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LIMIT: usize = 8192;

    fn parsed(text: &str) -> Result<String, InvalidBody> {
        Body::parse(text, LIMIT).map(|body| body.as_str().to_owned())
    }

    #[test]
    fn what_people_write_is_kept_as_it_is() {
        for text in
            ["hi", " a\tb\nc ", "שלום עולם", "مرحبا", "नमस्ते", "e\u{301}", "👩‍👩‍👧‍👦", "1️⃣", "a\u{202E}b"]
        {
            assert_eq!(parsed(text).as_deref(), Ok(text));
        }
        assert_eq!(parsed("a\r\nb").as_deref(), Ok("a\nb"));
    }

    #[test]
    fn a_text_of_which_nothing_can_be_seen_is_empty() {
        for text in ["", " ", "\n\t \u{3000}", "\u{301}\u{302}", "\u{200B}\u{FEFF}", "\u{2800}"] {
            assert_eq!(parsed(text), Err(InvalidBody::Empty), "{text:?}");
        }
        assert_eq!(parsed("\u{200D}\u{FE0F} \u{3164}"), Err(InvalidBody::Empty));
    }

    #[test]
    fn bytes_are_counted_not_characters() {
        assert!(parsed(&"a".repeat(LIMIT)).is_ok());
        let too_large = Err(InvalidBody::TooLarge { limit: LIMIT, got: LIMIT + 1 });
        assert_eq!(parsed(&"a".repeat(LIMIT + 1)), too_large);
        assert!(parsed(&"ü".repeat(LIMIT / 2)).is_ok());
        assert_eq!(parsed(&format!("{}a", "ü".repeat(LIMIT / 2))), too_large);
        assert!(parsed(&"👍".repeat(LIMIT / 4)).is_ok());
    }

    #[test]
    fn control_characters_are_refused() {
        for text in ["a\0", "\u{1b}[31mred", "a\rb", "a\r\r\nb", "\u{85}a", "a\u{7f}"] {
            assert_eq!(parsed(text), Err(InvalidBody::Control), "{text:?}");
        }
    }

    #[test]
    fn marks_pile_up_to_thirty_high() {
        let pile = |marks: usize| format!("a{}b", "\u{301}".repeat(marks));
        assert!(parsed(&pile(30)).is_ok());
        assert_eq!(parsed(&pile(31)), Err(InvalidBody::Combining));
        assert!(parsed(&pile(30).repeat(9)).is_ok());
        // What cannot be seen does not begin a new pile.
        let joined = format!("a{}", "\u{301}\u{200D}".repeat(31));
        assert_eq!(parsed(&joined), Err(InvalidBody::Combining));
    }

    proptest! {
        #[test]
        fn a_body_is_a_body_again(text in any::<String>(), limit in 0_usize..64) {
            if let Ok(body) = Body::parse(&text, limit) {
                prop_assert!(body.as_str().len() <= limit);
                prop_assert_eq!(Body::parse(body.as_str(), limit), Ok(body));
            }
        }

        #[test]
        fn marks_and_blanks_of_any_kind_do_not_confuse_it(
            text in "[a \r\n\t\u{301}\u{200B}\u{FE0F}\u{202E}]{0,80}",
        ) {
            if let Ok(body) = Body::parse(&text, LIMIT) {
                prop_assert!(body.as_str().contains('a'));
                prop_assert!(!body.as_str().contains('\r'));
            }
        }
    }
}
