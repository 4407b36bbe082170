//! What the tests of the services share: tokens, certificates, broken networks, a database,
//! deadlines.
//!
//! Compiled for tests and behind the feature `testing`, never into a production binary. Helpers
//! here panic with a message that says what the test environment lacks: a test has no better
//! way on. Nothing sleeps: a test awaits a condition under a [`deadline`].

mod certificate;
mod database_error;
mod fault_proxy;
mod issuer;
mod postgres;
mod redis;
mod redis_cluster;
mod redis_sentinel;
mod schema;

use std::time::Duration;

use tokio::time::timeout;

pub use self::certificate::{SelfSigned, client_config, self_signed};
pub use self::database_error::database_error;
pub use self::fault_proxy::{Direction, FaultProxy};
pub use self::issuer::{Issuer, jwks};
pub use self::postgres::Postgres;
pub use self::redis::{Redis, redis_url};
pub use self::redis_cluster::RedisCluster;
pub use self::redis_sentinel::RedisSentinel;
pub use self::schema::Schema;

/// Longest a test waits for anything: a hundred times what a loaded two-core machine needs.
pub const DEADLINE: Duration = Duration::from_secs(10);

/// Awaits `condition` and panics, naming the line of the test, if it takes over [`DEADLINE`].
#[track_caller]
pub fn deadline<F: Future>(condition: F) -> impl Future<Output = F::Output> {
    let caller = std::panic::Location::caller();
    async move {
        match timeout(DEADLINE, condition).await {
            Ok(output) => output,
            Err(_) => panic!("{caller}: not done after {} s", DEADLINE.as_secs()),
        }
    }
}

/// A TCP port of the loopback address that nobody listens on at the moment.
///
/// Another process may take it first: bind port 0 wherever the program under test can say which
/// port it got.
pub fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    listener.local_addr().expect("a bound socket has an address").port()
}
