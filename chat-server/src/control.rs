//! The control of the chat server.
