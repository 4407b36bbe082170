//! One JSON value that a client sent, checked once and carried as it is.
//!
//! Why a type: JSON frames hold one message per line, so a value with a raw line break inside
//! would let a client write lines into other people's frames. Lone surrogates, numbers beyond a
//! double and deep nesting are refused too: strict parsers reject them, and a frame one receiver
//! cannot parse costs that receiver its connection.
//!
//! Invariant: a [`Json`] is one valid JSON value in UTF-8 without `\n` and `\r`, at most
//! [`Json::DEPTH_MAX`] levels deep.

use std::fmt;

use bytes::Bytes;
use memchr::memchr2;
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

/// One valid JSON value (RFC 8259) without raw line breaks. Cloning shares the bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct Json(Bytes);

/// The bytes are not one JSON value, or it is nested deeper than [`Json::DEPTH_MAX`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a JSON value")]
pub struct NotJson;

impl Json {
    /// How deep arrays and objects may nest. The strictest common parser, .NET's, reads 64 levels
    /// by default; the deepest place for a value of a client's own has 7 above it: connect reply,
    /// `connect`, `subs`, channel, `publications`, publication, `info`.
    pub const DEPTH_MAX: u8 = 64 - 7;

    /// Checks `bytes` and takes a copy without line breaks.
    pub fn parse(bytes: &[u8]) -> Result<Self, NotJson> {
        let Ok(text) = std::str::from_utf8(bytes) else {
            return Err(NotJson);
        };
        let text = text.trim_matches([' ', '\t', '\n', '\r']);
        let mut parser = serde_json::Deserializer::from_str(text);
        let valid = Valid { depth: Self::DEPTH_MAX }.deserialize(&mut parser);
        if valid.and_then(|()| parser.end()).is_err() {
            return Err(NotJson);
        }
        // The grammar allows no raw line break inside a string: all there are stand between tokens.
        let mut value = text.as_bytes().to_vec();
        if memchr2(b'\n', b'\r', &value).is_some() {
            value.retain(|byte| !is_line_break(*byte));
        }
        Ok(Self(value.into()))
    }

    /// The JSON form of a Rust value, checked like any other.
    pub fn from_value(value: &impl serde::Serialize) -> Result<Self, NotJson> {
        match serde_json::to_vec(value) {
            Ok(bytes) => Self::parse(&bytes),
            Err(_) => Err(NotJson),
        }
    }

    /// Takes bytes that a [`Json`] was made of before, such as those of the store.
    pub(crate) fn trusted(bytes: Bytes) -> Self {
        debug_assert!(Self::parse(&bytes).is_ok_and(|json| json.0 == bytes), "never checked");
        Self(bytes)
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
#[derive(Clone, Copy)]
struct Valid {
    /// How many levels may still open.
    depth: u8,
}

impl Valid {
    fn inner<E: Error>(self) -> Result<Self, E> {
        let depth = self.depth.checked_sub(1).ok_or_else(|| E::custom("nested too deep"))?;
        Ok(Self { depth })
    }
}

impl<'de> DeserializeSeed<'de> for Valid {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Valid {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let inner = self.inner()?;
        while seq.next_element_seed(inner)?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let inner = self.inner()?;
        while map.next_entry_seed(inner, inner)?.is_some() {}
        Ok(())
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
        let deepest = usize::from(Json::DEPTH_MAX);
        assert!(parsed(&nested(deepest)).is_some());
        assert!(parsed(&nested(deepest + 1)).is_none());
        assert!(parsed(&nested(50_000)).is_none());
        assert!(parsed(&"{\"a\":".repeat(deepest + 1)).is_none());
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
