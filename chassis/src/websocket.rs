//! WebSocket without a socket: upgrade checks, the decoder of what clients send, and
//! the frames servers send.
//!
//! Server frames are unmasked, so the bytes of one frame serve every receiver: a service
//! prepares a frame once ([`frame`]) and hands it to [`crate::delivery`], which writes it.
//! The decoder is sans-IO and owns no buffer while a connection is idle. Handshake, header
//! parsing and close codes come from tungstenite; extensions are not negotiated.

mod decoder;
pub mod frame;
mod upgrade;

pub use decoder::{Closing, Decoder, Event, Violation};
pub use upgrade::{Upgrade, UpgradeError, accept};
