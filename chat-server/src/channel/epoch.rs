//! The name of one life of a channel's offsets. Pure.

use std::sync::Arc;

use rand::RngExt;

/// Letters of an epoch: 48 bits, so that two lives of a channel do not look alike.
const LETTERS_COUNT: usize = 8;

/// The longest that others may have given.
const BYTES_MAX: usize = 32;

/// The name of a new life.
pub(crate) fn begin() -> Arc<str> {
    const LETTERS: &[u8; 64] = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-.";
    let mut random = rand::rng();
    let letter = |_| char::from(LETTERS[random.random_range(0..LETTERS.len())]);
    (0..LETTERS_COUNT).map(letter).collect::<String>().into()
}

/// True for what a node of ours may have called a life.
pub(crate) fn is_one(text: &str) -> bool {
    let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || b"-.".contains(&byte);
    (1..=BYTES_MAX).contains(&text.len()) && text.bytes().all(is_letter)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_life_is_called_as_no_other() {
        assert!(is_one(&begin()) && begin() != begin());
        let (long, longer) = ("x".repeat(BYTES_MAX), "x".repeat(BYTES_MAX + 1));
        assert!(is_one(&long) && !is_one(&longer));
        assert!(!is_one("") && !is_one("a b") && !is_one("ä"));
    }
}
