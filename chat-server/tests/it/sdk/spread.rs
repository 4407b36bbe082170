//! Two nodes behind one address: a balancer that knows nothing but connections.
//!
//! Each connection goes to the next node in turn, so the commands of an emulated session come to
//! the node it lives on and to the other. Its tasks live as long as the value.

use std::net::SocketAddr;

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::harness;

/// The balancer and the second node; the first is the server everyone uses.
#[derive(Debug)]
pub(super) struct Spread {
    pub(super) second: harness::Stage,
    address: SocketAddr,
    _tasks: JoinSet<()>,
}

impl Spread {
    /// Puts `first` and a twin of it behind one address.
    pub(super) async fn over(first: &harness::Stage) -> Self {
        let second = first.twin().await;
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let nodes = [first.addresses.http, second.addresses.http];
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(listener, nodes));
        Self { second, address, _tasks: tasks }
    }

    /// Where clients connect.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }
}

async fn accept(listener: TcpListener, nodes: [SocketAddr; 2]) {
    let mut connections = JoinSet::new();
    for node in nodes.into_iter().cycle() {
        let Ok((client, _)) = listener.accept().await else { return };
        while connections.try_join_next().is_some() {}
        connections.spawn(forward(client, node));
    }
}

/// Until one of both ends; what ends it is the client's business, or the node's.
async fn forward(mut client: TcpStream, node: SocketAddr) {
    if let Ok(mut server) = TcpStream::connect(node).await {
        drop(copy_bidirectional(&mut client, &mut server).await);
    }
}
