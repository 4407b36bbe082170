//! How many connections a person has on all nodes together.
//!
//! Each connection of somebody with a name has a seat: a field of a hash of that person, which
//! says to which incarnation of which node it belongs. A seat is taken before the connection is
//! answered and given back when its guard is dropped; giving back waits for nothing.
//!
//! What Redis has is a copy. Each node knows its own connections, and its task brings Redis up to
//! date with them: what could not be written is marked and written later, all of it again under a
//! new incarnation, so a Redis that was flushed or away is right soon after. While Redis is away,
//! each node goes by its own count, and nobody who is in is put out when it is back.
//!
//! Nobody is refused because of a dead node. When every seat is taken, those of this node that
//! are not its own any more are dropped, and those of other nodes count only when that node has
//! had its lease renewed *since*: that takes a second, which only those wait who are refused, and
//! those who come back from a node that was killed. Meanwhile nodes that live look through their
//! own: see [`doubts`].

mod doubts;

use std::future::ready;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use chassis::redis::commands::{FromRedisValue, ScriptInvocation, cmd};
use chassis::redis::{Error, Script};
use futures_util::stream::iter;
use futures_util::{FutureExt, StreamExt};
use hashbrown::HashMap;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use self::doubts::{ANSWERED, FullHouses};
use super::{LEASE, Nodes};

/// How long a `connect` waits for one answer.
const ASK_TIMEOUT: Duration = Duration::from_millis(250);

/// How long a node may take to show that it lives: two beats and a little.
const PROOF_TIMEOUT: Duration = Duration::from_millis(2200);

/// Between two looks at whether it has.
const PROOF_LOOK: Duration = Duration::from_millis(500);

/// How long the hash of a person is kept that nobody writes to.
const KEPT: Duration = Duration::from_secs(24 * 60 * 60);

/// Every seat is written again this often, so that no hash goes while it is used.
const REFRESH: Duration = Duration::from_secs(6 * 60 * 60);

/// Seats that are given back and not written yet: as many connections as a node has, which may all
/// end at once. More are left to the next one who finds the house full, and to the end of the
/// hash. About 100 bytes each.
const MARKED_MAX: usize = 256 * 1024;

/// Writes on their way at once: more gain nothing, and questions of clients go between them.
const WRITES_MAX: usize = 8;

/// Marks that are worked on at once.
const BATCH: usize = 512;

/// Before what failed is tried again.
const RETRY: Duration = Duration::from_millis(500);

static SCRIPT: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("seats.lua")));
static BEATEN: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("beaten.lua")));

/// The seats of this node's connections.
#[derive(Debug)]
pub struct Seats {
    nodes: Arc<Nodes>,
    /// The most a person may have.
    most: usize,
    state: Mutex<State>,
    /// Something is marked.
    marked: Notify,
    /// The first lease was waited for.
    has_begun: AtomicBool,
    full: FullHouses,
}

/// Held for one look at a time.
#[derive(Debug, Default)]
struct State {
    /// The connections of this node, those that ask for a seat among them.
    held: HashMap<Uuid, Held>,
    /// Those of which Redis is to be told: that they are held, or that they are not any more.
    marked: HashMap<Uuid, Arc<str>>,
}

/// What is known of one connection of this node.
#[derive(Debug)]
struct Held {
    user: Arc<str>,
    /// It is let in; until then nothing but its question tells Redis of it.
    is_seated: bool,
}

/// The seat of one connection; dropping it gives it back.
#[derive(Debug)]
pub struct Seat {
    seats: Arc<Seats>,
    connection: Uuid,
}

/// The person has as many connections as allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("every seat is taken")]
pub struct Taken;

/// A connection that has a seat, and the incarnation of its node; `None` for what no node wrote.
type Found = (String, Option<Uuid>);

/// What can be said of those who have all seats.
#[derive(Debug, PartialEq, Eq)]
enum Standing {
    /// They are all there.
    AllLive,
    /// These are not.
    Gone(Vec<String>),
    /// Some may not be.
    Unproven,
}

impl Seats {
    /// Nobody's yet; a person may have `most`.
    #[must_use]
    pub fn new(nodes: Arc<Nodes>, most: usize) -> Arc<Self> {
        let (state, marked, full) = (Mutex::default(), Notify::new(), FullHouses::default());
        Arc::new(Self { nodes, most, state, marked, has_begun: AtomicBool::new(false), full })
    }

    /// A seat for a connection; when Redis cannot say, there is one.
    ///
    /// # Errors
    /// When all are taken, by connections of nodes that live.
    pub async fn take(self: &Arc<Self>, user: &Arc<str>, connection: Uuid) -> Result<Seat, Taken> {
        // Held before it is asked for: whatever becomes of this call, the guard gives it back.
        let held = Held { user: user.clone(), is_seated: false };
        self.state.lock().held.insert(connection, held);
        let seat = Seat { seats: self.clone(), connection };
        let incarnation = self.nodes.incarnation();
        // On the heap: every session would have room for it.
        let decided = self.decide(user, connection).boxed().await;
        if matches!(decided, Ok(false)) {
            return Err(Taken);
        }
        if let Some(held) = self.state.lock().held.get_mut(&connection) {
            held.is_seated = true;
        }
        if let Err(error) = &decided {
            tracing::debug!(%error, "seats are counted by this node alone");
        }
        // Under a new incarnation those that were seated then are written again, and this was not.
        if decided.is_err() || self.nodes.incarnation() != incarnation {
            self.mark(connection, user);
        }
        Ok(seat)
    }

    /// Whether there is a seat.
    async fn decide(&self, user: &Arc<str>, connection: Uuid) -> Result<bool, Error> {
        if !self.is_leased().await {
            return Err(Error::Late);
        }
        let Some(mut found) = self.ask(user, connection, self.most, &[]).await? else {
            return Ok(true);
        };
        let begun = Instant::now();
        if self.full.knows(user, begun) {
            return Ok(false);
        }
        let (since_ms, _) = self.ends(&[]).await?;
        let is_asked = self.doubt(user, &found).await;
        let answered = if is_asked { begun + ANSWERED } else { begun };
        let until = begun + PROOF_TIMEOUT;
        loop {
            let now = Instant::now();
            let gone = match self.standing(&found, since_ms, now >= until).await? {
                Standing::AllLive if now >= answered => {
                    self.full.remember(user, now);
                    return Ok(false);
                }
                Standing::Gone(gone) => gone,
                Standing::AllLive | Standing::Unproven => {
                    sleep_until(until.min(now + PROOF_LOOK)).await;
                    Vec::new()
                }
            };
            match self.ask(user, connection, self.most, &gone).await? {
                Some(full) => found = full,
                None => return Ok(true),
            }
        }
    }

    /// A node that starts has its lease in a moment; one that has lost it does not wait.
    async fn is_leased(&self) -> bool {
        if !self.nodes.has_lease() && !self.has_begun.load(Ordering::Relaxed) {
            // That it took too long is seen next.
            let _late = timeout(ASK_TIMEOUT, self.nodes.leased()).await;
        }
        self.has_begun.store(true, Ordering::Relaxed);
        self.nodes.has_lease()
    }

    /// Asks for a seat once; who has them when there is none.
    async fn ask(
        &self,
        user: &str,
        connection: Uuid,
        most: usize,
        gone: &[String],
    ) -> Result<Option<Vec<Found>>, Error> {
        let mut script = SCRIPT.prepare_invoke();
        script.key(self.key(user)).arg(connection.to_string());
        script.arg(self.nodes.incarnation().to_string()).arg(most);
        script.arg(u64::try_from(KEPT.as_millis()).unwrap_or(u64::MAX)).arg(gone);
        let (seated, found) = self.invoke::<(u64, Vec<String>)>(&script).await?;
        let found = found.chunks_exact(2).map(|seat| (seat[0].clone(), seat[1].parse().ok()));
        Ok((seated == 0).then(|| found.collect()))
    }

    async fn standing(
        &self,
        found: &[Found],
        since_ms: u64,
        is_over: bool,
    ) -> Result<Standing, Error> {
        let own = self.nodes.incarnation();
        let others = found.iter().filter_map(|(_, incarnation)| *incarnation);
        let others: Vec<Uuid> = others.filter(|incarnation| *incarnation != own).collect();
        let (_, ends) = self.ends(&others).await?;
        let ends: HashMap<Uuid, u64> = others.into_iter().zip(ends).collect();
        let lease_ms = u64::try_from(LEASE.as_millis()).unwrap_or(u64::MAX);
        let (mut gone, mut unproven) = (Vec::new(), false);
        for (connection, incarnation) in found {
            let is_live = match incarnation.and_then(|it| ends.get(&it)) {
                // Of this node, in this life or an earlier one, or of nobody.
                None | Some(0) => self.is_held(connection),
                Some(ends_ms) if ends_ms.saturating_sub(lease_ms) >= since_ms => true,
                Some(_) => {
                    unproven |= !is_over;
                    !is_over
                }
            };
            if !is_live {
                gone.push(connection.clone());
            }
        }
        Ok(match (gone.is_empty(), unproven) {
            (false, _) => Standing::Gone(gone),
            (true, true) => Standing::Unproven,
            (true, false) => Standing::AllLive,
        })
    }

    /// The time of Redis, and when these leases end.
    async fn ends(&self, incarnations: &[Uuid]) -> Result<(u64, Vec<u64>), Error> {
        let mut script = BEATEN.prepare_invoke();
        script.key(self.nodes.key("alive"));
        for incarnation in incarnations {
            script.arg(incarnation.to_string());
        }
        self.invoke(&script).await
    }

    async fn invoke<T: FromRedisValue>(&self, script: &ScriptInvocation<'_>) -> Result<T, Error> {
        let answer = timeout(ASK_TIMEOUT, self.nodes.redis().invoke(script)).await;
        answer.unwrap_or(Err(Error::Late))
    }

    fn is_held(&self, connection: &str) -> bool {
        let id = connection.parse().ok();
        id.is_some_and(|id: Uuid| self.state.lock().held.contains_key(&id))
    }

    fn key(&self, user: &str) -> String {
        format!("{}:s:{user}", self.nodes.prefix())
    }

    /// Redis is to be told of this connection.
    fn mark(&self, connection: Uuid, user: &Arc<str>) {
        let mut state = self.state.lock();
        // Those that are held are as many as there are connections.
        if state.marked.len() < MARKED_MAX || state.held.contains_key(&connection) {
            state.marked.insert(connection, user.clone());
        }
        drop(state);
        self.marked.notify_one();
    }

    fn mark_all(&self) {
        let state = &mut *self.state.lock();
        let seated = state.held.iter().filter(|(_, held)| held.is_seated);
        state.marked.extend(seated.map(|(connection, held)| (*connection, held.user.clone())));
    }

    /// Brings Redis up to date until `stop`.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        tokio::select! {
            biased;
            () = stop.cancelled() => {}
            ((), ()) = async { tokio::join!(self.follow(), self.answer()) } => {}
        }
    }

    async fn follow(&self) {
        let mut registration = self.nodes.registration();
        let mut refresh = interval(REFRESH);
        refresh.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                // The sender lives as long as the nodes, which are held here.
                _ = registration.changed() => self.mark_all(),
                _ = refresh.tick() => self.mark_all(),
                () = self.marked.notified() => {}
            }
            loop {
                // Under a lost incarnation nothing is written: others remove it.
                self.nodes.leased().await;
                match self.write().await {
                    Written::Nothing => break,
                    Written::All => {}
                    Written::Part => sleep(RETRY).await,
                }
            }
        }
    }

    /// Writes some of what is marked; what fails stays marked.
    async fn write(&self) -> Written {
        let batch: Vec<(Uuid, Arc<str>)> = {
            let mut state = self.state.lock();
            let some: Vec<Uuid> = state.marked.keys().take(BATCH).copied().collect();
            some.iter().filter_map(|connection| state.marked.remove_entry(connection)).collect()
        };
        if batch.is_empty() {
            return Written::Nothing;
        }
        let writes = iter(batch).map(async |(connection, user)| {
            let told = self.tell(connection, &user).await;
            told.err().map(|error| (connection, user, error))
        });
        let failed: Vec<_> = writes.buffer_unordered(WRITES_MAX).filter_map(ready).collect().await;
        let Some((_, _, error)) = failed.first() else { return Written::All };
        tracing::debug!(%error, failed = failed.len(), "seats could not be written");
        let mut state = self.state.lock();
        for (connection, user, _) in failed {
            state.marked.entry(connection).or_insert(user);
        }
        Written::Part
    }

    /// Tells Redis whether a connection has a seat. What changes meanwhile is marked again.
    async fn tell(&self, connection: Uuid, user: &str) -> Result<(), Error> {
        if self.state.lock().held.contains_key(&connection) {
            return self.ask(user, connection, 0, &[]).await.map(|_| ());
        }
        let mut leave = cmd("HDEL");
        leave.arg(self.key(user)).arg(connection.to_string());
        self.nodes.redis().query(&leave).await
    }
}

/// What came of a round of writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Written {
    /// There was nothing to write.
    Nothing,
    /// Everything of this round.
    All,
    /// Some of it.
    Part,
}

impl Drop for Seat {
    fn drop(&mut self) {
        let held = self.seats.state.lock().held.remove(&self.connection);
        if let Some(Held { user, is_seated }) = held {
            if is_seated {
                self.seats.full.forget(&user);
            }
            self.seats.mark(self.connection, &user);
        }
    }
}
