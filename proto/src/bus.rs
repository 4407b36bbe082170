//! The protocol between nodes by version.

/// The first one.
pub mod v1;
