//! The Redis of the tests, and servers of one's own to be stopped, killed, paused and started again.
//!
//! The one that `REDIS_URL` names is everybody's: what a test writes there begins with a name of its
//! own. A server of one's own listens on a free port of the loopback address, keeps nothing, and
//! goes with the value. Needs the program `redis-server`, as `ops/dev/services.sh` installs it.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use parking_lot::Mutex;
use rustix::process::{Pid, Signal, kill_process};
use tokio::net::TcpStream;
use uuid::Uuid;

use super::{deadline, free_port};

/// Where a Redis can be had.
const HINT: &str = "eval \"$(ops/dev/services.sh)\" starts one and exports REDIS_URL";

/// The Redis of the test environment.
///
/// # Panics
/// When there is none.
#[must_use]
pub fn redis_url() -> String {
    #[expect(clippy::disallowed_methods, reason = "tests have no configuration of their own")]
    let url = std::env::var("REDIS_URL");
    url.unwrap_or_else(|_| panic!("REDIS_URL is not set. {HINT}"))
}

/// A server.
#[derive(Debug)]
pub struct Redis {
    folder: PathBuf,
    port: u16,
    settings: Mutex<Vec<String>>,
    running: Mutex<Option<Child>>,
}

impl Redis {
    /// Makes one and starts it.
    ///
    /// # Panics
    /// When there is no program, or it does not answer.
    pub async fn start() -> Self {
        Self::with(&[]).await
    }

    /// The same with settings of `redis.conf`, each as `name value`.
    ///
    /// # Panics
    /// As for [`Redis::start`].
    pub async fn with(settings: &[&str]) -> Self {
        Self::at(free_port(), settings).await
    }

    /// The same at a port of one's choice.
    pub(super) async fn at(port: u16, settings: &[&str]) -> Self {
        let folder = std::env::temp_dir().join(format!("veza-redis-{}", Uuid::new_v4()));
        fs::create_dir(&folder).expect("a folder for a server");
        let settings = Mutex::new(lines(settings));
        let server = Self { folder, port, settings, running: Mutex::new(None) };
        server.restart().await;
        server
    }

    /// Its URL.
    #[must_use]
    pub fn url(&self) -> String {
        self.url_at(self.address())
    }

    /// The same behind another address, that of a proxy.
    #[must_use]
    pub fn url_at(&self, address: SocketAddr) -> String {
        format!("redis://{address}")
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    /// Its process, while it is meant to run.
    #[must_use]
    pub fn id(&self) -> Option<u32> {
        self.running.lock().as_ref().map(Child::id)
    }

    /// Ends it as a crash does; what it knew is gone.
    pub fn kill(&self) {
        let Some(mut child) = self.running.lock().take() else { return };
        child.kill().expect("a child can be killed");
        child.wait().expect("a killed child ends");
    }

    /// Starts it again after [`Redis::kill`], empty, at the same address.
    ///
    /// # Panics
    /// When it does not answer.
    pub async fn restart(&self) {
        self.kill();
        let mut command = Command::new("redis-server");
        command.args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]);
        command.args(["--port", &self.port.to_string()]).arg("--dir").arg(&self.folder);
        for line in &*self.settings.lock() {
            let (name, value) = line.split_once(' ').expect("a setting is a name and a value");
            command.arg(format!("--{name}")).args(value.split(' '));
        }
        let log = fs::File::create(self.folder.join("log")).expect("a log for a server");
        let child = command.stdin(Stdio::null()).stdout(log).stderr(Stdio::null()).spawn();
        *self.running.lock() = Some(child.unwrap_or_else(|error| panic!("{error}. {HINT}")));
        deadline(async {
            while TcpStream::connect(self.address()).await.is_err() {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }

    /// The same with other settings.
    ///
    /// # Panics
    /// When it does not answer.
    pub async fn restart_with(&self, settings: &[&str]) {
        *self.settings.lock() = lines(settings);
        self.restart().await;
    }

    /// Stops it in its tracks: connections stay, nothing is answered.
    pub fn pause(&self) {
        self.signal(Signal::STOP);
    }

    /// Lets it go on after [`Redis::pause`].
    pub fn resume(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        let running = self.running.lock();
        let child = running.as_ref().expect("a server that runs");
        let process = Pid::from_child(child);
        kill_process(process, signal).expect("a child can be signalled");
    }
}

fn lines(settings: &[&str]) -> Vec<String> {
    settings.iter().map(|&line| line.to_owned()).collect()
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.kill();
        drop(fs::remove_dir_all(&self.folder));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_server_goes_and_comes_again_at_the_same_address() {
        let server = Redis::with(&["maxmemory 10mb"]).await;
        server.kill();
        assert!(TcpStream::connect(server.address()).await.is_err());
        server.restart().await;
        server.pause();
        server.resume();
        assert!(TcpStream::connect(server.address()).await.is_ok());
        let (folder, address) = (server.folder.clone(), server.address());
        drop(server);
        assert!(TcpStream::connect(address).await.is_err() && !folder.exists());
    }
}
