//! The Redis of a run: one server, or a cluster of three masters.

use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use chassis::testing::{Redis, free_port};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, interval, timeout};

/// Masters of a cluster, and the slots they share.
const MASTERS: u16 = 3;
const SLOTS: u16 = 16384;

/// Longest a cluster may take to agree that it is one.
const AGREE_MAX: Duration = Duration::from_secs(30);

/// Longest one command may take.
const ANSWER_MAX: Duration = Duration::from_secs(5);

/// Between two looks.
const LOOK: Duration = Duration::from_millis(50);

/// A Redis.
#[derive(Debug)]
pub enum Broker {
    /// One server.
    Single(Redis),
    /// Masters without replicas: what one knew is gone with it.
    Cluster(Vec<Redis>),
}

impl Broker {
    /// Starts one server.
    pub async fn single() -> Self {
        Self::Single(Redis::start().await)
    }

    /// Starts a cluster and waits until it is whole.
    ///
    /// # Errors
    /// When it does not become one.
    pub async fn cluster() -> Result<Self> {
        let mut masters = Vec::new();
        for _ in 0..MASTERS {
            let port = format!("cluster-port {}", free_port());
            let settings = ["cluster-enabled yes", "cluster-node-timeout 2000", port.as_str()];
            masters.push((Redis::with(&settings).await, port));
        }
        let (first, _) = &masters[0];
        for (number, (master, port)) in (0..).zip(&masters) {
            let from = SLOTS / MASTERS * number;
            let to = if number + 1 == MASTERS { SLOTS } else { from + SLOTS / MASTERS } - 1;
            tell(master, &format!("CLUSTER ADDSLOTSRANGE {from} {to}")).await?;
            tell(master, &format!("CLUSTER SET-CONFIG-EPOCH {}", number + 1)).await?;
            let bus = port.rsplit(' ').next().unwrap_or_default();
            let meet = format!("CLUSTER MEET 127.0.0.1 {} {bus}", master.address().port());
            if number > 0 {
                tell(first, &meet).await?;
            }
        }
        let cluster = Self::Cluster(masters.into_iter().map(|(master, _)| master).collect());
        cluster.agree().await?;
        Ok(cluster)
    }

    /// Where servers find it.
    #[must_use]
    pub fn url(&self) -> String {
        match self {
            Self::Single(redis) => redis.url(),
            Self::Cluster(masters) => {
                let addresses = masters.iter().map(|master| master.address().to_string());
                format!("redis+cluster://{}", addresses.collect::<Vec<_>>().join(","))
            }
        }
    }

    /// The server that faults are for; of a cluster, that with this number.
    #[must_use]
    pub fn server(&self, number: usize) -> &Redis {
        match self {
            Self::Single(redis) => redis,
            Self::Cluster(masters) => &masters[number % masters.len()],
        }
    }

    /// Forgets everything, while it runs.
    ///
    /// # Errors
    /// When a server does not answer.
    pub async fn flush(&self) -> Result<()> {
        match self {
            Self::Single(redis) => drop(tell(redis, "FLUSHALL").await?),
            Self::Cluster(masters) => {
                for master in masters {
                    tell(master, "FLUSHALL").await?;
                }
            }
        }
        Ok(())
    }

    /// Waits until every master says that the cluster is whole.
    async fn agree(&self) -> Result<()> {
        let Self::Cluster(masters) = self else { return Ok(()) };
        let (begun, mut looks) = (Instant::now(), interval(LOOK));
        for master in masters {
            loop {
                let info = tell(master, "CLUSTER INFO").await?;
                if info.contains("cluster_state:ok") && info.contains("cluster_known_nodes:3") {
                    break;
                }
                if begun.elapsed() > AGREE_MAX {
                    bail!("no cluster after {AGREE_MAX:?}: {info}");
                }
                looks.tick().await;
            }
        }
        Ok(())
    }
}

/// Sends one command as a person would type it, and gives the answer.
async fn tell(redis: &Redis, command: &str) -> Result<String> {
    let told = timeout(ANSWER_MAX, async {
        let mut stream = TcpStream::connect(redis.address()).await?;
        stream.write_all(format!("{command}\r\n").as_bytes()).await?;
        let mut answer = vec![0; 4096];
        let read = stream.read(&mut answer).await?;
        answer.truncate(read);
        Ok::<_, std::io::Error>(String::from_utf8_lossy(&answer).into_owned())
    });
    let answer = told.await.with_context(|| format!("{command}: no answer"))??;
    if answer.starts_with('-') {
        bail!("{command}: {answer}");
    }
    Ok(answer)
}
