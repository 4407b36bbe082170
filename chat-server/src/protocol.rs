//! The protocol of the chat server.
