//! One process, one thread: thousands of clients that only parse frames.
//!
//! ```text
//! word       what a worker and its coordinator say to each other
//! orders     the end of that which is here
//! course     what it does when, and says about it
//! entrance   who comes in when
//! client     one connection, from the first packet to the last
//! wire       its bytes, with TLS or without
//! speaker    who publishes when
//! ledger     what is counted
//! ```
//!
//! The loop waits for sockets, for the next message that is due, and for orders. It allocates
//! nothing for a read and nothing for a delivery. It ends when it is told to, or when nobody is
//! there to tell it any more, and all its connections with it.

mod client;
mod course;
mod entrance;
mod ledger;
mod orders;
mod speaker;
mod wire;
pub mod word;

use std::io::Write;
use std::ops::Range;
use std::os::fd::OwnedFd;

use anyhow::{Context as _, Result, bail};
use mio::event::Event;
use mio::{Events, Poll, Token};

use self::client::{Client, End, Stage, close};
use self::course::{Course, say};
use self::entrance::{Entrance, Visit};
use self::ledger::Ledger;
use self::orders::Orders;
use self::speaker::Speaker;
use self::wire::{Dialing, More, Wire};
use self::word::{Order, Report};
use super::alarm::Alarm;
use super::clock::{self, SECOND};
use super::dialect::frame::{self, Opcode};
use super::dialect::{Dialect, Heard, Position, Stamp};
use super::plan::{Load, Part};

/// Bytes of one read, for all clients: what a server under pressure writes at once.
const BUFFER_BYTES: usize = 256 * 1024;

/// Sockets that are told of at once.
const EVENTS: usize = 1024;

/// Sockets that are served before it is looked again what is due: about 50 us of work.
const EVENTS_BETWEEN: usize = 32;

const ORDERS: Token = Token(usize::MAX);
const ALARM: Token = Token(usize::MAX - 1);

/// A worker at work.
struct Worker<W> {
    part: Part,
    seats: Range<usize>,
    dialect: Box<dyn Dialect>,
    dialing: Dialing,
    poll: Poll,
    alarm: Alarm,
    orders: Orders,
    reports: W,
    entrance: Entrance,
    /// Who is on the way in.
    entering: usize,
    clients: Vec<Client>,
    /// The life of each room's log, for those who return; from the room of the first seat on.
    epochs: Vec<String>,
    speaker: Speaker,
    ledger: Ledger,
    heard: Heard,
    buffer: Box<[u8]>,
    frame: Vec<u8>,
    course: Course,
    /// When it is said next how it stands.
    sample_at: u64,
}

/// Does what `orders` say and writes what comes of it to `reports`, until it is told to end or
/// nobody gives orders any more.
///
/// # Errors
/// When it cannot go on. The coordinator is told of it too, if it is still there.
pub fn run(orders: OwnedFd, mut reports: impl Write) -> Result<()> {
    let mut orders = Orders::new(orders);
    let Some(Order::Prepare(part)) = orders.wait()? else { bail!("a worker begins with its part") };
    let ended = Worker::new(*part, orders, &mut reports).and_then(|mut worker| worker.work());
    if let Err(error) = &ended {
        // Who is not there cannot be told.
        say(&mut reports, &Report::Failed(format!("{error:#}"))).ok();
    }
    ended
}

impl<W: Write> Worker<W> {
    fn new(part: Part, orders: Orders, reports: W) -> Result<Self> {
        wire::open_files()?;
        part.plan.check()?;
        let seats = part.plan.seats_of(part.worker);
        let poll = Poll::new().context("epoll")?;
        orders.watch(poll.registry(), ORDERS)?;
        let mut ledger = Ledger::default();
        ledger.tally.connections.asked = seats.len() as u64;
        let rooms = seats.end.div_ceil(part.plan.members) - seats.start / part.plan.members;
        Ok(Self {
            dialect: part.plan.speech.dialect(),
            dialing: Dialing::new(&part)?,
            alarm: Alarm::new(poll.registry(), ALARM).context("a timer")?,
            poll,
            orders,
            reports,
            entrance: Entrance::new(&part.plan.entry, u32::try_from(seats.len())?),
            entering: 0,
            clients: seats.clone().map(|_| Client::default()).collect(),
            epochs: vec![String::new(); rooms],
            speaker: Speaker::new(&part),
            ledger,
            heard: Heard::default(),
            buffer: vec![0; BUFFER_BYTES].into(),
            frame: Vec::new(),
            course: Course::Entering,
            sample_at: clock::now() + SECOND,
            part,
            seats,
        })
    }

    fn work(&mut self) -> Result<()> {
        let mut events = Events::with_capacity(EVENTS);
        loop {
            self.see_to_time(clock::now())?;
            self.speak();
            if self.course == Course::Done {
                return Ok(());
            }
            let wake_at = [self.speaker.next(), self.entrance.wake_at(), Some(self.sample_at)];
            let wake_at = wake_at.into_iter().flatten().min().unwrap_or(self.sample_at);
            self.alarm.set(wake_at).context("a timer")?;
            match self.poll.poll(&mut events, None) {
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                polled => polled.context("epoll")?,
            }
            for (number, event) in events.iter().enumerate() {
                match event.token() {
                    ORDERS => self.obey()?,
                    ALARM => self.alarm.heard(),
                    Token(client) => self.attend(client, event),
                }
                if number % EVENTS_BETWEEN == EVENTS_BETWEEN - 1 {
                    self.speak();
                }
            }
        }
    }

    fn let_in(&mut self, visit: Visit) {
        let index = visit.client as usize;
        let door = self.part.plan.door(self.seats.start + index);
        self.entering += 1;
        let client = &mut self.clients[index];
        client.began = visit.at;
        let wire = Wire::dial(&self.dialing, door, self.poll.registry(), Token(index));
        match wire {
            Ok(wire) => client.stage = Stage::Dialing(wire),
            Err(error) => self.end(index, &End::Broken(error)),
        }
    }

    /// Publishes what is due.
    fn speak(&mut self) {
        while let Some(cue) = self.speaker.cue(clock::now()) {
            let room = &self.speaker.rooms[cue.room];
            let (seat, number) = (room.seat, room.sent + 1);
            let index = seat - self.seats.start;
            let awaits = self.dialect.acknowledges();
            let choked = awaits && self.speaker.is_choked(cue.room);
            let client = &mut self.clients[index];
            let present = client.is_present() && !choked;
            let wire = client.wire().filter(|wire| present && wire.takes_more());
            let Some(wire) = wire else {
                // A closed load says it when it can; an open one has missed its time.
                if !matches!(self.part.plan.load, Load::Rate(_)) {
                    return;
                }
                // Who is away by somebody else's doing has nothing to say until they are back.
                let excused = !self.clients[index].is_present() && self.is_broken(clock::now());
                self.ledger.tally.published.unsent += u64::from(!excused);
                continue;
            };
            let plan = &self.part.plan;
            let stamp = Stamp { due: cue.due, number };
            self.frame.clear();
            self.dialect.publish(&plan.seat(seat), stamp, plan.size, &mut self.frame);
            let written = wire.write(&self.frame);
            self.speaker.sent(cue, awaits);
            self.ledger.sent(cue.due, plan.members, clock::now());
            if let Err(error) = written {
                self.end(index, &End::Broken(error));
            }
        }
    }

    /// Something happened to a client's socket.
    fn attend(&mut self, index: usize, event: &Event) {
        if let Err(end) = self.serve(index, event) {
            self.end(index, &end);
        }
    }

    fn serve(&mut self, index: usize, event: &Event) -> Result<(), End> {
        let client = &mut self.clients[index];
        if let Stage::Dialing(wire) = &mut client.stage {
            if !wire.is_made()? {
                return Ok(());
            }
            let seat = self.seats.start + index;
            let host = self.part.plan.door(seat).to_string();
            self.frame.clear();
            self.dialect.request(&host, &self.part.plan.seat(seat), &mut self.frame);
            wire.write(&self.frame)?;
            client.advance();
        } else if event.is_writable()
            && let Some(wire) = client.wire()
        {
            wire.flush()?;
        }
        let closed = event.is_read_closed() || event.is_error();
        loop {
            match self.read(index)? {
                (_, More::Never) => return Err(End::Closed),
                (0, More::NotNow) => return Ok(()),
                // What was sent before the end is heard to the end.
                (_, More::NotNow) if !closed => return Ok(()),
                (_, More::NotNow | More::Perhaps) => {}
            }
        }
    }

    /// Reads once and does what follows from it.
    fn read(&mut self, index: usize) -> Result<(usize, More), End> {
        let Self { clients, dialect, heard, buffer, .. } = self;
        heard.clear();
        let mut read_at = 0;
        let gained = clients[index].read(buffer, |opcode, payload| {
            if read_at == 0 {
                read_at = clock::now();
            }
            match opcode {
                Opcode::Text | Opcode::Binary => dialect.hear(payload, heard),
                Opcode::Ping => {
                    let out = &mut heard.answer;
                    frame::write(Opcode::Pong, out, |out| out.extend_from_slice(payload));
                }
                Opcode::Close => heard.over = Some(close(payload)),
                Opcode::Pong => {}
            }
        })?;
        if gained.upgraded {
            self.greet(index)?;
        }
        if read_at > 0 {
            self.ledger.read(gained.bytes, read_at);
            self.take(index, read_at)?;
        }
        Ok((gained.bytes, gained.more))
    }

    /// The server speaks WebSocket now.
    fn greet(&mut self, index: usize) -> Result<(), End> {
        let now = clock::now();
        let seat = self.part.plan.seat(self.seats.start + index);
        let client = &mut self.clients[index];
        let member = client.member;
        if member.entered == 0 {
            self.ledger.tally.handshake.record(now.saturating_sub(client.began));
        }
        let room = seat.room as usize - self.seats.start / self.part.plan.members;
        let since = (member.entered > 0)
            .then(|| Position { epoch: self.epochs[room].clone(), offset: member.offset });
        self.frame.clear();
        self.dialect.greet(&seat, since.as_ref(), &mut self.frame);
        if self.frame.is_empty() {
            self.entered(index, Position::default(), now)?;
        } else if let Some(wire) = client.wire() {
            wire.write(&self.frame)?;
        }
        Ok(())
    }

    /// Does what follows from what was heard.
    fn take(&mut self, index: usize, now: u64) -> Result<(), End> {
        let room = (self.seats.start + index) / self.part.plan.members;
        let spoken_here = self.speaker.room_of(room);
        let answers = (self.heard.accepted, self.heard.refused);
        if let Some(room) = spoken_here.filter(|_| answers != (0, 0)) {
            self.ledger.answered(&mut self.speaker, room, answers, now);
        }
        if let Some(position) = self.heard.entered.take() {
            self.entered(index, position, now)?;
        }
        let client = &mut self.clients[index];
        for sighting in &self.heard.sightings {
            self.ledger.hear(&mut client.member, sighting, now);
            if let Some(room) = spoken_here {
                self.speaker.delivered(room);
            }
        }
        if let Some(complaint) = self.heard.complaint.take() {
            self.ledger.tally.complain(&complaint);
        }
        if !self.heard.answer.is_empty()
            && let Some(wire) = client.wire()
        {
            wire.write(&self.heard.answer)?;
        }
        self.heard.over.take().map_or(Ok(()), |over| Err(End::Told(over)))
    }

    /// A client is in its room.
    fn entered(&mut self, index: usize, position: Position, now: u64) -> Result<(), End> {
        let client = &mut self.clients[index];
        if client.is_present() {
            return Ok(());
        }
        client.advance();
        let took = now.saturating_sub(client.began);
        let tally = &mut self.ledger.tally;
        if client.member.entered == 0 {
            client.member.offset = position.offset;
            tally.connections.entered += 1;
            tally.entry.record(took);
        } else {
            tally.connections.returned += 1;
            tally.comeback.record(took);
            if let Course::Running { begin, .. } = self.course {
                tally.last_return = tally.last_return.max(now.saturating_sub(begin));
            }
        }
        client.member.entered = now;
        self.entering -= 1;
        self.ledger.present += 1;
        let members = self.part.plan.members;
        let room = (self.seats.start + index) / members - self.seats.start / members;
        if self.epochs[room].is_empty() {
            self.epochs[room] = position.epoch;
        }
        self.say_again(index)
    }

    /// Who is back says again what nobody has acknowledged: it may be stored or not, and is the
    /// same message either way.
    fn say_again(&mut self, index: usize) -> Result<(), End> {
        let plan = &self.part.plan;
        let seat = self.seats.start + index;
        let room = self.speaker.room_of(seat / plan.members);
        let Some(room) = room.filter(|_| plan.publishes(seat)) else { return Ok(()) };
        self.frame.clear();
        for (number, due) in self.speaker.awaited(room) {
            let stamp = Stamp { due, number };
            self.dialect.publish(&plan.seat(seat), stamp, plan.size, &mut self.frame);
        }
        match self.clients[index].wire() {
            Some(wire) if !self.frame.is_empty() => Ok(wire.write(&self.frame)?),
            _ => Ok(()),
        }
    }

    /// A client's connection is over.
    fn end(&mut self, index: usize, end: &End) {
        if self.comes_again(index, clock::now()) {
            return;
        }
        let client = &mut self.clients[index];
        let connections = &mut self.ledger.tally.connections;
        if client.is_present() {
            connections.ended += 1;
            self.ledger.present -= 1;
        } else {
            connections.failed += 1;
            self.entering -= 1;
        }
        client.leave();
        client.stage = Stage::Gone;
        self.ledger.tally.complain(&end.to_string());
    }
}
