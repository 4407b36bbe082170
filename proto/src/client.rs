//! The client protocol by version.

/// The version that is a superset of the Centrifuge client protocol v2.
pub mod v1;
