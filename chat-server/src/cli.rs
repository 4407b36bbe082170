//! The cli of the chat server.
