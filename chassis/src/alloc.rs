//! The allocator and its heap profiler.
//!
//! Every binary that links this crate allocates through jemalloc, which samples one allocation in
//! 512 KiB from the first instruction on and keeps what was freed as well (`prof_accum`), so that
//! a leak can be looked at in production without a restart. Freed pages go back to the system
//! within seconds, by a thread of the allocator's own.
//!
//! Invariant: the only unsafe code of the workspace that concerns memory is here; each call names a
//! control and its documented type.

use std::ffi::CString;
use std::fs::File;
use std::io::{self, Read, Seek};
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustix::fs::{MemfdFlags, memfd_create};
use tikv_jemalloc_ctl::{epoch, raw, stats};
use tikv_jemallocator::Jemalloc;

#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

/// Read by the allocator before `main`, as `malloc_conf` of jemalloc(3).
///
/// A sample every 2^19 bytes costs less than a hundredth of the time. Decay: a wave of connections
/// that left gives its memory back after 5 s, while steady traffic keeps reusing the same pages.
#[expect(unsafe_code, reason = "the allocator finds its settings by this symbol's name")]
#[unsafe(export_name = "malloc_conf")]
pub static SETTINGS: &[u8; 146] = b"prof:true,prof_active:true,lg_prof_sample:19,prof_accum:true,\
    background_thread:true,max_background_threads:1,\
    dirty_decay_ms:5000,muzzy_decay_ms:0\0";

/// How many [`SamplingPaused`] are held; sampling goes on when the last one is dropped.
static PAUSES: AtomicUsize = AtomicUsize::new(0);

/// What the allocator holds, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stats {
    /// What the program asked for and has not freed.
    pub allocated: usize,
    /// The pages that are in use for it.
    pub active: usize,
    /// What is in physical memory, at most.
    pub resident: usize,
    /// What is mapped.
    pub mapped: usize,
    /// What the allocator needs for itself.
    pub metadata: usize,
}

/// The allocator refused a control.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A statistic or a setting could not be read or written.
    #[error("allocator control failed: {0}")]
    Control(tikv_jemalloc_ctl::Error),
    /// The profile could not be passed through a file in memory.
    #[error("heap profile could not be taken")]
    Dump(#[from] io::Error),
}

/// No allocation is sampled while this is held.
///
/// A CPU profile walks stacks in a signal handler; met inside the walk of a heap sample, both have
/// been seen to crash. What was sampled before stays in the profile.
#[derive(Debug)]
pub struct SamplingPaused(());

impl Stats {
    /// Reads the figures as they stand now.
    ///
    /// # Errors
    /// When the allocator refuses, which it does not do in a build of this workspace.
    pub fn read() -> Result<Self, Error> {
        epoch::advance().map_err(Error::Control)?;
        Ok(Self {
            allocated: stats::allocated::read().map_err(Error::Control)?,
            active: stats::active::read().map_err(Error::Control)?,
            resident: stats::resident::read().map_err(Error::Control)?,
            mapped: stats::mapped::read().map_err(Error::Control)?,
            metadata: stats::metadata::read().map_err(Error::Control)?,
        })
    }
}

impl SamplingPaused {
    /// Stops sampling until the value is dropped.
    ///
    /// # Errors
    /// When the allocator refuses.
    pub fn begin() -> Result<Self, Error> {
        if PAUSES.fetch_add(1, Ordering::SeqCst) == 0
            && let Err(error) = sample(false)
        {
            PAUSES.fetch_sub(1, Ordering::SeqCst);
            return Err(error);
        }
        Ok(Self(()))
    }
}

impl Drop for SamplingPaused {
    fn drop(&mut self) {
        if PAUSES.fetch_sub(1, Ordering::SeqCst) == 1
            && let Err(error) = sample(true)
        {
            tracing::error!(%error, "heap sampling did not go on");
        }
    }
}

/// Whether allocations are being sampled.
#[must_use]
pub fn is_sampling() -> bool {
    #[expect(unsafe_code, reason = "prof.active is documented as a bool")]
    let active = unsafe { raw::read::<bool>(b"prof.active\0") };
    active.unwrap_or(false)
}

/// The heap profile in the allocator's own text format, `heap_v2`.
///
/// It passes through a file in memory, for a container's file system may be read-only. Blocks for
/// as long as walking all samples takes: call it from a blocking thread.
///
/// # Errors
/// When the file cannot be made, or the allocator does not write it.
pub fn heap_profile() -> Result<Vec<u8>, Error> {
    let file = memfd_create("heap-profile", MemfdFlags::CLOEXEC).map_err(io::Error::from)?;
    let mut file = File::from(file);
    let path = CString::new(format!("/proc/self/fd/{}", file.as_raw_fd()))
        .expect("a number holds no zero byte");
    #[expect(unsafe_code, reason = "prof.dump takes a C string, which outlives the call")]
    unsafe { raw::write(b"prof.dump\0", path.as_ptr()) }.map_err(Error::Control)?;
    let mut text = Vec::new();
    file.rewind()?;
    file.read_to_end(&mut text)?;
    Ok(text)
}

fn sample(active: bool) -> Result<(), Error> {
    #[expect(unsafe_code, reason = "prof.active is documented as a writable bool")]
    unsafe { raw::write(b"prof.active\0", active) }.map_err(Error::Control)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn option<T: Copy>(name: &[u8]) -> T {
        #[expect(unsafe_code, reason = "callers name the documented type")]
        unsafe { raw::read(name) }.unwrap()
    }

    #[test]
    fn the_allocator_took_every_setting() {
        assert!(option::<bool>(b"opt.prof\0"));
        assert!(option::<bool>(b"opt.prof_accum\0"));
        assert!(option::<bool>(b"opt.background_thread\0"));
        assert_eq!(option::<usize>(b"opt.lg_prof_sample\0"), 19);
        assert_eq!(option::<isize>(b"opt.dirty_decay_ms\0"), 5000);
        assert_eq!(option::<isize>(b"opt.muzzy_decay_ms\0"), 0);
    }

    #[test]
    fn the_figures_follow_what_is_allocated() {
        const BLOCK: usize = 256 << 20;
        let before = Stats::read().unwrap();
        let block = vec![0u8; BLOCK];
        let during = Stats::read().unwrap();
        assert!(during.allocated >= before.allocated + BLOCK / 2, "{before:?} {during:?}");
        assert!(during.resident >= during.active && during.active >= during.allocated);
        drop(block);
    }

    #[test]
    fn a_heap_profile_is_text_with_its_sampling_interval() {
        let _kept = vec![1u8; 8 << 20];
        let text = heap_profile().unwrap();
        assert!(text.starts_with(b"heap_v2/524288"));
    }
}
