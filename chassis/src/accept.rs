//! Listeners: bind, admission, TLS handshake, and the connection handed to a service.
