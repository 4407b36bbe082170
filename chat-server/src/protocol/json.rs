//! One JSON value that a client sent, checked once and carried as it is.
//!
//! Why a type: JSON frames hold one message per line, so a value with a raw line break inside
//! would let a client write lines into other people's frames. Lone surrogates and numbers beyond
//! a double are refused too: strict parsers reject them, and a frame one receiver cannot parse
//! costs that receiver its connection.
//!
//! Invariant: a [`Json`] is one valid JSON value in UTF-8 without `\n` and `\r`.

use std::fmt;

use bytes::Bytes;
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

/// One valid JSON value (RFC 8259) without raw line breaks. Cloning shares the bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct Json(Bytes);

/// The bytes are not one JSON value, or its nesting is deeper than 128.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a JSON value")]
pub struct NotJson;

impl Json {
    /// Checks `bytes` and takes a copy without line breaks.
    pub fn parse(bytes: &[u8]) -> Result<Self, NotJson> {
        let Ok(text) = std::str::from_utf8(bytes) else {
            return Err(NotJson);
        };
        let text = text.trim_matches([' ', '\t', '\n', '\r']);
        if serde_json::from_str::<Valid>(text).is_err() {
            return Err(NotJson);
        }
        Ok(Self::without_line_breaks(text.as_bytes().to_vec()))
    }

    /// The JSON form of a Rust value. Fails where `serde_json` does, as on a map keyed by maps.
    pub fn from_value(value: &impl serde::Serialize) -> Result<Self, serde_json::Error> {
        Ok(Self::without_line_breaks(serde_json::to_vec(value)?))
    }

    /// The grammar allows no raw line break inside a string: all there are stand between tokens.
    fn without_line_breaks(mut value: Vec<u8>) -> Self {
        if value.iter().any(|byte| is_line_break(*byte)) {
            value.retain(|byte| !is_line_break(*byte));
        }
        Self(value.into())
    }

    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The bytes, shared.
    #[must_use]
    pub const fn bytes(&self) -> &Bytes {
        &self.0
    }

    /// Length in bytes.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "a JSON value is never empty")]
    pub const fn len(&self) -> usize {
        self.0.len()
    }
}

impl fmt::Debug for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // What people write to each other stays out of logs.
        write!(f, "Json({} bytes)", self.0.len())
    }
}

const fn is_line_break(byte: u8) -> bool {
    matches!(byte, b'\n' | b'\r')
}

/// Reads a value of any shape and keeps nothing of it.
struct Valid;

impl<'de> Deserialize<'de> for Valid {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Self)
    }
}

impl<'de> Visitor<'de> for Valid {
    type Value = Self;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_str<E>(self, _: &str) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_unit<E>(self) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self, A::Error> {
        while seq.next_element::<Self>()?.is_some() {}
        Ok(self)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self, A::Error> {
        while map.next_entry::<Self, Self>()?.is_some() {}
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parsed(text: &str) -> Option<String> {
        let json = Json::parse(text.as_bytes()).ok()?;
        Some(String::from_utf8(json.as_bytes().to_vec()).unwrap())
    }

    #[test]
    fn a_value_is_kept_as_it_was_written() {
        for text in ["null", "0", "-1.50e2", "\"a\\nb\"", "[]", "{\"a\": [1, {\"b\":null}]}"] {
            assert_eq!(parsed(text).as_deref(), Some(text));
        }
    }

    #[test]
    fn line_breaks_between_tokens_are_dropped() {
        assert_eq!(parsed("\r\n{\n \"a\":\r 1\n}\n").as_deref(), Some("{ \"a\": 1}"));
    }

    #[test]
    fn anything_but_one_value_is_refused() {
        for text in
            ["", " ", "{", "}", "1 2", "{}{}", "nul", "'a'", "{a:1}", "\"a\nb\"", "\u{feff}1"]
        {
            assert_eq!(parsed(text), None, "{text:?}");
        }
        assert_eq!(Json::parse(b"\"\xff\""), Err(NotJson));
    }

    #[test]
    fn what_strict_parsers_refuse_is_refused() {
        assert_eq!(parsed("\"\\ud800\""), None);
        assert_eq!(parsed("1e999"), None);
    }

    #[test]
    fn nesting_is_bounded() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(parsed(&nested(100)).is_some());
        assert!(parsed(&nested(50_000)).is_none());
    }

    #[test]
    fn debug_output_hides_the_content() {
        assert_eq!(format!("{:?}", Json::parse(b"\"secret\"").unwrap()), "Json(8 bytes)");
    }

    proptest! {
        #[test]
        fn a_value_never_spans_lines(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            if let Ok(json) = Json::parse(&bytes) {
                prop_assert!(!json.as_bytes().iter().any(|byte| is_line_break(*byte)));
            }
        }

        #[test]
        fn every_string_survives(text in any::<String>(), pad in "[ \t\r\n]{0,4}") {
            let written = format!("{pad}{}{pad}", serde_json::to_string(&text).unwrap());
            let json = Json::parse(written.as_bytes()).unwrap();
            prop_assert!(!json.as_bytes().iter().any(|byte| is_line_break(*byte)));
            let read: String = serde_json::from_slice(json.as_bytes()).unwrap();
            prop_assert_eq!(read, text);
        }
    }
}
