//! Wakes the loop at a time of the common clock, to the microsecond.
//!
//! The timeout of epoll is whole milliseconds, and at a thousand messages a second that would be
//! the delay of each. A timer of the kernel has no such grain.

use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};

use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};

use crate::load::clock::SECOND;

/// A timer.
#[derive(Debug)]
pub(in crate::load) struct Alarm {
    timer: OwnedFd,
    /// When it rings, if it was not silent since.
    set: Option<u64>,
}

impl Alarm {
    /// One that rings as `token`.
    pub(in crate::load) fn new(registry: &Registry, token: Token) -> io::Result<Self> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let timer = timerfd_create(TimerfdClockId::Monotonic, flags)?;
        registry.register(&mut SourceFd(&timer.as_raw_fd()), token, Interest::READABLE)?;
        Ok(Self { timer, set: None })
    }

    /// Rings at `when`, at once if that is over. Once, and only the last one set.
    pub(in crate::load) fn set(&mut self, when: u64) -> io::Result<()> {
        if self.set == Some(when) {
            return Ok(());
        }
        let seconds = i64::try_from(when / SECOND).map_err(io::Error::other)?;
        let nanos = i64::try_from(when % SECOND).map_err(io::Error::other)?;
        let never = Timespec { tv_sec: 0, tv_nsec: 0 };
        // A time of zero would switch it off.
        let it_value = Timespec { tv_sec: seconds, tv_nsec: nanos.max(1) };
        let time = Itimerspec { it_interval: never, it_value };
        timerfd_settime(&self.timer, TimerfdTimerFlags::ABSTIME, &time)?;
        self.set = Some(when);
        Ok(())
    }

    /// It has rung. Setting it again makes it silent: nothing has to be read.
    pub(in crate::load) fn heard(&mut self) {
        self.set = None;
    }
}
