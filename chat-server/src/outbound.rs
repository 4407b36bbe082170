//! The outbound of the chat server.
