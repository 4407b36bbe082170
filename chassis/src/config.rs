//! Typed values and secrets from the environment; the only reader of it.
