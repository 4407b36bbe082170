//! Which version of a file was read.
//!
//! Responsible for: noticing that a file was written or replaced, by looking at its metadata
//! alone. Not for: reading it, nor for watching: callers look when it suits them. Take the stamp
//! before reading: a change during the read then shows as a change, never as the version read.

use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

/// Differs when the file was written, replaced by another, or moved behind its symbolic link, as
/// Kubernetes does with mounted secrets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp {
    modified: (i64, i64),
    inode: (u64, u64),
    bytes: u64,
}

impl Stamp {
    /// The stamp of the file at `path` now. Blocks for one `stat`.
    pub(crate) fn of(path: &Path) -> io::Result<Self> {
        std::fs::metadata(path).map(|metadata| Self::from(&metadata))
    }

    /// The length of the file in bytes.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }
}

impl From<&Metadata> for Stamp {
    fn from(metadata: &Metadata) -> Self {
        Self {
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            inode: (metadata.dev(), metadata.ino()),
            bytes: metadata.len(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_a_replaced_file_from_the_one_it_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let (path, next) = (folder.path().join("file"), folder.path().join("next"));
        std::fs::write(&path, "one").unwrap();
        std::fs::write(&next, "two").unwrap();
        let before = Stamp::of(&path).unwrap();
        assert_eq!(Stamp::of(&path).unwrap(), before);
        std::fs::rename(&next, &path).unwrap();
        assert_ne!(Stamp::of(&path).unwrap(), before);
        std::fs::remove_file(&path).unwrap();
        assert!(Stamp::of(&path).is_err());
    }
}
