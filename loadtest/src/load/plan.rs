//! What one measurement is, and the part of it that a worker gets.
//!
//! Seats are numbered room by room: seat `s` is number `s % members` of room `s / members`, and the
//! first of a room speaks for it. Workers get equal runs of seats, so that a room may lie on two of
//! them: whoever publishes knows how many members there are in all, whoever receives knows only
//! its own. Everything is bounded here: in connections, in messages, in time.

use std::net::SocketAddr;
use std::ops::Range;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, ensure};
use serde::{Deserialize, Serialize};

use super::dialect::{Seat, Speech, stamp};

/// The most connections of a worker: a process may have 20,000 files here, and some are needed
/// for other things.
pub const CONNECTIONS_MAX: usize = 19_000;

/// The most workers: each has a loopback address of its own.
pub const WORKERS_MAX: usize = 64;

/// The most that is published in a run: ten minutes at more than any server takes.
pub const MESSAGES_MAX: u64 = 60_000_000;

/// The longest run, set-up and drain apart.
pub const RUN_MAX: Duration = Duration::from_secs(3_600);

/// How many connections share a user: the most a server allows unless told otherwise.
pub const SEATS_PER_USER: u32 = 10;

/// One measurement.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// Servers; the connections of each room are spread over all of them.
    pub doors: Vec<SocketAddr>,
    /// How they are spoken to.
    pub speech: Speech,
    /// Over TLS.
    pub tls: Option<Tls>,
    /// The names of the rooms.
    pub channels: Vec<String>,
    /// Connections in each of them.
    pub members: usize,
    /// Bytes of a message.
    pub size: usize,
    /// Worker processes.
    pub workers: usize,
    /// How everyone comes in.
    pub entry: Entry,
    /// What is published, and how.
    pub load: Load,
    /// Before the measuring window: published and checked, but not in the figures.
    pub warm: Duration,
    /// The measuring window.
    pub measure: Duration,
    /// Longest wait for what is still on its way when the window has closed.
    pub drain: Duration,
    /// Everyone goes and comes back once.
    pub storm: Option<Storm>,
}

/// TLS as a client does it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tls {
    /// The name in the server's certificate.
    pub name: String,
    /// A file of PEM certificates that are trusted.
    pub roots: PathBuf,
}

/// How everyone comes in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Most handshakes a worker has under way.
    pub at_once: usize,
    /// Longest that one connection may take until it is in its room.
    pub patience: Duration,
    /// Longest that all may take.
    pub all: Duration,
}

/// What is published.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub enum Load {
    /// Nothing: connections are idle.
    Nothing,
    /// Open: so many messages a second, over all rooms in turn, come what may.
    Rate(f64),
    /// Closed: in each room so many messages are under way at any time.
    Window(u32),
    /// Closed: over all rooms, in turn, so many messages are under way at any time.
    Turns(u32),
}

/// Everyone goes at once and comes back, to be told what was missed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Storm {
    /// When they go, from the start of the load.
    pub at: Duration,
    /// Within which time they come back, in no order.
    pub spread: Duration,
    /// Who ends the connections.
    pub by: Breaker,
}

/// Who ends the connections of a storm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Breaker {
    /// The workers. Only who speaks for a room stays, so that there is something to miss.
    Workers,
    /// The servers, from then on and whenever that is. Who speaks comes back too, and says again
    /// what nobody has acknowledged.
    Servers,
}

/// What a worker gets: the plan, and which of it is its own.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Part {
    /// Its number, from 0.
    pub worker: usize,
    /// The measurement.
    pub plan: Plan,
}

impl Default for Entry {
    fn default() -> Self {
        Self { at_once: 256, patience: Duration::from_secs(20), all: Duration::from_secs(180) }
    }
}

impl Plan {
    /// Connections in all.
    #[must_use]
    pub fn seats(&self) -> usize {
        self.channels.len() * self.members
    }

    /// The seats of a worker.
    #[must_use]
    pub fn seats_of(&self, worker: usize) -> Range<usize> {
        let workers = self.workers.max(1);
        let from = |worker: usize| self.seats() * worker / workers;
        from(worker)..from(worker + 1)
    }

    /// One seat.
    #[must_use]
    pub fn seat(&self, number: usize) -> Seat<'_> {
        let room = number / self.members.max(1);
        let number = u32::try_from(number).expect("a checked plan has fewer seats");
        Seat {
            number,
            room: u32::try_from(room).expect("there are no more rooms than seats"),
            user: number / SEATS_PER_USER,
            channel: &self.channels[room],
        }
    }

    /// Whether a seat speaks for its room.
    #[must_use]
    pub fn publishes(&self, seat: usize) -> bool {
        self.load != Load::Nothing && seat.is_multiple_of(self.members.max(1))
    }

    /// The server of a seat.
    #[must_use]
    pub fn door(&self, seat: usize) -> SocketAddr {
        self.doors[seat % self.doors.len()]
    }

    /// Deliveries a second that an open load asks for.
    #[must_use]
    pub fn deliveries_per_second(&self) -> Option<f64> {
        match self.load {
            Load::Rate(rate) => Some(rate * self.members as f64),
            Load::Nothing | Load::Window(_) | Load::Turns(_) => None,
        }
    }

    /// When workers say how they stand, from the begin of the load: once a second, and ten times
    /// a second when nothing more is published. The first is number 1.
    #[must_use]
    pub fn sample(&self, number: u32) -> Duration {
        let seconds = number.min(self.samples());
        Duration::from_secs(seconds.into()) + (number - seconds) * Duration::from_millis(100)
    }

    /// How many samples there are until nothing more is published.
    #[must_use]
    pub fn samples(&self) -> u32 {
        let seconds = (self.warm + self.measure).as_secs_f64().ceil();
        u32::try_from(Duration::from_secs_f64(seconds).as_secs()).unwrap_or(u32::MAX)
    }

    /// Refuses what cannot be, or would not end.
    ///
    /// # Errors
    /// When a bound is exceeded; the text says which.
    pub fn check(&self) -> Result<()> {
        ensure!(!self.doors.is_empty(), "there is no server");
        ensure!(self.seats() > 0, "there is nobody");
        ensure!((1..=WORKERS_MAX).contains(&self.workers), "1 to {WORKERS_MAX} workers");
        let each = self.seats().div_ceil(self.workers);
        ensure!(
            each <= CONNECTIONS_MAX,
            "{each} connections a worker: over {CONNECTIONS_MAX}, take more workers"
        );
        ensure!(self.size >= stamp::SIZE_MIN, "messages have {} bytes or more", stamp::SIZE_MIN);
        ensure!(self.size <= 60_000, "messages have 60000 bytes or less");
        ensure!(self.entry.at_once > 0, "nobody may come in");
        let length = self.warm + self.measure;
        ensure!(length <= RUN_MAX, "a run ends within {RUN_MAX:?}");
        if let Load::Rate(rate) = self.load {
            ensure!(rate.is_finite() && rate > 0.0, "a rate is above 0");
            let messages = rate * length.as_secs_f64();
            ensure!(messages <= MESSAGES_MAX as f64, "at most {MESSAGES_MAX} messages a run");
        }
        if let Some(storm) = self.storm {
            ensure!(storm.at + storm.spread <= length, "a storm ends before the load does");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::dialect::plain;
    use super::*;

    fn plan(rooms: usize, members: usize, workers: usize) -> Plan {
        Plan {
            doors: vec![([127, 0, 0, 1], 1).into(), ([127, 0, 0, 1], 2).into()],
            speech: Speech::Plain(plain::Settings { path: "/".to_owned() }),
            tls: None,
            channels: (0..rooms).map(|room| format!("r{room}")).collect(),
            members,
            size: 200,
            workers,
            entry: Entry::default(),
            load: Load::Rate(1_000.0),
            warm: Duration::from_secs(1),
            measure: Duration::from_secs(10),
            drain: Duration::from_secs(3),
            storm: None,
        }
    }

    #[test]
    fn every_seat_is_with_one_worker_and_every_room_has_one_who_speaks() {
        for (rooms, members, workers) in [(7, 3, 2), (1, 10, 3), (5, 1, 5), (100, 100, 7)] {
            let plan = plan(rooms, members, workers);
            plan.check().unwrap();
            let mut next = 0;
            for worker in 0..workers {
                let seats = plan.seats_of(worker);
                assert_eq!(seats.start, next);
                next = seats.end;
            }
            assert_eq!(next, rooms * members);
            let speakers = (0..next).filter(|seat| plan.publishes(*seat));
            let rooms_of: Vec<u32> = speakers.map(|seat| plan.seat(seat).room).collect();
            assert!(rooms_of.into_iter().eq(0..u32::try_from(rooms).unwrap()));
        }
    }

    #[test]
    fn a_room_is_spread_over_the_servers() {
        let plan = plan(2, 4, 1);
        assert_ne!(plan.door(0), plan.door(1));
        assert_eq!(plan.door(0), plan.door(2));
    }

    #[test]
    fn what_would_not_end_or_fit_is_refused() {
        assert!(plan(1_000, 39, 2).check().is_err(), "too many for two workers");
        assert!(plan(0, 10, 1).check().is_err(), "nobody");
        let with = |change: fn(&mut Plan)| {
            let mut plan = plan(10, 10, 1);
            change(&mut plan);
            plan.check()
        };
        assert!(with(|plan| plan.load = Load::Rate(f64::NAN)).is_err());
        assert!(with(|plan| plan.load = Load::Rate(1e9)).is_err());
        assert!(with(|plan| plan.measure = Duration::from_secs(4_000)).is_err());
        assert!(with(|plan| plan.size = 10).is_err());
        assert!(with(|plan| plan.doors.clear()).is_err());
    }
}
