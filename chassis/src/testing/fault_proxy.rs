//! A TCP proxy on the loopback address that breaks connections when told.
//!
//! For tests that ask what a client does when the network fails: it is put between the client
//! and the server under test. It forwards bytes unchanged until it is told to stall or cut. A cut
//! sends a reset, as a crashed peer or a firewall would, not an orderly end. Its tasks live as
//! long as the value; dropping it cuts everything.

use std::net::SocketAddr;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Bytes read at a time: large enough for throughput, small enough to stall soon.
const CHUNK_BYTES: usize = 16 * 1024;

/// The way bytes flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From the client to the server.
    Up,
    /// From the server to the client.
    Down,
}

/// A running proxy. Needs a Tokio runtime.
#[derive(Debug)]
pub struct FaultProxy {
    address: SocketAddr,
    state: Arc<State>,
    _accept: JoinSet<()>,
}

#[derive(Debug)]
struct State {
    upstream: SocketAddr,
    faults: watch::Sender<Faults>,
    limits: Mutex<Limits>,
    connections: watch::Sender<usize>,
}

/// What happens to live connections.
#[derive(Debug, Clone, Copy, Default)]
struct Faults {
    stalled: bool,
    /// Connections end when this grows.
    cuts: u64,
}

/// After how many bytes each new connection is cut.
#[derive(Debug, Clone, Copy, Default)]
struct Limits {
    up: Option<usize>,
    down: Option<usize>,
}

/// A connection was cut on purpose.
struct Cut;

impl FaultProxy {
    /// Listens on a free port and forwards to `upstream`.
    pub async fn start(upstream: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let state = Arc::new(State {
            upstream,
            faults: watch::Sender::new(Faults::default()),
            limits: Mutex::new(Limits::default()),
            connections: watch::Sender::new(0),
        });
        let mut accept = JoinSet::new();
        accept.spawn(accept_loop(listener, Arc::clone(&state)));
        Self { address, state, _accept: accept }
    }

    /// Where clients connect.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Resets every live connection, both ways. New ones are served.
    pub fn cut(&self) {
        self.state.faults.send_modify(|faults| faults.cuts += 1);
    }

    /// Stops forwarding in both directions without closing anything, as a silent network does.
    /// New connections are accepted and stall too.
    pub fn stall(&self) {
        self.state.faults.send_modify(|faults| faults.stalled = true);
    }

    /// Forwards again; nothing was lost meanwhile.
    pub fn resume(&self) {
        self.state.faults.send_modify(|faults| faults.stalled = false);
    }

    /// Resets each connection made from now on as soon as `bytes` went in `direction`.
    pub fn cut_after(&self, direction: Direction, bytes: usize) {
        let mut limits = self.state.limits.lock();
        match direction {
            Direction::Up => limits.up = Some(bytes),
            Direction::Down => limits.down = Some(bytes),
        }
    }

    /// Serves connections made from now on without limits.
    pub fn heal(&self) {
        *self.state.limits.lock() = Limits::default();
    }

    /// Waits until exactly `count` connections are open.
    pub async fn connections(&self, count: usize) {
        let mut open = self.state.connections.subscribe();
        open.wait_for(|open| *open == count).await.expect("the proxy lives");
    }
}

async fn accept_loop(listener: TcpListener, state: Arc<State>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            Some(_) = connections.join_next() => {}
            accepted = listener.accept() => {
                // A connection that is gone before it was accepted is no fault of the proxy.
                if let Ok((client, _)) = accepted {
                    connections.spawn(serve(client, Arc::clone(&state)));
                }
            }
        }
    }
}

async fn serve(mut client: TcpStream, state: Arc<State>) {
    // Read before the limits: who sets limits and then cuts reaches this connection either way.
    let faults = state.faults.subscribe();
    let cuts = faults.borrow().cuts;
    let limits = *state.limits.lock();
    let Ok(mut server) = TcpStream::connect(state.upstream).await else {
        return reset(&client);
    };
    // What is forwarded was a packet before: it does not wait for more. A socket that refuses the
    // option is closed already.
    drop((client.set_nodelay(true), server.set_nodelay(true)));
    state.connections.send_modify(|open| *open += 1);
    let mut cutting = faults.clone();
    let forwarded = tokio::select! {
        biased;
        _ = cutting.wait_for(|faults| faults.cuts != cuts) => Err(Cut),
        forwarded = forward(&mut client, &mut server, limits, faults) => forwarded,
    };
    if forwarded.is_err() {
        reset(&client);
        reset(&server);
    }
    state.connections.send_modify(|open| *open -= 1);
}

async fn forward(
    client: &mut TcpStream,
    server: &mut TcpStream,
    limits: Limits,
    faults: watch::Receiver<Faults>,
) -> Result<(), Cut> {
    // Borrowed halves: owned ones would send an orderly end when dropped, before the reset.
    let (client_read, client_write) = client.split();
    let (server_read, server_write) = server.split();
    let up = pump(client_read, server_write, limits.up, faults.clone());
    let down = pump(server_read, client_write, limits.down, faults);
    tokio::try_join!(up, down).map(|_| ())
}

/// Copies until the end, a broken socket, or `limit`.
async fn pump(
    mut from: ReadHalf<'_>,
    mut to: WriteHalf<'_>,
    limit: Option<usize>,
    mut faults: watch::Receiver<Faults>,
) -> Result<(), Cut> {
    let mut left = limit.unwrap_or(usize::MAX);
    let mut buffer = vec![0; CHUNK_BYTES];
    while left > 0 {
        let room = left.min(buffer.len());
        let read = from.read(&mut buffer[..room]).await.or(Err(Cut))?;
        // Looked at after the read: what arrives during a stall waits here.
        faults.wait_for(|faults| !faults.stalled).await.or(Err(Cut))?;
        if read == 0 {
            return to.shutdown().await.or(Err(Cut));
        }
        to.write_all(&buffer[..read]).await.or(Err(Cut))?;
        left -= read;
    }
    Err(Cut)
}

fn reset(stream: &TcpStream) {
    // With a linger of zero the close that follows is a reset. A socket that refuses the option
    // is closed already.
    drop(stream.set_zero_linger());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::deadline;

    /// A server that sends back what it gets, behind a proxy.
    async fn echo() -> (FaultProxy, JoinSet<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                connections.spawn(async move {
                    let (mut read, mut write) = stream.split();
                    tokio::io::copy(&mut read, &mut write).await.is_ok()
                });
            }
        });
        (FaultProxy::start(address).await, tasks)
    }

    async fn says(stream: &mut TcpStream, text: &str) -> String {
        stream.write_all(text.as_bytes()).await.unwrap();
        let mut answer = vec![0; text.len()];
        deadline(stream.read_exact(&mut answer)).await.unwrap();
        String::from_utf8(answer).unwrap()
    }

    #[tokio::test]
    async fn forwards_both_ways_and_passes_on_the_end() {
        let (proxy, _server) = echo().await;
        let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
        assert_eq!(says(&mut stream, "hello").await, "hello");
        stream.shutdown().await.unwrap();
        assert_eq!(deadline(stream.read(&mut [0; 8])).await.unwrap(), 0);
        drop(stream);
        deadline(proxy.connections(0)).await;
    }

    #[tokio::test]
    async fn a_cut_resets_live_connections_and_serves_new_ones() {
        let (proxy, _server) = echo().await;
        let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
        assert_eq!(says(&mut stream, "one").await, "one");
        proxy.cut();
        let error = deadline(stream.read(&mut [0; 8])).await.unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
        let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
        assert_eq!(says(&mut stream, "two").await, "two");
    }

    #[tokio::test]
    async fn a_stall_holds_bytes_back_and_loses_none() {
        let (proxy, _server) = echo().await;
        let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
        assert_eq!(says(&mut stream, "one").await, "one");
        proxy.stall();
        stream.write_all(b"two").await.unwrap();
        let mut answer = [0; 3];
        let mut reply = std::pin::pin!(stream.read_exact(&mut answer));
        for _ in 0..100 {
            assert!(futures_util::poll!(&mut reply).is_pending());
            tokio::task::yield_now().await;
        }
        proxy.resume();
        deadline(reply).await.unwrap();
        assert_eq!(&answer, b"two");
    }

    #[tokio::test]
    async fn a_limit_cuts_in_the_middle_of_a_message() {
        let (proxy, _server) = echo().await;
        proxy.cut_after(Direction::Down, 4);
        let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
        stream.write_all(b"hello").await.unwrap();
        let mut answer = Vec::new();
        assert!(deadline(stream.read_to_end(&mut answer)).await.is_err());
        assert!(b"hell".starts_with(&answer));
        proxy.heal();
        let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
        assert_eq!(says(&mut stream, "hello").await, "hello");
    }
}
