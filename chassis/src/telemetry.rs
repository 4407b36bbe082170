//! Logs and the Prometheus recorder.
