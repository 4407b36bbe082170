//! Realtime messages over WebSocket, SSE and HTTP streams.

pub mod channel;
pub mod cli;
pub mod command;
pub mod config;
pub mod connection;
pub mod control;
pub mod fanout;
#[cfg(test)]
mod footprint;
pub mod metrics;
pub mod nodes;
pub mod outbound;
pub mod protocol;
pub mod room;
pub mod server;
pub mod session;
pub mod store;
pub mod upkeep;
