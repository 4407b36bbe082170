//! Health, metrics and profiles over HTTP.
