//! The config of the chat server.
