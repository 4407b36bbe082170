//! A question on its way to the server that has its key.

use deadpool_redis::redis::aio::{ConnectionLike, MultiplexedConnection};
use deadpool_redis::redis::{
    Arg, Cmd, Pipeline, RedisError, RedisFuture, RedisResult, Value, pipe,
};

use super::Redis;
use super::failure::{cluster_down, fault, unpooled};
use super::links::{Link, Load};
use super::location::Address;

/// Commands whose key comes after a word more.
const SECOND: &[&str] = &["OBJECT", "XGROUP", "XINFO", "MEMORY", "BITOP"];

/// Commands whose key comes after the script and the number of keys.
const SCRIPTS: &[&str] = &["EVAL", "EVALSHA", "EVAL_RO", "EVALSHA_RO", "FCALL", "FCALL_RO"];

/// Commands without a key.
const KEYLESS: &[&str] = &[
    "ACL", "CLIENT", "CLUSTER", "COMMAND", "CONFIG", "DBSIZE", "FLUSHALL", "FLUSHDB", "HELLO",
    "INFO", "PING", "ROLE", "SCAN", "SCRIPT", "TIME", "WAIT",
];

/// Asks one question, which may be several commands; a command without a key follows the one
/// before it, so that a script is loaded where it is missing.
pub(super) struct Asker<'a> {
    redis: &'a Redis,
    way: Way,
    server: Option<Address>,
}

/// Over which connection a question goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// One of the pool, which was tried before.
    Pooled,
    /// One that others use too.
    Shared(Load),
}

/// A connection for a question.
enum Connected {
    /// For it alone.
    Pooled(deadpool_redis::Connection),
    /// For others at the same time.
    Shared(Link),
}

/// Where a server says that a key is.
enum Elsewhere {
    /// From now on.
    Moved(Address),
    /// For this one question.
    Ask(Address),
}

impl<'a> Asker<'a> {
    pub(super) fn new(redis: &'a Redis, way: Way) -> Self {
        Self { redis, way, server: None }
    }

    /// The server for a key, or for the next command without one.
    async fn choose(&mut self, key: Option<&[u8]>) -> RedisResult<Address> {
        let masters = self.redis.resolve().await?;
        let server = match (key, self.server.take()) {
            (None, Some(server)) => server,
            (None, None) => masters.addresses().first().cloned().ok_or_else(nobody)?,
            (Some(key), _) => masters.of(key).cloned().ok_or_else(nobody)?,
        };
        self.server = Some(server.clone());
        Ok(server)
    }

    async fn connect(&self, server: &Address) -> RedisResult<Connected> {
        let connection = match self.way {
            Way::Shared(load) => {
                let link = self.redis.shared.links.to(self.redis, server, load);
                link.await.map(Connected::Shared)
            }
            Way::Pooled => {
                let pooled = self.redis.pool(server)?.get().await;
                pooled.map(Connected::Pooled).map_err(unpooled)
            }
        };
        connection.inspect_err(|_away| self.redis.suspect())
    }

    async fn ask(&mut self, command: &Cmd) -> RedisResult<Value> {
        let server = self.choose(key(command)).await?;
        let mut connection = self.connect(&server).await?;
        let answer = connection.link().req_packed_command(command).await;
        let answer = self.judge(&server, &connection, answer)?;
        let Some(elsewhere) = elsewhere(&answer, &server) else { return Ok(answer) };
        self.redis.suspect();
        let (server, asks) = match elsewhere {
            Elsewhere::Moved(server) => (server, false),
            Elsewhere::Ask(server) => (server, true),
        };
        let mut connection = self.connect(&server).await?;
        let answer = match asks {
            true => asking(connection.link(), command).await,
            false => connection.link().req_packed_command(command).await,
        };
        let answer = self.judge(&server, &connection, answer);
        self.server = Some(server);
        answer
    }

    /// Where a connection broke, the server may be another by now.
    fn judge<T>(
        &self,
        server: &Address,
        asked: &Connected,
        answer: RedisResult<T>,
    ) -> RedisResult<T> {
        answer.inspect_err(|_broken| {
            self.redis.suspect();
            if let Connected::Shared(link) = asked {
                self.redis.shared.links.put_away(server, link);
            }
        })
    }
}

impl Connected {
    fn link(&mut self) -> &mut MultiplexedConnection {
        match self {
            Self::Pooled(connection) => connection,
            Self::Shared(link) => &mut link.connection,
        }
    }
}

/// Asks for a key that is on its way; in one pipeline, for the permission is for the next command
/// of the connection, whoever sends it.
async fn asking(link: &mut MultiplexedConnection, command: &Cmd) -> RedisResult<Value> {
    let mut both = pipe();
    both.cmd("ASKING").add_command(command.clone());
    let mut answers = link.req_packed_commands(&both, 0, 2).await?;
    Ok(answers.pop().unwrap_or(Value::Nil))
}

impl ConnectionLike for Asker<'_> {
    fn req_packed_command<'a>(&'a mut self, command: &'a Cmd) -> RedisFuture<'a, Value> {
        Box::pin(async move {
            let answer = self.ask(command).await?;
            if let Value::ServerError(error) = &answer {
                if matches!(error.code(), "READONLY" | "MASTERDOWN" | "CLUSTERDOWN") {
                    self.redis.suspect();
                }
                self.redis.remember(fault(&error.clone().into()));
            }
            Ok(answer)
        })
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        pipeline: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        Box::pin(async move {
            let server = self.choose(pipeline.cmd_iter().find_map(key)).await?;
            let mut connection = self.connect(&server).await?;
            let answers = connection.link().req_packed_commands(pipeline, offset, count).await;
            self.judge(&server, &connection, answers)
        })
    }

    fn get_db(&self) -> i64 {
        0
    }
}

/// The key by which the server of a command is found.
fn key(command: &Cmd) -> Option<&[u8]> {
    let mut words = command.args_iter().map(|argument| match argument {
        Arg::Simple(bytes) => bytes,
        // A cursor, or what a later version of the client has.
        _ => &[],
    });
    let name = words.next()?;
    let is = |list: &[&str]| list.iter().any(|known| name.eq_ignore_ascii_case(known.as_bytes()));
    if is(KEYLESS) {
        None
    } else if is(SCRIPTS) {
        let count = words.nth(1)?;
        words.next().filter(|_| count != b"0")
    } else if is(SECOND) {
        words.nth(1)
    } else {
        words.next()
    }
}

fn elsewhere(answer: &Value, asked: &Address) -> Option<Elsewhere> {
    let Value::ServerError(error) = answer else { return None };
    // "3999 127.0.0.1:6381"; without a host it is that of the server that says so.
    let address = || {
        let (host, port) = error.details()?.split_ascii_whitespace().nth(1)?.rsplit_once(':')?;
        let host = if host.is_empty() { &asked.host } else { host };
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        Some(Address { host, port: port.parse().ok()? })
    };
    match error.code() {
        "MOVED" => address().map(Elsewhere::Moved),
        "ASK" => address().map(Elsewhere::Ask),
        _ => None,
    }
}

fn nobody() -> RedisError {
    cluster_down("no server has the key")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_of_a_command_is_found() {
        let of = |words: &[&str]| {
            let mut command = deadpool_redis::redis::cmd(words[0]);
            command.arg(&words[1..]);
            key(&command).map(|key| String::from_utf8(key.to_vec()).unwrap())
        };
        assert_eq!(of(&["get", "a"]).as_deref(), Some("a"));
        assert_eq!(of(&["SET", "a", "b"]).as_deref(), Some("a"));
        assert_eq!(of(&["EVALSHA", "1234", "2", "a", "b"]).as_deref(), Some("a"));
        assert_eq!(of(&["EVAL", "return 1", "0"]), None);
        assert_eq!(of(&["EVAL", "return 1", "0", "argument"]), None);
        assert_eq!(of(&["XINFO", "STREAM", "a"]).as_deref(), Some("a"));
        assert_eq!(of(&["PING"]), None);
        assert_eq!(of(&["SCRIPT", "LOAD", "return 1"]), None);
        assert_eq!(of(&["SPUBLISH", "a", "b"]).as_deref(), Some("a"));
    }
}
