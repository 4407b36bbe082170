//! A master, its replica, and the Sentinel that lets the replica take over, of one's own.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use deadpool_redis::redis::{Client, cmd};
use uuid::Uuid;

use super::{Redis, deadline, free_port};

/// The name by which the Sentinel knows the master.
const NAME: &str = "main";

/// What the Sentinel is told of it: half a second of silence is an end.
const RULES: &[&str] = &["down-after-milliseconds main 500", "failover-timeout main 2000"];

/// Two servers, one of which has the keys, and who knows which.
#[derive(Debug)]
pub struct RedisSentinel {
    servers: [Redis; 2],
    sentinel: Child,
    port: u16,
    folder: PathBuf,
}

impl RedisSentinel {
    /// Starts them; the first server is the master.
    ///
    /// # Panics
    /// When there is no program, or the replica does not become one.
    pub async fn start() -> Self {
        let master = Redis::start().await;
        let replicaof = format!("replicaof 127.0.0.1 {}", master.address().port());
        let copy = Redis::with(&[&replicaof, "repl-diskless-sync-delay 0"]).await;
        let port = free_port();
        let folder = std::env::temp_dir().join(format!("veza-sentinel-{}", Uuid::new_v4()));
        fs::create_dir(&folder).expect("a folder for a Sentinel");
        let mut rules = format!("port {port}\nbind 127.0.0.1\n");
        rules += &format!("sentinel monitor {NAME} 127.0.0.1 {} 1\n", master.address().port());
        for rule in RULES {
            rules += &format!("sentinel {rule}\n");
        }
        let file = folder.join("sentinel.conf");
        fs::write(&file, rules).expect("the settings of a Sentinel");
        let mut command = Command::new("redis-server");
        command.arg(&file).arg("--sentinel").stdin(Stdio::null());
        let sentinel = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let sentinel = sentinel.expect("the program redis-server");
        let started = Self { servers: [master, copy], sentinel, port, folder };
        deadline(async {
            while !started.knows_the_replica().await {
                tokio::task::yield_now().await;
            }
        })
        .await;
        started
    }

    async fn knows_the_replica(&self) -> bool {
        let client = Client::open(format!("redis://{}", self.address())).expect("a URL");
        let Ok(mut link) = client.get_multiplexed_async_connection().await else { return false };
        let mut question = cmd("SENTINEL");
        let known = question.arg("MASTER").arg(NAME).query_async::<Vec<String>>(&mut link).await;
        let known = known.unwrap_or_default();
        known.windows(2).any(|pair| pair[0] == "num-slaves" && pair[1] == "1")
            && self.is_copied().await
    }

    async fn is_copied(&self) -> bool {
        let client = Client::open(self.servers[1].url()).expect("a URL");
        let Ok(mut link) = client.get_multiplexed_async_connection().await else { return false };
        let info = cmd("INFO").arg("replication").query_async::<String>(&mut link).await;
        info.is_ok_and(|info| info.contains("master_link_status:up"))
    }

    /// Its URL.
    #[must_use]
    pub fn url(&self) -> String {
        format!("redis+sentinel://{}/{NAME}", self.address())
    }

    /// One of the servers: 0 is the first master, 1 its replica.
    #[must_use]
    pub fn server(&self, server: usize) -> &Redis {
        &self.servers[server]
    }

    fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }
}

impl Drop for RedisSentinel {
    fn drop(&mut self) {
        self.sentinel.kill().expect("a child can be killed");
        self.sentinel.wait().expect("a killed child ends");
        drop(fs::remove_dir_all(&self.folder));
    }
}
