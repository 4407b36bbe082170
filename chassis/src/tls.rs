//! Certificates with hot reload, TLS 1.3 only.
