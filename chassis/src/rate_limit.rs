//! Local token buckets with bounded tables.
