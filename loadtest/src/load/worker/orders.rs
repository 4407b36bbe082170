//! What the coordinator tells a worker, read without ever waiting once there is work to do.

use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};

use anyhow::{Context as _, Result, ensure};
use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::Errno;

use super::word::Order;

/// The longest order: a plan with the names of all rooms, 40 bytes for each of a million.
const ORDER_MAX: usize = 64 << 20;

/// Bytes of one read.
const READ_BYTES: usize = 64 * 1024;

/// The end that orders come out of.
#[derive(Debug)]
pub(super) struct Orders {
    source: OwnedFd,
    unread: Vec<u8>,
}

impl Orders {
    pub(super) const fn new(source: OwnedFd) -> Self {
        Self { source, unread: Vec::new() }
    }

    /// Waits for an order. `None` when nobody gives any.
    pub(super) fn wait(&mut self) -> Result<Option<Order>> {
        loop {
            if let Some(order) = self.next()? {
                return Ok(Some(order));
            }
            if self.read()? == Some(0) {
                return Ok(None);
            }
        }
    }

    /// From now on nothing waits, and `token` tells of more.
    pub(super) fn watch(&self, registry: &Registry, token: Token) -> Result<()> {
        let flags = fcntl_getfl(&self.source)?;
        fcntl_setfl(&self.source, flags | OFlags::NONBLOCK)?;
        registry.register(&mut SourceFd(&self.source.as_raw_fd()), token, Interest::READABLE)?;
        Ok(())
    }

    /// Every order there is, and whether somebody may still give more.
    pub(super) fn all(&mut self) -> Result<(Vec<Order>, bool)> {
        let mut open = true;
        while let Some(count) = self.read()? {
            if count == 0 {
                open = false;
                break;
            }
        }
        let mut orders = Vec::new();
        while let Some(order) = self.next()? {
            orders.push(order);
        }
        Ok((orders, open))
    }

    /// Bytes read; `None` when there are none yet.
    fn read(&mut self) -> Result<Option<usize>> {
        let start = self.unread.len();
        ensure!(start <= ORDER_MAX, "an order that does not end");
        self.unread.resize(start + READ_BYTES, 0);
        let read = rustix::io::read(&self.source, &mut self.unread[start..]);
        self.unread.truncate(start + read.unwrap_or(0));
        match read {
            Ok(count) => Ok(Some(count)),
            Err(Errno::AGAIN) => Ok(None),
            Err(Errno::INTR) => self.read(),
            Err(error) => Err(io::Error::from(error)).context("orders"),
        }
    }

    fn next(&mut self) -> Result<Option<Order>> {
        let Some(end) = memchr::memchr(b'\n', &self.unread) else { return Ok(None) };
        let order = serde_json::from_slice(&self.unread[..end]).context("an order");
        self.unread.drain(..=end);
        order.map(Some)
    }
}
