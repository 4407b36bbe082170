//! The channel of the chat server.
