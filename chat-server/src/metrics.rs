//! The metrics of the chat server.
