//! Signals to a cancellation token, and the drain.
