//! The shards a service writes through: sole owners of the write halves.
