//! What can be said of a Redis: whether it can be used, and what speaks against it.

use std::collections::HashMap;
use std::time::Duration;

use deadpool_redis::redis::cmd;
use tokio::time::{Instant, timeout};

use super::hello::{Hello, Mode, Version};
use super::location::Address;
use super::{Error, Redis, Script};

/// For all servers to answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// Writes what goes by itself within a second, and reads it.
const TRIAL: &str = "redis.call('SET', KEYS[1], 'tried', 'PX', 1000) \
    return redis.call('GET', KEYS[1])";

/// What was found.
#[derive(Debug, Clone, PartialEq)]
pub struct Survey {
    /// Each server that takes commands.
    pub members: Vec<Member>,
    /// False for a cluster with slots that are nobody's.
    pub is_whole: bool,
}

/// A server.
#[derive(Debug, Clone, PartialEq)]
pub struct Member {
    /// Where it is.
    pub address: Address,
    /// What it says it is.
    pub version: Version,
    /// How it works with others.
    pub mode: Mode,
    /// From question to answer.
    pub latency: Duration,
    /// What it may have; `None` where it does not say.
    pub memory: Option<Memory>,
}

/// What a server may have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Memory {
    /// Bytes; zero without a limit.
    pub max_bytes: u64,
    /// What it does at the limit.
    pub policy: String,
}

impl Redis {
    /// Looks at every server.
    ///
    /// # Errors
    /// Why it cannot be used. [`Fault::is_lasting`](super::Fault::is_lasting) of it tells a Redis that is away from one that
    /// answers and is wrong.
    pub async fn survey(&self) -> Result<Survey, Error> {
        timeout(PATIENCE, self.look_around()).await.unwrap_or(Err(Error::Late))
    }

    /// Does once what nodes do all the time, with names that begin with `prefix`: publishes, listens
    /// and runs a script that writes and reads.
    ///
    /// # Errors
    /// What of it cannot be done.
    pub async fn try_out(&self, prefix: &str) -> Result<(), Error> {
        timeout(PATIENCE, self.do_once(prefix)).await.unwrap_or(Err(Error::Late))
    }

    async fn do_once(&self, prefix: &str) -> Result<(), Error> {
        let name = format!("{prefix}:{{check}}");
        let masters = self.search().await?;
        let Some(server) = masters.of(name.as_bytes()) else {
            return Err(super::failure::cluster_down("no server has the key").into());
        };
        let mut ear = self.ear(server, |_| ()).await?;
        ear.begin(std::iter::once(name.as_str())).await?;
        // Nobody else listens there.
        let _heard: u64 = self.query(cmd(self.publish()).arg(&name).arg("")).await?;
        let script = Script::new(TRIAL);
        let mut trial = script.prepare_invoke();
        let _written: String = self.invoke(trial.key(&name)).await?;
        Ok(())
    }

    async fn look_around(&self) -> Result<Survey, Error> {
        let masters = self.search().await?;
        let mut survey = Survey { members: Vec::new(), is_whole: masters.is_whole() };
        let mut away = None;
        for address in masters.addresses() {
            match self.look_at(address).await {
                Ok(member) => survey.members.push(member),
                // One of a cluster may be away.
                Err(error) if !error.fault().is_lasting() => away = Some(error),
                Err(error) => return Err(error),
            }
        }
        match away {
            Some(error) if survey.members.is_empty() => Err(error),
            Some(_) => Ok(Survey { is_whole: false, ..survey }),
            None => Ok(survey),
        }
    }

    async fn look_at(&self, address: &Address) -> Result<Member, Error> {
        // An ear is the most anybody asks of a server: it has judged what it is.
        let mut ear = self.ear(address, |_| ()).await?;
        let asked = Instant::now();
        let Hello { version, mode, .. } = ear.look().await?;
        let latency = asked.elapsed();
        let memory = self.memory(address).await;
        Ok(Member { address: address.clone(), version, mode, latency, memory })
    }

    /// What a server may have; many do not say.
    async fn memory(&self, address: &Address) -> Option<Memory> {
        let answer = self.within(async {
            let mut connection =
                self.pool(address)?.get().await.map_err(super::failure::unpooled)?;
            let mut question = cmd("INFO");
            let text: String = question.arg("memory").query_async(&mut connection).await?;
            Ok(text)
        });
        let text = answer.await.ok()?;
        let fields: HashMap<&str, &str> =
            text.lines().filter_map(|line| line.trim_end().split_once(':')).collect();
        let max_bytes = fields.get("maxmemory")?.parse().ok()?;
        Some(Memory { max_bytes, policy: (*fields.get("maxmemory_policy")?).to_owned() })
    }
}
