//! The connection of the chat server.
