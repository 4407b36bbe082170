//! Where logs stand: one query for what many ask at the same time.
//!
//! After a restart of a node thousands of clients come back within seconds, each asking where its
//! rooms stand. Whoever asks while a query is in flight is answered by the next one. When queries
//! follow each other closely each waits a little, so that their number stays small whatever comes;
//! one that comes alone is made at once. No task: the first in line asks for all.

use std::collections::HashMap;
use std::mem;
use std::time::Duration;

use parking_lot::Mutex;
use sqlx::Row as _;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep_until};
use uuid::Uuid;

use super::monitor::Need;
use super::sql::{Database, args};
use super::{Error, Store};
use crate::room::LogId;

/// How soon after another a query may begin. 1,500 clients a second, with two rooms each, are 25
/// queries of 120 then; a client waits at most that long for its reply.
const INTERVAL: Duration = Duration::from_millis(40);

/// So many do not wait for more.
const ENOUGH: usize = 256;

/// Logs in one query.
const QUERY_MAX: usize = 1024;

pub(super) const POSTGRES: &str =
    "SELECT id, head, trimmed, revision FROM rooms WHERE id = ANY ($1)";

pub(super) const SQLITE: &str = "SELECT r.id, r.head, r.trimmed, r.revision \
    FROM json_each($1) asked CROSS JOIN rooms r INDEXED BY sqlite_autoindex_rooms_1 \
        ON r.id = unhex(asked.value)";

/// Where a log stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Head {
    /// The newest offset; 0 for a log in which nothing was ever written.
    pub offset: u64,
    /// Retention removed the offsets up to this one.
    pub trimmed: u64,
    /// Another number means that kept events changed without a new one: what is kept in memory
    /// is to be forgotten.
    pub revision: u64,
}

/// Those who ask where a log stands.
#[derive(Debug, Default)]
pub(super) struct Asked {
    /// Whoever waits for the next query; held to add one or to take all.
    waiting: Mutex<Vec<Question>>,
    /// Whoever holds it asks for all; when the last query began.
    turn: tokio::sync::Mutex<Option<Instant>>,
}

#[derive(Debug)]
struct Question {
    log: LogId,
    answer: oneshot::Sender<Result<Head, Error>>,
}

impl Store {
    /// Gives all offsets a new life: what clients know of their positions no longer counts.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub async fn begin_epoch(&self) -> Result<(), Error> {
        let epoch = Uuid::new_v4().simple().to_string();
        let epoch = epoch.as_bytes().get(..8).unwrap_or_default();
        let mut tx = self.begin().await?;
        tx.execute("UPDATE meta SET value = $1 WHERE key = 'epoch'", args![epoch]).await?;
        tx.commit().await
    }

    /// Where a log stands; one that does not exist stands at 0. Cheap to ask from many tasks at
    /// once.
    ///
    /// # Errors
    /// When the store cannot be asked.
    pub async fn head(&self, log: LogId) -> Result<Head, Error> {
        self.asked.head(log, |logs| async move { self.heads(&logs).await }).await
    }

    /// Where these logs stand, in their order; one that does not exist stands at 0.
    ///
    /// # Errors
    /// When the store cannot be asked.
    pub async fn heads(&self, logs: &[LogId]) -> Result<Vec<Head>, Error> {
        let mut found = HashMap::with_capacity(logs.len());
        for logs in logs.chunks(QUERY_MAX) {
            found.extend(self.monitor.guard(Need::Read, self.query_heads(logs)).await?);
        }
        Ok(logs.iter().map(|log| found.get(log).copied().unwrap_or_default()).collect())
    }

    async fn query_heads(&self, logs: &[LogId]) -> Result<Vec<(LogId, Head)>, sqlx::Error> {
        macro_rules! head {
            ($row:expr) => {{
                let (id, offset, trimmed, revision): (Uuid, i64, i64, i64) =
                    ($row.try_get(0)?, $row.try_get(1)?, $row.try_get(2)?, $row.try_get(3)?);
                let (offset, trimmed) = (offset.cast_unsigned(), trimmed.cast_unsigned());
                let head = Head { offset, trimmed, revision: revision.cast_unsigned() };
                Ok((LogId::from_uuid(id), head))
            }};
        }
        match &self.database {
            Database::Postgres(pool) => {
                let ids: Vec<Uuid> = logs.iter().map(|log| log.uuid()).collect();
                let rows = sqlx::query(POSTGRES).bind(ids).fetch_all(&pool.get()).await?;
                rows.iter().map(|row| head!(row)).collect()
            }
            Database::Sqlite { readers, .. } => {
                let ids: Vec<String> =
                    logs.iter().map(|log| log.uuid().simple().to_string()).collect();
                let ids = serde_json::to_string(&ids).expect("texts are JSON");
                let rows = sqlx::query(SQLITE).bind(ids).fetch_all(readers).await?;
                rows.iter().map(|row| head!(row)).collect()
            }
        }
    }
}

impl Asked {
    async fn head<F>(&self, log: LogId, query: impl Fn(Vec<LogId>) -> F) -> Result<Head, Error>
    where
        F: Future<Output = Result<Vec<Head>, Error>>,
    {
        loop {
            let (answer, mut head) = oneshot::channel();
            self.waiting.lock().push(Question { log, answer });
            let mut turn = tokio::select! {
                biased;
                answered = &mut head => match answered {
                    Ok(head) => return head,
                    // Whoever asked for all has gone: once more.
                    Err(_gone) => continue,
                },
                turn = self.turn.lock() => turn,
            };
            // Answered just before the turn came.
            if let Ok(head) = head.try_recv() {
                return head;
            }
            let waiting = self.waiting.lock().len();
            if let Some(last) = *turn
                && waiting < ENOUGH
            {
                sleep_until(last + INTERVAL).await;
            }
            *turn = Some(Instant::now());
            let questions = mem::take(&mut *self.waiting.lock());
            let mut logs: Vec<LogId> = questions.iter().map(|question| question.log).collect();
            logs.sort_unstable();
            logs.dedup();
            let heads = query(logs.clone()).await;
            for Question { log, answer } in questions {
                let place = logs.binary_search(&log).unwrap_or_default();
                // Nobody waits for it any more.
                drop(answer.send(heads.as_ref().map(|heads| heads[place]).map_err(Error::clone)));
            }
            if let Ok(head) = head.try_recv() {
                return head;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    use tokio::task::JoinSet;
    use tokio::time::sleep;

    use super::*;

    /// Answers with the number of the log, after as long as a query takes.
    #[derive(Debug, Default)]
    struct Source {
        asked: Asked,
        queries: AtomicU64,
    }

    impl Source {
        async fn head(&self, number: u64) -> Result<Head, Error> {
            self.asked.head(log(number), |logs| self.query(logs)).await
        }

        async fn query(&self, logs: Vec<LogId>) -> Result<Vec<Head>, Error> {
            self.queries.fetch_add(1, Ordering::Relaxed);
            sleep(Duration::from_millis(1)).await;
            let head = |log: &LogId| Head {
                offset: u64::try_from(log.uuid().as_u128()).unwrap(),
                ..Head::default()
            };
            Ok(logs.iter().map(head).collect())
        }

        fn queries(&self) -> u64 {
            self.queries.load(Ordering::Relaxed)
        }
    }

    fn log(number: u64) -> LogId {
        LogId::from_uuid(Uuid::from_u128(number.into()))
    }

    #[tokio::test(start_paused = true)]
    async fn thousands_who_come_back_are_few_queries() {
        let source = Arc::new(Source::default());
        let mut clients = JoinSet::new();
        for client in 0..15_000 {
            let source = source.clone();
            clients.spawn(async move {
                // Spread over ten seconds.
                sleep(Duration::from_micros(client * 667)).await;
                let asked = Instant::now();
                let head = source.head(client % 700).await.unwrap();
                assert_eq!(head.offset, client % 700);
                assert!(asked.elapsed() <= INTERVAL * 2, "{:?}", asked.elapsed());
            });
        }
        clients.join_all().await;
        assert!(source.queries() < 15_000 / 50, "{} queries", source.queries());
    }

    #[tokio::test(start_paused = true)]
    async fn one_alone_does_not_wait() {
        let source = Source::default();
        for number in 0..5 {
            let asked = Instant::now();
            source.head(number).await.unwrap();
            assert!(asked.elapsed() < Duration::from_millis(5));
            sleep(INTERVAL).await;
        }
        assert_eq!(source.queries(), 5);
    }

    #[tokio::test(start_paused = true)]
    async fn who_goes_while_asking_for_all_leaves_nobody_behind() {
        let source = Arc::new(Source::default());
        let first = source.clone();
        let mut tasks = JoinSet::new();
        let leader = tasks.spawn(async move { first.head(1).await.unwrap().offset });
        while source.queries() == 0 {
            tokio::task::yield_now().await;
        }
        for number in 2..6 {
            let source = source.clone();
            tasks.spawn(async move { source.head(number).await.unwrap().offset });
        }
        tokio::task::yield_now().await;
        leader.abort();
        let mut offsets = Vec::new();
        while let Some(done) = tasks.join_next().await {
            offsets.extend(done.ok());
        }
        offsets.sort_unstable();
        assert_eq!(offsets, [2, 3, 4, 5]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_failure_is_told_to_everyone_who_waited_for_it() {
        let asked = Asked::default();
        let fails = |_: Vec<LogId>| async {
            sleep(Duration::from_millis(1)).await;
            Err(Error::Broken("as it is".to_owned()))
        };
        let (one, other) = tokio::join!(asked.head(log(1), fails), asked.head(log(2), fails));
        assert!(matches!((one, other), (Err(Error::Broken(_)), Err(Error::Broken(_)))));
    }
}
