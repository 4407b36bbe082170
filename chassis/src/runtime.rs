//! The tuned multi-thread runtime.
