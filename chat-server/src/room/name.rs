//! What a room may be called, and its topic.

use std::fmt;

use serde::Serialize;

/// Longest name in characters.
pub const NAME_CHARS_MAX: usize = 100;

/// Longest topic in characters.
pub const TOPIC_CHARS_MAX: usize = 500;

/// The name of a room: 1 to 100 characters that can be seen, spaces inside allowed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RoomName(String);

/// What a room is about: up to 500 characters, empty is none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Topic(String);

/// Why a text is no name or topic.
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
    /// Control characters, or characters that turn the direction of text.
    #[error("has a character that is not allowed")]
    Character,
}
