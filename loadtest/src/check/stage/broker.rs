//! The Redis of a run: one server, or a cluster of three masters.

use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use chassis::testing::{Redis, RedisCluster};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Masters of a cluster.
const MASTERS: usize = 3;

/// Longest one command may take.
const ANSWER_MAX: Duration = Duration::from_secs(5);

/// A Redis.
#[derive(Debug)]
pub enum Broker {
    /// One server.
    Single(Redis),
    /// Masters without replicas: what one knew is gone with it.
    Cluster(RedisCluster),
}

impl Broker {
    /// Where servers find it.
    #[must_use]
    pub fn url(&self) -> String {
        match self {
            Self::Single(redis) => redis.url(),
            Self::Cluster(cluster) => cluster.url(),
        }
    }

    /// Its processes.
    #[must_use]
    pub fn ids(&self) -> Vec<u32> {
        match self {
            Self::Single(redis) => redis.id().into_iter().collect(),
            Self::Cluster(cluster) => {
                (0..MASTERS).filter_map(|number| cluster.server(number).id()).collect()
            }
        }
    }

    /// The server that faults are for; of a cluster, the master with this number.
    #[must_use]
    pub fn server(&self, number: usize) -> &Redis {
        match self {
            Self::Single(redis) => redis,
            Self::Cluster(cluster) => cluster.server(number % MASTERS),
        }
    }

    /// Forgets everything, while it runs.
    ///
    /// # Errors
    /// When a server does not answer.
    pub async fn flush(&self) -> Result<()> {
        match self {
            Self::Single(redis) => tell(redis, "FLUSHALL").await,
            Self::Cluster(cluster) => {
                for number in 0..MASTERS {
                    tell(cluster.server(number), "FLUSHALL").await?;
                }
                Ok(())
            }
        }
    }
}

/// Sends one command as a person would type it, and expects it to be done.
async fn tell(redis: &Redis, command: &str) -> Result<()> {
    let told = timeout(ANSWER_MAX, async {
        let mut stream = TcpStream::connect(redis.address()).await?;
        stream.write_all(format!("{command}\r\n").as_bytes()).await?;
        let mut answer = vec![0; 512];
        let read = stream.read(&mut answer).await?;
        answer.truncate(read);
        Ok::<_, std::io::Error>(String::from_utf8_lossy(&answer).into_owned())
    });
    let answer = told.await.with_context(|| format!("{command}: no answer"))??;
    if !answer.starts_with('+') {
        bail!("{command}: {answer}");
    }
    Ok(())
}
