//! Secrets: which ones are too weak to protect anything, and one made up for development.
//!
//! The made-up secret lives in a file that several processes share. It is written under a name of
//! its own and then linked into place, which fails when another process was first: all of them end
//! up with the same secret, and nobody ever reads a half-written one.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use aws_lc_rs::rand;
use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use secrecy::SecretString;

/// The shortest key for HMAC-SHA-256: as long as its output (RFC 7518, section 3.2).
pub const KEY_BYTES_MIN: usize = 32;

/// A key made of fewer different bytes than this was typed, not drawn.
const DISTINCT_BYTES_MIN: usize = 8;

/// Words that stand in examples and templates, never in a key somebody drew.
const PLACEHOLDERS: &[&str] = &[
    "your_",
    "your-",
    "_here",
    "-here",
    "change_me",
    "change-me",
    "changeme",
    "placeholder",
    "replace_me",
    "replace-me",
    "replaceme",
    "example",
    "secret_key",
    "password",
    "insecure",
];

/// Why a secret protects nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Weakness {
    /// Shorter than [`KEY_BYTES_MIN`].
    #[error("a value shorter than {KEY_BYTES_MIN} bytes")]
    Short,
    /// Text copied from an example.
    #[error("a placeholder copied from an example")]
    Placeholder,
    /// The same few characters repeated.
    #[error("a value of a few repeated characters")]
    Repeated,
}

/// Judges a secret; `None` when nothing speaks against it.
#[must_use]
pub fn weakness(secret: &str) -> Option<Weakness> {
    let lower = secret.to_ascii_lowercase();
    if PLACEHOLDERS.iter().any(|word| lower.contains(word)) {
        return Some(Weakness::Placeholder);
    }
    if secret.len() < KEY_BYTES_MIN {
        return Some(Weakness::Short);
    }
    let mut seen = [false; 256];
    for &byte in secret.as_bytes() {
        seen[usize::from(byte)] = true;
    }
    let distinct = seen.iter().filter(|&&used| used).count();
    (distinct < DISTINCT_BYTES_MIN).then_some(Weakness::Repeated)
}

/// Whether a text holds a key of 256 bits: as 32 bytes, 64 hexadecimal digits or base64.
#[must_use]
pub fn is_key_256(text: &str) -> bool {
    let is_hex =
        text.len() == 2 * KEY_BYTES_MIN && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let decoded = BASE64_STANDARD.decode(text).or_else(|_| BASE64_URL_SAFE_NO_PAD.decode(text));
    text.len() == KEY_BYTES_MIN || is_hex || decoded.is_ok_and(|key| key.len() == KEY_BYTES_MIN)
}

/// A fresh secret of 256 bits, as 43 characters of URL-safe base64.
///
/// # Panics
/// When the operating system has no randomness to give.
#[must_use]
pub fn generate() -> SecretString {
    let mut key = [0u8; KEY_BYTES_MIN];
    rand::fill(&mut key).expect("the operating system gives randomness");
    SecretString::from(BASE64_URL_SAFE_NO_PAD.encode(key))
}

/// The secret in `path`, made and stored with mode 0600 when there is none.
///
/// # Errors
/// When the directory or the file cannot be made or read, or the file holds too little.
pub fn shared(path: &Path) -> io::Result<SecretString> {
    use secrecy::ExposeSecret;

    if !path.exists() {
        if let Some(directory) = path.parent() {
            DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
        }
        let unique = generate();
        let draft = path.with_extension(format!("{}.{}", std::process::id(), tag(&unique)));
        let fresh = generate();
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
        let written = file
            .write_all(fresh.expose_secret().as_bytes())
            .and_then(|()| file.sync_all())
            .and_then(|()| match fs::hard_link(&draft, path) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
                linked => linked,
            });
        fs::remove_file(&draft)?;
        written?;
    }
    let text = fs::read_to_string(path)?;
    let secret = text.trim_end_matches(['\r', '\n']);
    if secret.len() < KEY_BYTES_MIN {
        let message = format!("{} holds no secret of {KEY_BYTES_MIN} bytes", path.display());
        return Err(io::Error::new(io::ErrorKind::InvalidData, message));
    }
    Ok(SecretString::from(secret))
}

/// A few characters of randomness, for two threads of one process may draft at once.
fn tag(random: &SecretString) -> String {
    use secrecy::ExposeSecret;
    random.expose_secret().chars().take(8).collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::sync::Barrier;

    use secrecy::ExposeSecret;

    use super::*;

    #[test]
    fn the_guides_placeholders_and_short_or_repeated_keys_are_weak() {
        for placeholder in ["your_production_jwt_secret_here", "your_32_byte_encryption_key_here"] {
            assert_eq!(weakness(placeholder), Some(Weakness::Placeholder));
        }
        assert_eq!(weakness("short"), Some(Weakness::Short));
        assert_eq!(weakness(&"ab".repeat(32)), Some(Weakness::Repeated));
        assert_eq!(weakness(generate().expose_secret()), None);
    }

    #[test]
    fn a_key_of_256_bits_has_three_spellings() {
        let key = [7u8; KEY_BYTES_MIN];
        assert!(is_key_256("0123456789abcdef0123456789abcde!"));
        assert!(is_key_256(&"a0".repeat(32)));
        assert!(is_key_256(&BASE64_STANDARD.encode(key)));
        assert!(is_key_256(&BASE64_URL_SAFE_NO_PAD.encode(key)));
        assert!(!is_key_256("short") && !is_key_256(&"x".repeat(64)));
    }

    #[test]
    fn starting_at_once_everybody_gets_the_same_secret() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("data/jwt_secret");
        let start = Barrier::new(8);
        let secrets: Vec<String> = std::thread::scope(|scope| {
            let open = || {
                start.wait();
                shared(&path).unwrap().expose_secret().to_owned()
            };
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(open)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert!(secrets.iter().all(|secret| *secret == secrets[0]));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
        assert_eq!(shared(&path).unwrap().expose_secret(), secrets[0]);
    }

    #[test]
    fn a_file_with_too_little_in_it_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("jwt_secret");
        fs::write(&path, "short\n").unwrap();
        assert_eq!(shared(&path).unwrap_err().kind(), io::ErrorKind::InvalidData);
    }
}
