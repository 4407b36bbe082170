//! Which text a token may put in front of people and into logs.
//!
//! Identifiers are stricter than names: an identifier is compared by eye and by machine, so
//! nothing invisible may hide in it; a name is only shown, so the joiners that emoji and several
//! scripts need stay allowed. Neither may carry control characters (they forge log lines) nor
//! bidirectional overrides (they make one text look like another). Not for: Unicode
//! normalisation or confusable letters; the issuer of the token answers for those.

use std::ops::RangeInclusive;

/// Characters Unicode calls default-ignorable, as far as they are not formatting already.
const INVISIBLE: [RangeInclusive<char>; 16] = [
    '\u{00ad}'..='\u{00ad}',
    '\u{034f}'..='\u{034f}',
    '\u{115f}'..='\u{1160}',
    '\u{17b4}'..='\u{17b5}',
    '\u{180b}'..='\u{180f}',
    '\u{200b}'..='\u{200d}',
    '\u{2060}'..='\u{2065}',
    '\u{206a}'..='\u{206f}',
    '\u{3164}'..='\u{3164}',
    '\u{fe00}'..='\u{fe0f}',
    '\u{feff}'..='\u{feff}',
    '\u{ffa0}'..='\u{ffa0}',
    '\u{fff0}'..='\u{fff8}',
    '\u{1bca0}'..='\u{1bca3}',
    '\u{1d173}'..='\u{1d17a}',
    '\u{e0000}'..='\u{e0fff}',
];

/// Reports whether `text` can stand in an identifier: 1 to `chars_max` characters, all visible
/// or spaces inside.
pub(super) fn is_identifier(text: &str, chars_max: usize) -> bool {
    let trimmed = text.trim() == text;
    trimmed && !text.is_empty() && fits(text, chars_max) && text.chars().all(is_visible)
}

/// Reports whether `text` can be shown as a name: 1 to `chars_max` characters, no control and no
/// bidirectional formatting characters.
pub(super) fn is_name(text: &str, chars_max: usize) -> bool {
    let shown = text.chars().any(|c| is_visible(c) && !c.is_whitespace());
    shown && fits(text, chars_max) && !text.chars().any(|c| c.is_control() || is_formatting(c))
}

fn fits(text: &str, chars_max: usize) -> bool {
    // A character is at least one byte: the cheap comparison answers for nearly every text.
    text.len() <= chars_max || text.chars().nth(chars_max).is_none()
}

/// Reports whether `c` can be seen, or is a plain space.
#[must_use]
pub fn is_visible(c: char) -> bool {
    let blank = c.is_whitespace() && c != ' ';
    !(c.is_control() || blank || is_formatting(c) || is_invisible(c))
}

/// Reports whether `c` is a line separator or a bidirectional control of Unicode Annex 9.
#[must_use]
pub fn is_formatting(c: char) -> bool {
    let marks = matches!(c, '\u{061c}' | '\u{200e}' | '\u{200f}');
    let separators_and_embeddings = matches!(c, '\u{2028}'..='\u{202e}');
    let isolates = matches!(c, '\u{2066}'..='\u{2069}');
    marks || separators_and_embeddings || isolates
}

fn is_invisible(c: char) -> bool {
    !c.is_ascii() && INVISIBLE.iter().any(|range| range.contains(&c))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_take_visible_text_of_any_script() {
        for good in ["alice", "42", "Zoë", "用户", "a b", "x@example.org", "0190f7a0-7c2e"] {
            assert!(is_identifier(good, 128), "{good:?}");
        }
    }

    #[test]
    fn identifiers_refuse_what_cannot_be_seen() {
        let bad = ["", " ", " a", "a ", "a\n", "a\u{0}b", "a\u{200b}b", "a\u{202e}b", "\u{feff}a"];
        for text in bad {
            assert!(!is_identifier(text, 128), "{text:?}");
        }
    }

    #[test]
    fn length_counts_characters_not_bytes() {
        assert!(is_identifier(&"é".repeat(128), 128));
        assert!(!is_identifier(&"é".repeat(129), 128));
        assert!(is_name(&"é".repeat(128), 128));
        assert!(!is_name(&"é".repeat(129), 128));
    }

    #[test]
    fn names_keep_the_joiners_of_emoji_and_refuse_overrides() {
        assert!(is_name("\u{1f469}\u{200d}\u{1f680} Ada", 128));
        for text in ["", "  ", "\u{200b}", "a\u{202e}b", "a\u{2067}b", "a\tb", "a\nb"] {
            assert!(!is_name(text, 128), "{text:?}");
        }
    }
}
