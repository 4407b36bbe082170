//! A Redis Cluster of one's own, whose servers can be killed, paused and started again.
//!
//! Each master has an equal part of the slots, in their order. A server that was started again is
//! empty and has its slots as before. Without replicas the slots of one that is away are nobody's
//! until it is back, and the others go on; with one each, it takes over within about two seconds.

use std::net::SocketAddr;
use std::net::TcpListener;

use deadpool_redis::redis::aio::MultiplexedConnection;
use deadpool_redis::redis::{Client, FromRedisValue, cmd};

use super::{Redis, deadline, free_port};

/// Servers that have slots.
const MASTERS: usize = 3;

/// Slots of a cluster.
const SLOTS: usize = 16384;

/// What every server is started with. The time after which one counts as gone is short, and longer
/// than a loaded machine takes to give a process its turn.
const SETTINGS: &[&str] = &[
    "cluster-enabled yes",
    "cluster-node-timeout 1000",
    "cluster-require-full-coverage no",
    "cluster-replica-validity-factor 0",
    "repl-diskless-sync-delay 0",
];

/// From the port of a server to that of its talk with the others.
const TALK: u16 = 10_000;

/// Servers that share the keys.
#[derive(Debug)]
pub struct RedisCluster {
    servers: Vec<Redis>,
}

impl RedisCluster {
    /// Three masters.
    ///
    /// # Panics
    /// When there is no program, or they do not find each other.
    pub async fn start() -> Self {
        Self::of(MASTERS).await
    }

    /// Three masters, 0 to 2, and a replica of each, 3 to 5.
    ///
    /// # Panics
    /// As for [`RedisCluster::start`].
    pub async fn with_replicas() -> Self {
        let cluster = Self::of(2 * MASTERS).await;
        for master in 0..MASTERS {
            let id: String = cluster.ask(master, &["MYID"]).await;
            let _: String = cluster.ask(MASTERS + master, &["REPLICATE", &id]).await;
        }
        let is_copied = async |replica| {
            let mut link = link(cluster.address(replica)).await;
            let info = cmd("INFO").arg("replication").query_async(&mut link).await;
            let info: String = info.expect("a replica answers");
            info.contains("master_link_status:up")
        };
        deadline(async {
            for replica in MASTERS..2 * MASTERS {
                while !is_copied(replica).await {
                    tokio::task::yield_now().await;
                }
            }
        })
        .await;
        cluster
    }

    async fn of(count: usize) -> Self {
        let mut servers = Vec::new();
        for _ in 0..count {
            servers.push(Redis::at(free_ports(), SETTINGS).await);
        }
        let cluster = Self { servers };
        for server in 0..count {
            if server < MASTERS {
                let (first, next) = (part(server), part(server + 1));
                let range = [first.to_string(), (next - 1).to_string()];
                let _: String = cluster.ask(server, &["ADDSLOTSRANGE", &range[0], &range[1]]).await;
            }
            let epoch = (server + 1).to_string();
            let _: String = cluster.ask(server, &["SET-CONFIG-EPOCH", &epoch]).await;
            let first = cluster.address(0);
            let (host, port) = (first.ip().to_string(), first.port().to_string());
            let _: String = cluster.ask(server, &["MEET", &host, &port]).await;
        }
        cluster.agrees().await;
        cluster
    }

    /// Waits until every server knows all the others and whose the slots are.
    ///
    /// # Panics
    /// When they do not agree in time.
    pub async fn agrees(&self) {
        let known = format!("cluster_known_nodes:{}", self.servers.len());
        let is_done = async |server| {
            let info: String = self.ask(server, &["INFO"]).await;
            info.contains("cluster_state:ok")
                && info.contains("cluster_slots_ok:16384")
                && info.contains(&known)
        };
        deadline(async {
            for server in 0..self.servers.len() {
                while !is_done(server).await {
                    tokio::task::yield_now().await;
                }
            }
        })
        .await;
    }

    /// Its URL.
    #[must_use]
    pub fn url(&self) -> String {
        let addresses: Vec<_> =
            self.servers.iter().map(|server| server.address().to_string()).collect();
        format!("redis+cluster://{}", addresses.join(","))
    }

    /// One of its servers.
    #[must_use]
    pub fn server(&self, server: usize) -> &Redis {
        &self.servers[server]
    }

    /// The master that was given the slot of a key.
    ///
    /// # Panics
    /// When the first server does not answer.
    pub async fn owner(&self, key: &str) -> usize {
        let slot = self.slot(key).await;
        (0..MASTERS).rev().find(|&master| part(master) <= slot).expect("the first begins with 0")
    }

    /// Gives the slot of a key to another master; the keys in it are lost.
    ///
    /// # Panics
    /// When a master does not do it.
    pub async fn move_slot(&self, key: &str, to: usize) {
        let slot = self.slot(key).await.to_string();
        let id: String = self.ask(to, &["MYID"]).await;
        // Who gets it first, so that it is never nobody's.
        let others = (0..MASTERS).filter(|&master| master != to);
        for master in std::iter::once(to).chain(others) {
            deadline(self.hand_over(master, &slot, &id)).await;
        }
    }

    /// Tells a server whose a slot is; one that has keys in it does not let go of it.
    async fn hand_over(&self, server: usize, slot: &str, id: &str) {
        let mut link = link(self.address(server)).await;
        loop {
            let mut keys = cmd("CLUSTER");
            keys.arg("GETKEYSINSLOT").arg(slot).arg(1000);
            let keys: Vec<String> = keys.query_async(&mut link).await.unwrap_or_default();
            if !keys.is_empty() {
                let gone = cmd("DEL").arg(keys).query_async::<u64>(&mut link).await;
                gone.expect("keys can be deleted");
            }
            let mut tell = cmd("CLUSTER");
            tell.arg("SETSLOT").arg(slot).arg("NODE").arg(id);
            if tell.query_async::<String>(&mut link).await.is_ok() {
                return;
            }
        }
    }

    async fn slot(&self, key: &str) -> usize {
        let mut link = None;
        for server in &self.servers {
            link = try_link(server.address()).await;
            if link.is_some() {
                break;
            }
        }
        let mut link = link.expect("a server of the cluster");
        cmd("CLUSTER")
            .arg("KEYSLOT")
            .arg(key)
            .query_async(&mut link)
            .await
            .expect("the slot of a key")
    }

    async fn ask<T: FromRedisValue>(&self, server: usize, words: &[&str]) -> T {
        let mut link = link(self.address(server)).await;
        let answer = cmd("CLUSTER").arg(words).query_async(&mut link).await;
        answer.unwrap_or_else(|error| panic!("CLUSTER {words:?}: {error}"))
    }

    fn address(&self, server: usize) -> SocketAddr {
        self.servers[server].address()
    }
}

async fn link(address: SocketAddr) -> MultiplexedConnection {
    deadline(async {
        loop {
            if let Some(link) = try_link(address).await {
                return link;
            }
        }
    })
    .await
}

async fn try_link(address: SocketAddr) -> Option<MultiplexedConnection> {
    let client = Client::open(format!("redis://{address}")).expect("the URL of a server");
    client.get_multiplexed_async_connection().await.ok()
}

/// The first slot of a master.
fn part(master: usize) -> usize {
    SLOTS * master / MASTERS
}

/// A free port whose neighbour for the talk of the servers is free as well.
fn free_ports() -> u16 {
    loop {
        let port = free_port();
        let talk = port.checked_add(TALK);
        if talk.is_some_and(|talk| TcpListener::bind(("127.0.0.1", talk)).is_ok()) {
            return port;
        }
    }
}
