//! Proves on running servers that nothing is lost, and measures them.
//!
//! ```text
//! cli     the program: arguments, exit code
//! check   break what can be broken under load, and judge what everyone saw
//! load    what a server takes, and how long it takes for it: the figures
//! process a server that either of them starts
//! ```

pub mod check;
pub mod cli;
pub mod load;
pub mod process;
