//! Listeners: bind, admission, TLS handshake, HTTP, and the connection a service takes over.
//!
//! One accept loop a listener. A connection is admitted before anything is read from it: a slot
//! of the shared connection budget, a slot of its address. The slots travel inside the [`Socket`]
//! (through hyper and back out of an upgrade) and are given back when it is dropped. When the
//! budget is spent, a few spare slots of each listener still get an HTTP answer: the service
//! sees [`Admitted::Spare`] and answers its connection endpoints with 503, while health checks
//! go on. A client that does not send a whole request head in time is dropped.

mod admission;
mod serve;
mod socket;

pub use admission::{Admission, Admitted, Limits};
pub use serve::{Listener, Server, ServerConfig};
pub use socket::{Slots, Socket};

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use tokio_util::sync::CancellationToken;

/// Who is at the other end; in the extensions of every request.
#[derive(Debug, Clone, Copy)]
pub struct Peer {
    /// The address of the TCP connection.
    pub address: SocketAddr,
    /// Whether the connection came over TLS.
    pub tls: bool,
    /// Which slot it has.
    pub admitted: Admitted,
}

/// Drops the connection of a request, whatever it is at; in the extensions of every request. For a
/// service that knows that nobody takes its response any more.
#[derive(Debug, Clone, Default)]
pub struct Hangup(CancellationToken);

impl Hangup {
    /// Drops the connection, and every other request on it.
    pub fn now(&self) {
        self.0.cancel();
    }
}

impl Peer {
    /// Whom limits are counted for; see [`client`].
    #[must_use]
    pub fn client(&self) -> IpAddr {
        client(self.address.ip())
    }
}

/// One client among addresses: an IPv4 address, or the /64 network that one IPv6 host has to
/// itself. IPv4 addresses in IPv6 clothes are undressed.
#[must_use]
pub fn client(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
        address @ IpAddr::V4(_) => address,
    }
}
