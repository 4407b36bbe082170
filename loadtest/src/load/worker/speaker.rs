//! Who speaks next, and when: the schedule of a worker's rooms.
//!
//! Pure: it is asked with the time and knows no socket. An open load has a due time for every
//! message before the first is sent; message `k` of the run goes to room `k % rooms` and is due at
//! `k / rate`, and a worker takes those of its own rooms. A closed load looks at what this worker's
//! members have received: what is under way elsewhere, nobody can know in time.

use std::collections::VecDeque;
use std::ops::Range;

use crate::load::clock::{SECOND, nanos};
use crate::load::plan::{Load, Part, Plan};

/// Messages of a room that may wait for their acknowledgement: ten seconds at the highest rate that
/// one user is allowed by default.
const AWAITED_MAX: usize = 1_000;

/// The schedule.
#[derive(Debug)]
pub(super) struct Speaker {
    /// Rooms whose speaker is here, in order.
    pub(super) rooms: Vec<Room>,
    /// The number of the first of them in the plan.
    first: usize,
    plan: Shape,
    /// From the begin of the load to the end of the window.
    time: Range<u64>,
    /// Turns taken.
    turn: u64,
    /// Rooms that may have something to say since they heard something, each once.
    woken: Vec<u32>,
    /// Of the rooms here: deliveries under way to members here, since the begin.
    expected: u64,
    delivered: u64,
}

/// What the schedule needs of a plan.
#[derive(Debug, Clone, Copy)]
struct Shape {
    load: Load,
    rooms: u64,
    members: u64,
    /// This worker's part of messages under way, where they are counted in all.
    share: u64,
    length: u64,
}

/// A room whose speaker is here.
#[derive(Debug, Clone)]
pub(super) struct Room {
    /// The seat that speaks.
    pub(super) seat: usize,
    /// Members here.
    here: u64,
    /// Messages sent.
    pub(super) sent: u32,
    /// Deliveries to members here.
    delivered: u64,
    /// When messages were due that are not acknowledged yet.
    awaited: VecDeque<u64>,
    woken: bool,
}

/// What is to be said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cue {
    /// Which of [`Speaker::rooms`].
    pub(super) room: usize,
    /// When it is due.
    pub(super) due: u64,
}

impl Speaker {
    /// The schedule of a worker. It is silent until it begins.
    pub(super) fn new(part: &Part) -> Self {
        let plan = &part.plan;
        let seats = plan.seats_of(part.worker);
        let speakers = seats.clone().filter(|seat| plan.publishes(*seat));
        let room = |seat: usize| Room {
            seat,
            here: (seats.end.min(seat + plan.members) - seat) as u64,
            sent: 0,
            delivered: 0,
            awaited: VecDeque::new(),
            woken: false,
        };
        let rooms: Vec<Room> = speakers.map(room).collect();
        let first = rooms.first().map_or(0, |room| room.seat / plan.members);
        Self {
            plan: Shape::of(plan, part.worker),
            rooms,
            first,
            time: 0..0,
            turn: 0,
            woken: Vec::new(),
            expected: 0,
            delivered: 0,
        }
    }

    /// The load begins at this time.
    pub(super) fn begin(&mut self, at: u64) {
        self.time = at..at + self.plan.length;
        if matches!(self.plan.load, Load::Window(_)) {
            (0..self.rooms.len()).for_each(|room| self.wake(room));
        }
    }

    /// Which of [`Speaker::rooms`] the room with this number in the plan is, if it is one.
    pub(super) fn room_of(&self, number: usize) -> Option<usize> {
        let room = number.checked_sub(self.first)?;
        (room < self.rooms.len()).then_some(room)
    }

    /// When there is something to say next, if that has a time.
    pub(super) fn next(&self) -> Option<u64> {
        match self.plan.load {
            Load::Rate(_) if self.rooms.is_empty() => None,
            Load::Rate(rate) => Some(self.due(rate)).filter(|due| *due < self.time.end),
            // What has no time of its own begins with the load, and goes on by what comes.
            Load::Window(_) | Load::Turns(_) => Some(self.time.start).filter(|_| self.turn == 0),
            Load::Nothing => None,
        }
    }

    /// What is to be said now, one after the other.
    pub(super) fn cue(&mut self, now: u64) -> Option<Cue> {
        if self.rooms.is_empty() || !self.time.contains(&now) && !self.is_late(now) {
            return None;
        }
        match self.plan.load {
            Load::Nothing => None,
            Load::Rate(rate) => {
                let due = self.due(rate);
                if due > now || due >= self.time.end {
                    return None;
                }
                Some(Cue { room: self.in_turn(), due })
            }
            Load::Turns(_) => {
                let under_way = self.expected.saturating_sub(self.delivered);
                let free = under_way + self.plan.members <= self.plan.share * self.plan.members;
                free.then(|| Cue { room: self.in_turn(), due: now })
            }
            Load::Window(size) => loop {
                let room = usize::try_from(*self.woken.last()?).ok()?;
                if self.rooms[room].has_place(size) {
                    self.turn += 1;
                    break Some(Cue { room, due: now });
                }
                self.woken.pop();
                self.rooms[room].woken = false;
            },
        }
    }

    /// What was cued is sent: its number was `sent`, and it may be acknowledged.
    pub(super) fn sent(&mut self, cue: Cue, awaits: bool) {
        let room = &mut self.rooms[cue.room];
        room.sent += 1;
        self.expected += room.here;
        if awaits {
            room.awaited.push_back(cue.due);
        }
    }

    /// Whether a room waits for so many acknowledgements that it has to be silent.
    pub(super) fn is_choked(&self, room: usize) -> bool {
        self.rooms[room].awaited.len() >= AWAITED_MAX
    }

    /// The oldest message of a room is acknowledged or refused: when it was due.
    pub(super) fn acknowledged(&mut self, room: usize) -> Option<u64> {
        self.rooms[room].awaited.pop_front()
    }

    /// What a room waits to be acknowledged, the oldest first: number, and when it was due.
    pub(super) fn awaited(&self, room: usize) -> impl Iterator<Item = (u32, u64)> {
        let room = &self.rooms[room];
        let answered = room.sent as usize - room.awaited.len();
        (1..).skip(answered).zip(room.awaited.iter().copied())
    }

    /// A member here received a message of a room here.
    pub(super) fn delivered(&mut self, room: usize) {
        self.delivered += 1;
        self.rooms[room].delivered += 1;
        if matches!(self.plan.load, Load::Window(_)) {
            self.wake(room);
        }
    }

    /// Whether nothing more will be said.
    pub(super) fn is_done(&self, now: u64) -> bool {
        now >= self.time.end && !self.is_late(now)
    }

    /// Whether what was due within the time is not said yet: an open load loses nothing by being
    /// late.
    fn is_late(&self, now: u64) -> bool {
        match self.plan.load {
            Load::Rate(rate) if !self.rooms.is_empty() && now >= self.time.end => {
                self.due(rate) < self.time.end
            }
            _ => false,
        }
    }

    fn wake(&mut self, room: usize) {
        let Ok(number) = u32::try_from(room) else { return };
        if !self.rooms[room].woken {
            self.rooms[room].woken = true;
            self.woken.push(number);
        }
    }

    /// The room whose turn it is; the turn is taken.
    fn in_turn(&mut self) -> usize {
        let rooms = self.rooms.len() as u64;
        let room = self.turn % rooms;
        self.turn += 1;
        usize::try_from(room).expect("it is below the number of rooms")
    }

    /// When the next turn is due.
    fn due(&self, rate: f64) -> u64 {
        let rooms = (self.rooms.len() as u64).max(1);
        let (round, room) = (self.turn / rooms, self.turn % rooms);
        let message = round * self.plan.rooms + self.first as u64 + room;
        self.time.start + after(message, rate)
    }
}

impl Shape {
    fn of(plan: &Plan, worker: usize) -> Self {
        let share = match plan.load {
            Load::Turns(all) => {
                let to = |worker: usize| all as usize * worker / plan.workers;
                (to(worker + 1) - to(worker)) as u64
            }
            Load::Nothing | Load::Rate(_) | Load::Window(_) => 0,
        };
        Self {
            load: plan.load,
            rooms: plan.channels.len() as u64,
            members: plan.members as u64,
            share,
            length: nanos(plan.warm + plan.measure),
        }
    }
}

impl Room {
    fn has_place(&self, size: u32) -> bool {
        let limit = self.delivered + u64::from(size) * self.here;
        (u64::from(self.sent) + 1) * self.here <= limit
    }
}

/// Nanoseconds after the begin at which a message is due.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a run has fewer than 2^53 messages and nanoseconds, and a rate above zero"
)]
fn after(message: u64, rate: f64) -> u64 {
    (message as f64 / rate * SECOND as f64) as u64
}

#[cfg(test)]
mod tests;
