//! What every Veza service bolts onto: configuration, sockets, delivery, identity and health.
//!
//! A type in this crate never says room, message, stream, mount or rendition.

pub mod accept;
pub mod alloc;
pub mod auth;
pub mod config;
pub mod delivery;
pub mod ops;
pub mod postgres;
pub mod pressure;
pub mod rate_limit;
pub mod redis;
pub mod runtime;
pub mod shutdown;
mod stamp;
pub mod telemetry;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod tls;
pub mod websocket;
