//! Who may come in: the connection budget of the process and the share of one address.
//!
//! Every slot is a guard: dropping it gives the slot back, whatever ended the connection.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use hashbrown::HashMap;
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::pressure::Memory;
use crate::rate_limit::{Keyed, Quota};

/// The limits on connections; zero turns a per-address limit off.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Connections at once over all listeners.
    pub connections_max: usize,
    /// Connections at once from one address.
    pub connections_per_ip: u32,
    /// New connections a second from one address.
    pub connect_rate_per_ip: u32,
}

/// The kind of slot a connection has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admitted {
    /// A slot of the connection budget.
    Full,
    /// A spare slot of its listener: enough for a short HTTP answer, not for a long connection.
    Spare,
}

/// The connection budget, shared by all listeners of a process.
#[derive(Debug)]
pub struct Admission {
    slots: Arc<Semaphore>,
    limits: Limits,
    /// Connections by address. One short lock an accept; entries go with their last connection.
    addresses: Mutex<HashMap<IpAddr, u32>>,
    rate: Option<Keyed<IpAddr>>,
    refused: AtomicU64,
    /// Memory is so short that nothing more is begun than spare slots allow.
    is_short: AtomicBool,
}

/// The slots of one connection.
#[derive(Debug)]
pub(crate) struct Ticket {
    pub(crate) admitted: Admitted,
    _slot: OwnedSemaphorePermit,
    _share: Option<Share>,
}

/// One connection's part of its address's share.
#[derive(Debug)]
struct Share {
    admission: Arc<Admission>,
    address: IpAddr,
}

impl Admission {
    /// A budget with every slot free.
    #[must_use]
    pub fn new(limits: Limits) -> Arc<Self> {
        let rate = NonZeroU32::new(limits.connect_rate_per_ip)
            .map(|rate| Keyed::new(Quota::per_second(rate)));
        Arc::new(Self {
            slots: Arc::new(Semaphore::new(limits.connections_max)),
            limits,
            addresses: Mutex::new(HashMap::new()),
            rate,
            refused: AtomicU64::new(0),
            is_short: AtomicBool::new(false),
        })
    }

    /// Connections that hold a slot of the budget.
    #[must_use]
    pub fn open(&self) -> usize {
        self.limits.connections_max - self.slots.available_permits()
    }

    /// The budget.
    #[must_use]
    pub fn connections_max(&self) -> usize {
        self.limits.connections_max
    }

    /// Connections that were turned away since the start.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// Memory is this short: while it is critical, new connections get spare slots alone. Those
    /// answer health checks and tell the others to come later, and there are few, so that all
    /// handshakes together cannot take what is left.
    pub fn follow(&self, memory: Memory) {
        self.is_short.store(memory == Memory::Critical, Ordering::Relaxed);
    }

    /// A slot for a connection from `address`, or `None` when it must be dropped.
    pub(crate) fn admit(
        self: &Arc<Self>,
        address: IpAddr,
        spare: &Arc<Semaphore>,
    ) -> Option<Ticket> {
        let ticket = self.ticket(address, spare);
        if ticket.is_none() {
            self.refused.fetch_add(1, Ordering::Relaxed);
        }
        ticket
    }

    fn ticket(self: &Arc<Self>, address: IpAddr, spare: &Arc<Semaphore>) -> Option<Ticket> {
        if self.rate.as_ref().is_some_and(|rate| rate.check(&address).is_err()) {
            return None;
        }
        let share = match self.limits.connections_per_ip {
            0 => None,
            most => Some(self.share(address, most)?),
        };
        let full = match self.is_short.load(Ordering::Relaxed) {
            true => None,
            false => self.slots.clone().try_acquire_owned().ok(),
        };
        let (admitted, slot) = match full {
            Some(slot) => (Admitted::Full, slot),
            None => (Admitted::Spare, spare.clone().try_acquire_owned().ok()?),
        };
        Some(Ticket { admitted, _slot: slot, _share: share })
    }

    fn share(self: &Arc<Self>, address: IpAddr, most: u32) -> Option<Share> {
        let mut addresses = self.addresses.lock();
        let count = addresses.entry(address).or_insert(0);
        if *count >= most {
            return None;
        }
        *count += 1;
        Some(Share { admission: self.clone(), address })
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut addresses = self.admission.addresses.lock();
        if let Some(count) = addresses.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                addresses.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    const HOME: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    fn admission(connections_max: usize, connections_per_ip: u32) -> Arc<Admission> {
        let connect_rate_per_ip = 0;
        Admission::new(Limits { connections_max, connections_per_ip, connect_rate_per_ip })
    }

    #[test]
    fn spare_slots_serve_when_the_budget_is_spent_and_slots_come_back() {
        let (admission, spare) = (admission(1, 0), Arc::new(Semaphore::new(1)));
        let first = admission.admit(HOME, &spare).unwrap();
        let second = admission.admit(HOME, &spare).unwrap();
        assert_eq!((first.admitted, second.admitted), (Admitted::Full, Admitted::Spare));
        assert!(admission.admit(HOME, &spare).is_none());
        assert_eq!((admission.open(), admission.refused()), (1, 1));
        drop(first);
        assert_eq!(admission.admit(HOME, &spare).unwrap().admitted, Admitted::Full);
    }

    #[test]
    fn with_memory_at_its_end_there_are_spare_slots_alone() {
        let (admission, spare) = (admission(10, 0), Arc::new(Semaphore::new(1)));
        admission.follow(Memory::Tight);
        let _first = admission.admit(HOME, &spare).unwrap();
        admission.follow(Memory::Critical);
        assert_eq!(admission.admit(HOME, &spare).unwrap().admitted, Admitted::Spare);
        let _second = admission.admit(HOME, &spare).unwrap();
        assert!(admission.admit(HOME, &spare).is_none());
        admission.follow(Memory::Enough);
        assert_eq!(admission.admit(HOME, &spare).unwrap().admitted, Admitted::Full);
    }

    #[test]
    fn one_address_has_its_share_and_no_more() {
        let (admission, spare) = (admission(10, 2), Arc::new(Semaphore::new(1)));
        let held: Vec<_> = (0..2).map(|_| admission.admit(HOME, &spare).unwrap()).collect();
        assert!(admission.admit(HOME, &spare).is_none());
        assert!(admission.admit([127, 0, 0, 2].into(), &spare).is_some());
        drop(held);
        assert!(admission.addresses.lock().is_empty());
        assert!(admission.admit(HOME, &spare).is_some());
    }
}
