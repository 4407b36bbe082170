//! Realtime messages over WebSocket, SSE and HTTP streams.

pub mod channel;
pub mod cli;
pub mod command;
pub mod config;
pub mod connection;
pub mod control;
pub mod metrics;
pub mod outbound;
pub mod protocol;
pub mod server;
pub mod session;
