//! Messages into their logs: one transaction for a batch of drafts.
//!
//! Both databases do the same in the same order: lock the rooms by id, look for repeats, check
//! the right to write on rows read under the lock, give offsets to what is new, write it. A draft
//! that is refused takes no offset and stops no other. The rules stand in `room::permit`; the
//! statements say them again, for a round trip to ask would hold the lock twice as long.
//!
//! Whose transaction was cut off does not know what became of it: that is
//! [`Error::Unavailable`], and the same drafts with their `idem` may come again.

mod postgres;
pub(super) mod sqlite;

use std::collections::HashMap;
use std::ops::Range;

use sqlx::postgres::PgConnection;
use sqlx::sqlite::SqlitePool;
use tokio::time::{Instant, timeout_at};
use uuid::Uuid;

use super::monitor::Need;
use super::sql::Database;
use super::{Access, Appended, Conflict, Draft, Error, Missing, Outcome, Query, Store};
use crate::room::{Denied, LogId, MessageId, Role};

/// The channel of a person's feed begins with it.
const FEED: &str = "user:";

/// What writes.
#[derive(Debug)]
pub(super) enum Writer<'a> {
    /// Any connection, outside of a transaction.
    Postgres(&'a mut PgConnection),
    /// The pool of the one connection that writes.
    Sqlite(&'a SqlitePool),
}

/// Drafts as a database takes them: without the repeats among them.
#[derive(Debug)]
struct Batch<'a> {
    drafts: Vec<&'a Draft>,
    /// Of the sender, as in `publish_keys`; for each draft that may be a repeat.
    hashes: Vec<Option<Vec<u8>>>,
    /// Logs of people, to be made when they do not exist; sorted.
    feeds: Vec<Uuid>,
    /// For each draft that came in, its place in `drafts`, or that of the one it repeats.
    places: Vec<usize>,
}

/// What a database says about a draft.
#[derive(Debug, Clone)]
enum Verdict {
    /// This row is the message.
    Stands { appended: Appended, digest: i64 },
    /// Nothing was written.
    Refused(Error),
}

/// What a draft is to the database, by number.
#[derive(Debug, Clone, Copy)]
struct Status {
    number: i16,
    until: i64,
}

/// Why a transaction gave no verdicts.
#[derive(Debug)]
enum Failed {
    /// The database refused it: nothing was written, and a part of it may be.
    Undone(Error),
    /// Nobody knows what was written, or nothing more can be: a second attempt could write twice.
    ForGood(Error),
}

impl Store {
    /// Appends drafts in their order and says what became of each. What fails together is tried
    /// again in halves, so that in the end only a draft that cannot be written fails.
    ///
    /// # Errors
    /// When the store cannot be used; nothing was tried then.
    pub async fn append(&self, drafts: &[Draft]) -> Result<Vec<Outcome>, Error> {
        let deadline = Instant::now() + self.timeout;
        match &self.database {
            Database::Postgres(pool) => {
                let connection = async { pool.get().acquire().await };
                let mut connection = self.monitor.guard(Need::Write, connection).await?;
                Ok(self.append_with(Writer::Postgres(&mut connection), drafts, deadline).await)
            }
            Database::Sqlite { writer, .. } => {
                Ok(self.append_with(Writer::Sqlite(writer), drafts, deadline).await)
            }
        }
    }

    /// The same over a certain connection, until the deadline. Where that is lost or passes, what
    /// was not done by then is [`Error::Unavailable`], and the connection is not to be used again.
    pub(super) async fn append_with(
        &self,
        mut writer: Writer<'_>,
        drafts: &[Draft],
        deadline: Instant,
    ) -> Vec<Outcome> {
        let mut outcomes: Vec<Outcome> = Vec::with_capacity(drafts.len());
        if drafts.is_empty() {
            return outcomes;
        }
        // The part to do next is the last one.
        let mut parts = Vec::from([Range { start: 0, end: drafts.len() }]);
        while let Some(part) = parts.pop() {
            self.count(Query::Append);
            let tried = self.try_together(&mut writer, &drafts[part.clone()]);
            let tried = timeout_at(deadline, tried).await;
            let too_late = |_elapsed| Err(Failed::ForGood(Error::late()));
            match tried.unwrap_or_else(too_late) {
                Ok(done) => outcomes.extend(done),
                Err(Failed::ForGood(error)) => {
                    outcomes.resize(drafts.len(), Err(error));
                    break;
                }
                Err(Failed::Undone(error)) if part.len() == 1 => {
                    let log = drafts[part.start].log;
                    tracing::error!(%error, %log, "a message cannot be written");
                    outcomes.push(Err(error));
                }
                Err(Failed::Undone(_together)) => {
                    let middle = part.start + part.len() / 2;
                    parts.extend([middle..part.end, part.start..middle]);
                }
            }
        }
        outcomes
    }

    /// One transaction.
    async fn try_together(
        &self,
        writer: &mut Writer<'_>,
        drafts: &[Draft],
    ) -> Result<Vec<Outcome>, Failed> {
        let batch = Batch::new(drafts, |sender| self.sender_hash(sender));
        let append = async {
            match writer {
                Writer::Postgres(connection) => postgres::append(connection, &batch).await,
                Writer::Sqlite(pool) => sqlite::append(pool, &batch).await,
            }
        };
        match self.monitor.guard(Need::Write, append).await {
            Ok(verdicts) => Ok(batch.outcomes(drafts, &verdicts)),
            Err(Error::Database(error)) if matches!(*error, sqlx::Error::Database(_)) => {
                Err(Failed::Undone(Error::Database(error)))
            }
            Err(error) => Err(Failed::ForGood(error)),
        }
    }
}

impl<'a> Batch<'a> {
    fn new(drafts: &'a [Draft], hash: impl Fn(&str) -> Vec<u8>) -> Self {
        let mut batch = Self {
            drafts: Vec::with_capacity(drafts.len()),
            hashes: Vec::with_capacity(drafts.len()),
            feeds: Vec::new(),
            places: Vec::with_capacity(drafts.len()),
        };
        let mut first = HashMap::with_capacity(drafts.len());
        for draft in drafts {
            let next = batch.drafts.len();
            let place = match draft.idem {
                // With another right to write, a repeat may pass where the first did not: left to
                // the database, which refuses both together and then takes them one by one.
                Some(idem) => *first
                    .entry((draft.log, &draft.sender, idem, draft.access == Access::Member))
                    .or_insert(next),
                None => next,
            };
            batch.places.push(place);
            if place == next {
                batch.drafts.push(draft);
                batch.hashes.push(draft.idem.map(|_| hash(&draft.sender)));
                batch.feeds.extend(draft.feed());
            }
        }
        batch.feeds.sort_unstable();
        batch.feeds.dedup();
        batch
    }

    /// The verdicts for each draft that came in, repeats included.
    fn outcomes(&self, drafts: &[Draft], verdicts: &[Verdict]) -> Vec<Outcome> {
        let mut told = vec![false; self.drafts.len()];
        let outcome = |(draft, &place): (&Draft, &usize)| match &verdicts[place] {
            Verdict::Stands { digest, .. } if *digest != draft.digest => {
                told[place] = true;
                Err(Error::Conflict(Conflict::IdemReused))
            }
            Verdict::Stands { appended, .. } => {
                let duplicate = appended.duplicate || told[place];
                told[place] = true;
                Ok(Appended { duplicate, ..*appended })
            }
            Verdict::Refused(error) => Err(error.clone()),
        };
        drafts.iter().zip(&self.places).map(outcome).collect()
    }
}

impl Draft {
    /// The log it is for, when that is a person's feed that the server writes to.
    fn feed(&self) -> Option<Uuid> {
        let user = self.channel.strip_prefix(FEED)?;
        let is_feed = self.access == Access::Server && self.log == LogId::of_feed(user);
        is_feed.then(|| self.log.uuid())
    }
}

impl Status {
    /// There already; below it is written.
    const DUPLICATE: i16 = 1;

    /// Why nothing was written; the numbers are those of `0004_append.sql`.
    fn refusal(self) -> Error {
        let until = u64::try_from(self.until).unwrap_or(0);
        Error::Denied(match self.number {
            2 => return Error::Missing(Missing::Room),
            3 => Denied::Banned { until },
            4 => Denied::NotAMember,
            5 => Denied::Archived,
            6 => Denied::Muted { until },
            7 => Denied::Role { needs: Role::Member },
            other => return Error::Broken(format!("append status {other}")),
        })
    }
}

/// When a message was made, by its id: all that is kept of the time of one whose row is gone.
fn time_of(id: MessageId) -> i64 {
    let time = id.uuid().get_timestamp().map(|time| time.to_unix());
    time.map_or(0, |(seconds, nanos)| {
        i64::try_from(seconds * 1000 + u64::from(nanos / 1_000_000)).unwrap_or(0)
    })
}
