//! Heap and CPU profiles in pprof's format.
//!
//! The allocator writes two pairs of figures for each stack: what is in use and, in brackets, what
//! was ever allocated. [`Columns`] says which of them becomes the profile. Symbols are resolved
//! here, so that a profile can be read without the binary.

use std::io::{self, Write};
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use mappings::MAPPINGS;
use pprof::protos::Message;
use pprof::{ProfilerGuard, ProfilerGuardBuilder};
use tokio::task::{JoinError, spawn_blocking};
use tokio::time::sleep;

use crate::alloc;

/// Samples per second of CPU time: the usual 100, less one, so as not to beat with timers.
const SAMPLES_PER_SECOND: i32 = 99;

/// For heap samples that were begun before sampling was paused to end.
const SETTLE: Duration = Duration::from_millis(20);

/// Which figures of a heap profile are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Columns {
    /// What is in use now.
    InUse,
    /// What was allocated since the start, freed or not.
    Accumulated,
}

/// A profile could not be made.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    /// The allocator gave none.
    #[error(transparent)]
    Allocator(#[from] alloc::Error),
    /// What the allocator gave cannot be read.
    #[error("heap profile cannot be read: {0}")]
    Text(String),
    /// The CPU profiler failed.
    #[error("cpu profiler failed")]
    Cpu(#[from] pprof::Error),
    /// Compression failed.
    #[error("profile could not be compressed")]
    Compress(#[from] io::Error),
    /// The thread that made it panicked.
    #[error("profile thread failed")]
    Thread(#[from] JoinError),
}

/// The heap profile; blocks.
pub(super) fn heap(columns: Columns) -> Result<Vec<u8>, Error> {
    let text = alloc::heap_profile()?;
    let text = select(&String::from_utf8_lossy(&text), columns);
    let sample_type = match columns {
        Columns::InUse => ("inuse_space", "bytes"),
        Columns::Accumulated => ("alloc_space", "bytes"),
    };
    let profile = pprof_util::parse_jeheap(text.as_bytes(), MAPPINGS.as_deref())
        .map_err(|error| Error::Text(error.to_string()))?;
    Ok(profile.to_pprof(sample_type, ("space", "bytes"), None))
}

/// Samples the CPU time of all threads for this long.
///
/// `hold` is what makes this the only profile of the process and keeps heap sampling paused; it is
/// let go after the last signal, also when the caller stops waiting in between.
pub(super) async fn cpu(duration: Duration, hold: impl Send + 'static) -> Result<Vec<u8>, Error> {
    sleep(SETTLE).await;
    // The first start of a process reads its own debug information, which takes a second.
    let running = spawn_blocking(move || Running::begin(hold)).await??;
    sleep(duration).await;
    spawn_blocking(move || {
        let profile = running.guard.report().build()?.pprof()?;
        drop(running);
        let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
        gzip.write_all(&profile.encode_to_vec())?;
        Ok(gzip.finish()?)
    })
    .await?
}

/// A CPU profile in progress; the signals end before what is held is let go, as fields are
/// dropped in this order.
struct Running<H> {
    guard: ProfilerGuard<'static>,
    _hold: H,
}

impl<H> Running<H> {
    fn begin(hold: H) -> Result<Self, pprof::Error> {
        let guard = ProfilerGuardBuilder::default().frequency(SAMPLES_PER_SECOND).build()?;
        Ok(Self { guard, _hold: hold })
    }
}

/// The profile's header and, for each stack that has some, the chosen figures in place of those in
/// use: `  t*: 13: 6688 [26: 13376]` becomes `  t*: 26: 13376 [0: 0]`.
///
/// Stacks without any are left out: all that was allocated there is freed, and nothing divided by
/// nothing is no weight.
fn select(text: &str, columns: Columns) -> String {
    let mut selected = String::with_capacity(text.len());
    let mut lines = text.lines();
    let mut stack = None;
    write_line(&mut selected, lines.next().unwrap_or_default());
    for line in lines {
        if line.starts_with('@') {
            stack = Some(line);
        } else if let Some(figures) = line.trim_start().strip_prefix("t*: ")
            && let Some(stack) = stack.take()
            && let Some((in_use, accumulated)) = figures.split_once(" [")
        {
            let figures = match columns {
                Columns::InUse => in_use,
                Columns::Accumulated => accumulated.trim_end_matches(']'),
            };
            if !figures.starts_with("0:") {
                write_line(&mut selected, stack);
                write_line(&mut selected, &format!("  t*: {figures} [0: 0]"));
            }
        }
    }
    selected
}

fn write_line(text: &mut String, line: &str) {
    text.push_str(line);
    text.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Everything in all, one stack in use, one all freed, and what follows the stacks.
    const TEXT: &str = "heap_v2/524288\n  t*: 1: 2 [8: 10]\n  t0: 1: 2 [8: 10]\n\
        @ 0x1 0x2\n  t*: 1: 2 [3: 4]\n  t1: 1: 2 [3: 4]\n\
        @ 0x3\n  t*: 0: 0 [5: 6]\n  t1: 0: 0 [5: 6]\n\n\
        MAPPED_LIBRARIES:\n1-2 r-xp [vdso]\n";

    #[test]
    fn in_use_leaves_out_what_is_all_freed() {
        let expected = "heap_v2/524288\n@ 0x1 0x2\n  t*: 1: 2 [0: 0]\n";
        assert_eq!(select(TEXT, Columns::InUse), expected);
    }

    #[test]
    fn accumulated_has_every_stack_with_the_figures_in_brackets() {
        let expected = "heap_v2/524288\n@ 0x1 0x2\n  t*: 3: 4 [0: 0]\n@ 0x3\n  t*: 5: 6 [0: 0]\n";
        assert_eq!(select(TEXT, Columns::Accumulated), expected);
    }
}
