//! A connection on which is heard what others publish.
//!
//! What comes is handed over by the task of the connection itself, so nothing is queued between
//! the socket and whoever hears: one that is slow holds back the server, whose limit for slow
//! listeners (`client-output-buffer-limit pubsub`) ends the connection then.
//!
//! A connection that is silently dead shows nothing, so [`Ear::look`] asks regularly. An answer may
//! stand behind much that is heard first: as long as anything comes, it is waited for.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use deadpool_redis::redis::aio::{ConnectionLike, MultiplexedConnection};
use deadpool_redis::redis::{
    Client, Pipeline, ProtocolVersion, PushInfo, PushKind, RedisError, RedisResult, Value, pipe,
};
use tokio::time::sleep;

use super::hello::Hello;
use super::location::{Address, As, Topology};
use super::{Error, Redis, settings};

/// How long nothing at all may come while an answer is due.
const SILENCE_MAX: Duration = Duration::from_secs(1);

/// Listens on one server.
pub struct Ear {
    link: MultiplexedConnection,
    topology: Topology,
    noise: Arc<Noise>,
}

/// What comes on a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// A message on a topic.
    Said {
        /// The topic, whatever bytes it has.
        topic: Bytes,
        /// The message, whatever bytes it has.
        message: Bytes,
    },
    /// Topics have gone to another server: this connection is to be made again.
    Moved,
    /// The connection is at its end.
    Gone,
}

/// What has come.
#[derive(Debug, Default)]
struct Noise {
    /// How much.
    count: AtomicU64,
    /// Topics that were asked to end and did not yet.
    ending: AtomicUsize,
}

impl Ear {
    pub(super) async fn connect(
        redis: &Redis,
        server: &Address,
        heard: impl Fn(Heard) + Send + Sync + 'static,
    ) -> Result<Self, Error> {
        let noise = Arc::new(Noise::default());
        let hears = noise.clone();
        let told = move |push: PushInfo| {
            if let Some(what) = hears.read(push) {
                heard(what);
            }
            Ok::<(), ()>(())
        };
        // Answers are waited for here: see the head of this file.
        let settings = settings(redis.timeout()).set_response_timeout(None).set_push_sender(told);
        let info = redis.location().connection(server, As::Given);
        let spoken = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP3);
        let client = Client::open(info.set_redis_settings(spoken))?;
        let link = client.get_multiplexed_async_connection_with_config(&settings).await?;
        let mut ear = Self { link, topology: redis.location().topology().clone(), noise };
        ear.look().await?;
        Ok(ear)
    }

    /// Asks the server whether it is still there, and still what it was.
    ///
    /// # Errors
    /// It does not answer, or cannot be used any more.
    pub async fn look(&mut self) -> Result<Hello, Error> {
        let mut questions = pipe();
        // PING says what HELLO does not: that it loads, or that a script holds it.
        questions.cmd("HELLO").arg(3).cmd("PING");
        let mut answers = self.ask(&questions, 2).await?.into_iter();
        let mut answer = || answers.next().unwrap_or(Value::Nil).extract_error();
        let hello = Hello::read(answer()?)?;
        hello.check(&self.topology)?;
        answer()?;
        Ok(hello)
    }

    /// Hears what is said on these topics from now on.
    ///
    /// # Errors
    /// Not all of them are heard.
    pub async fn begin(&mut self, topics: impl Iterator<Item = &str>) -> Result<(), Error> {
        self.change(if self.is_sharded() { "SSUBSCRIBE" } else { "SUBSCRIBE" }, topics).await
    }

    /// Does not hear any more what is said on these topics.
    ///
    /// # Errors
    /// The connection cannot be used any more.
    pub async fn end(&mut self, topics: impl Iterator<Item = &str>) -> Result<(), Error> {
        self.change(if self.is_sharded() { "SUNSUBSCRIBE" } else { "UNSUBSCRIBE" }, topics).await
    }

    fn is_sharded(&self) -> bool {
        self.topology == Topology::Cluster
    }

    /// One command for each topic, in one pipeline: topics of one command had to lie in one slot.
    async fn change(
        &mut self,
        command: &'static str,
        topics: impl Iterator<Item = &str>,
    ) -> Result<(), Error> {
        let mut pipeline = pipe();
        let mut count = 0;
        for topic in topics {
            pipeline.cmd(command).arg(topic);
            count += 1;
        }
        if count == 0 {
            return Ok(());
        }
        if command.ends_with("UNSUBSCRIBE") {
            self.noise.ending.fetch_add(count, Ordering::AcqRel);
        }
        for answer in self.ask(&pipeline, count).await? {
            answer.extract_error()?;
        }
        Ok(())
    }

    /// Waits for the answers while anything comes.
    async fn ask(&mut self, questions: &Pipeline, count: usize) -> RedisResult<Vec<Value>> {
        let Self { link, noise, .. } = self;
        let mut answers = std::pin::pin!(link.req_packed_commands(questions, 0, count));
        loop {
            let before = noise.count.load(Ordering::Relaxed);
            tokio::select! {
                biased;
                answers = &mut answers => return answers,
                () = sleep(SILENCE_MAX) => {
                    if noise.count.load(Ordering::Relaxed) == before {
                        return Err(silent());
                    }
                }
            }
        }
    }
}

impl Noise {
    fn read(&self, push: PushInfo) -> Option<Heard> {
        self.count.fetch_add(1, Ordering::Relaxed);
        match push.kind {
            PushKind::Message | PushKind::SMessage => {
                let mut parts = push.data.into_iter();
                match (parts.next()?, parts.next()?) {
                    (Value::BulkString(topic), Value::BulkString(message)) => {
                        Some(Heard::Said { topic: topic.into(), message: message.into() })
                    }
                    _ => None,
                }
            }
            PushKind::Unsubscribe | PushKind::SUnsubscribe => {
                // One that nobody asked for: the topic's slot is another server's now.
                let asked = |ending: usize| ending.checked_sub(1);
                let counted = self.ending.try_update(Ordering::AcqRel, Ordering::Acquire, asked);
                counted.is_err().then_some(Heard::Moved)
            }
            PushKind::Disconnection => Some(Heard::Gone),
            _ => None,
        }
    }
}

fn silent() -> RedisError {
    std::io::Error::from(std::io::ErrorKind::TimedOut).into()
}

impl fmt::Debug for Ear {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ear").field("topology", &self.topology).finish_non_exhaustive()
    }
}
