//! What is kept of a thing that was seen: where it stood, and a fingerprint of its bytes.

use std::hash::{DefaultHasher, Hasher as _};
use std::sync::Arc;

/// The name of a room, a channel or a client.
pub type Name = Arc<str>;

/// An event as a client remembers it: 16 bytes, for a run sees millions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Glimpse {
    /// Its place in its channel.
    pub offset: u64,
    /// The [`print()`] of its data.
    pub print: u64,
}

/// A fingerprint of text: 64 bits, the same in every process of this program.
#[must_use]
pub fn print(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(text.as_bytes());
    hasher.finish()
}
