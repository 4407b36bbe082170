//! The command of the chat server.
