//! The server of the chat server.
