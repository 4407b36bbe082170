//! The allocator and its heap profiler.
