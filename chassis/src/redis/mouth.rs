//! A connection on which is published.

use std::fmt;

use bytes::Bytes;
use deadpool_redis::redis::aio::{ConnectionLike, MultiplexedConnection};
use deadpool_redis::redis::{Pipeline, Value};

use super::Error;

/// Publishes on one server, whatever it is given in one pipeline.
pub struct Mouth {
    link: MultiplexedConnection,
    /// The command of the topology.
    command: &'static str,
}

/// What became of what was published.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Published {
    /// Messages that the server did not take.
    pub refused: usize,
    /// Some of them belong to another server by now.
    pub moved: bool,
}

impl Mouth {
    pub(super) fn new(link: MultiplexedConnection, command: &'static str) -> Self {
        Self { link, command }
    }

    /// Publishes messages, each on its topic, in their order.
    ///
    /// # Errors
    /// When it is not known which of them were taken: the connection cannot be used any more.
    pub async fn publish(&mut self, messages: &[(String, Bytes)]) -> Result<Published, Error> {
        let mut pipeline = Pipeline::with_capacity(messages.len());
        for (topic, message) in messages {
            pipeline.cmd(self.command).arg(topic).arg(&**message);
        }
        let answers = self.link.req_packed_commands(&pipeline, 0, messages.len()).await?;
        let mut published = Published::default();
        for answer in answers {
            if let Value::ServerError(error) = answer {
                published.refused += 1;
                published.moved |= error.code() == "MOVED";
            }
        }
        Ok(published)
    }
}

impl fmt::Debug for Mouth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mouth").field("command", &self.command).finish_non_exhaustive()
    }
}
