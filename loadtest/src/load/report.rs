//! What a run is told as, for people, for documents and for programs.
//!
//! ```text
//! plot   what figures look like
//! ```

pub mod plot;
