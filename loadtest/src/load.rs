//! Measures what a server takes, and how long it takes for it.
//!
//! ```text
//! meter   what processes use, and how busy their machine is
//! ```

pub mod meter;
