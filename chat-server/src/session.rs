//! The session of the chat server.
