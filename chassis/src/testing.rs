//! What the tests of the services share: tokens, certificates, broken networks, deadlines.
//!
//! Compiled for tests and behind the feature `testing`, never into a production binary. Helpers
//! here panic with a message that says what the test environment lacks: a test has no better
//! way on. Nothing sleeps: a test awaits a condition under a [`deadline`].

mod issuer;

pub use self::issuer::{Issuer, jwks};
