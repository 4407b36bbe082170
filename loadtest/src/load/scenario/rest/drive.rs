//! All clients of the rest scenario in one thread: sockets, the clock, the course of the run.
//!
//! Everyone comes in, then request k of the load is due at start + k / rate and goes to client
//! k modulo their number, whatever the server does; at the end what is open may still be answered.
//! Every wait has an end, and a client whose stream breaks ends the run: there is nothing to
//! measure on a server that hangs up.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::SocketAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, bail, ensure};
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Registry, Token};

use super::http::Answers;
use super::session::{Ledger, Session};
use super::{Options, Site};
use crate::load::alarm::Alarm;
use crate::load::clock::{SECOND, nanos, now};
use crate::load::meter::{Meter, Reading};
use crate::load::scenario::Moment;

/// Clients that come in at once.
const ENTERING_MAX: usize = 64;

/// Longest until all are in.
const ENTRY_MAX: Duration = Duration::from_secs(60);

/// Longest wait for what is open when the load has ended.
const DRAIN_MAX: Duration = Duration::from_secs(10);

/// Longest sleep: so often it is looked whether something has taken too long.
const SLEEP_MAX: Duration = Duration::from_millis(100);

/// Not the token of any client's connection.
const ALARM: Token = Token(usize::MAX);

/// Events of one look.
const EVENTS_MAX: usize = 1024;

/// What is read at once.
const BUFFER_BYTES: usize = 64 * 1024;

/// What may wait to be written on a connection: one request with a publication of 8,000 bytes.
const WAITING_BYTES: usize = 32 * 1024;

/// What came of it.
#[derive(Debug)]
pub(super) struct Driven {
    pub(super) ledger: Ledger,
    pub(super) moments: Vec<Moment>,
    /// With everybody in and nothing asked.
    pub(super) idle: Reading,
    /// At the start of the window,
    pub(super) from: Reading,
    /// and at its end.
    pub(super) to: Reading,
    /// In seconds since 1970.
    pub(super) began_at: u64,
}

/// The loop.
#[derive(Debug)]
pub(super) struct Drive<'a> {
    site: &'a Site,
    options: Options,
    poll: Poll,
    alarm: Alarm,
    clients: Vec<Client>,
    ledger: Ledger,
    buffer: Vec<u8>,
    moments: Vec<Moment>,
}

/// A client with its two connections.
#[derive(Debug)]
struct Client {
    session: Session,
    stream: Link,
    requests: Option<Link>,
}

/// A connection.
#[derive(Debug)]
struct Link {
    socket: TcpStream,
    answers: Answers,
    /// Not written yet.
    waiting: Vec<u8>,
}

/// When what begins and ends, by the common clock.
#[derive(Debug, Clone, Copy)]
struct Course {
    start: u64,
    /// Nanoseconds between two requests.
    every: f64,
    requests: u64,
    measured_from: u64,
    measured_to: u64,
}

impl<'a> Drive<'a> {
    pub(super) fn new(site: &'a Site, options: Options) -> Result<Self> {
        let poll = Poll::new().context("no poll")?;
        Ok(Self {
            site,
            options,
            alarm: Alarm::new(poll.registry(), ALARM)?,
            poll,
            clients: Vec::with_capacity(options.clients),
            ledger: Ledger::default(),
            buffer: vec![0; BUFFER_BYTES],
            moments: Vec::new(),
        })
    }

    /// The whole course.
    pub(super) fn run(
        mut self,
        meter: &Meter,
        watch: &mut (dyn FnMut(&Moment) + Send),
    ) -> Result<Driven> {
        self.ledger.tally.connections.asked = self.options.clients as u64;
        let mut events = Events::with_capacity(EVENTS_MAX);
        self.enter(&mut events, watch)?;
        let idle = meter.read()?;
        let began_at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let course = self.course();
        self.ledger.window = course.measured_from..course.measured_to;
        let (from, to) = self.load(course, &mut events, meter, watch)?;
        let deadline = now() + nanos(DRAIN_MAX);
        while self.clients.iter().any(|client| !client.session.is_done()) && now() < deadline {
            self.look(now() + nanos(SLEEP_MAX), &mut events)?;
        }
        let Self { ledger, moments, .. } = self;
        Ok(Driven { ledger, moments, idle, from, to, began_at })
    }

    /// Everyone comes in, a few at a time.
    fn enter(
        &mut self,
        events: &mut Events,
        watch: &mut (dyn FnMut(&Moment) + Send),
    ) -> Result<()> {
        let deadline = now() + nanos(ENTRY_MAX);
        let mut told = now();
        loop {
            let present = self.clients.iter().filter(|client| client.session.is_in()).count();
            if present == self.options.clients {
                return Ok(());
            }
            ensure!(now() < deadline, "{present} clients came in within {ENTRY_MAX:?}");
            while self.clients.len() < self.options.clients
                && self.clients.len() - present < ENTERING_MAX
            {
                self.open()?;
            }
            if now() > told + SECOND {
                told = now();
                self.tell(-1.0, watch);
            }
            self.look(now() + nanos(SLEEP_MAX), events)?;
        }
    }

    fn open(&mut self) -> Result<()> {
        let number = self.clients.len();
        let mut stream = Link::dial(self.site.address, self.poll.registry(), stream_of(number))?;
        let token = self.site.token(number);
        Session::open(&self.site.host, token.as_deref(), &mut stream.waiting);
        let session = Session::new(number, self.site.channel(number));
        self.clients.push(Client { session, stream, requests: None });
        Ok(())
    }

    fn course(&self) -> Course {
        let start = now() + SECOND / 100;
        let (warm, measure) = (nanos(self.options.warm), nanos(self.options.measure));
        let every = SECOND as f64 / self.options.rate;
        let mut requests = 0;
        while due(start, every, requests) < start + warm + measure {
            requests += 1;
        }
        let measured_from = start + warm;
        Course { start, every, requests, measured_from, measured_to: measured_from + measure }
    }

    /// The load, with a reading at both ends of the window.
    fn load(
        &mut self,
        course: Course,
        events: &mut Events,
        meter: &Meter,
        watch: &mut (dyn FnMut(&Moment) + Send),
    ) -> Result<(Reading, Reading)> {
        let (mut next, mut from, mut told) = (0, None, course.start);
        loop {
            let time = now();
            if from.is_none() && time >= course.measured_from {
                from = Some(meter.read()?);
            }
            if time >= course.measured_to {
                break;
            }
            while next < course.requests && due(course.start, course.every, next) <= time {
                let number = usize::try_from(next % self.clients.len() as u64)?;
                self.clients[number].session.due(due(course.start, course.every, next));
                self.ask(number)?;
                next += 1;
            }
            if time >= told + SECOND {
                told += SECOND;
                self.tell((time - course.start) as f64 / SECOND as f64, watch);
            }
            let until = due(course.start, course.every, next);
            self.look(until.min(course.measured_to), events)?;
        }
        Ok((from.context("the window never began")?, meter.read()?))
    }

    fn tell(&mut self, second: f64, watch: &mut (dyn FnMut(&Moment) + Send)) {
        let tally = &self.ledger.tally;
        let moment = Moment {
            second,
            present: tally.connections.entered,
            gone: tally.connections.ended,
            sent: tally.published.sent,
            expected: tally.received.expected,
            delivered: tally.received.delivered,
            wrong: tally.published.refused,
            latency: self.ledger.recent.clone(),
        };
        self.ledger.recent.clear();
        watch(&moment);
        if second >= 0.0 {
            self.moments.push(moment);
        }
    }

    /// Waits for sockets until a time, and does what they are ready for.
    fn look(&mut self, until: u64, events: &mut Events) -> Result<()> {
        self.alarm.set(until)?;
        match self.poll.poll(events, Some(SLEEP_MAX)) {
            Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error.into()),
            _ => {}
        }
        for event in events.iter() {
            if event.token() == ALARM {
                self.alarm.heard();
                continue;
            }
            let (number, is_stream) = (event.token().0 / 2, event.token().0.is_multiple_of(2));
            let done = if is_stream { self.stream(number) } else { self.requests(number) };
            done.with_context(|| format!("client {number}"))?;
        }
        Ok(())
    }

    /// The stream of a client is ready for something.
    fn stream(&mut self, number: usize) -> Result<()> {
        let Self { clients, ledger, buffer, .. } = self;
        let Client { session, stream, .. } = &mut clients[number];
        stream.flush()?;
        let (mut status, mut wrong) = (None, None);
        let open = stream.read(buffer, |answers, bytes| {
            answers.hear(bytes, |event| match event {
                super::http::Event::Status(number) => status = Some(number),
                super::http::Event::Body(part) if wrong.is_none() => {
                    wrong = session.hear(part, now(), ledger).err();
                }
                super::http::Event::Body(_) | super::http::Event::End => {}
            })
        })?;
        if let Some(error) = wrong {
            return Err(error);
        }
        if let Some(status) = status.filter(|status| *status != 200) {
            bail!("the stream was refused with {status}");
        }
        if !open {
            ledger.tally.connections.ended += 1;
            bail!("the server ended the stream");
        }
        self.ask(number)
    }

    /// The connection for requests is ready for something.
    fn requests(&mut self, number: usize) -> Result<()> {
        let Self { clients, ledger, buffer, .. } = self;
        let Client { session, requests, .. } = &mut clients[number];
        let Some(link) = requests else { return Ok(()) };
        link.flush()?;
        let open = link.read(buffer, |answers, bytes| {
            answers.hear(bytes, |event| session.answer(&event, now(), ledger))
        })?;
        ensure!(open, "the server ended the connection for requests");
        self.ask(number)
    }

    /// Sends the next request of a client, if one is due and none is under way.
    fn ask(&mut self, number: usize) -> Result<()> {
        let client = &mut self.clients[number];
        if !client.session.is_known() {
            return Ok(());
        }
        if client.requests.is_none() {
            let token = requests_of(number);
            client.requests = Some(Link::dial(self.site.address, self.poll.registry(), token)?);
        }
        let Some(link) = &mut client.requests else { return Ok(()) };
        let size = self.options.size;
        client.session.request(&self.site.host, size, now(), &mut self.ledger, &mut link.waiting);
        ensure!(link.waiting.len() <= WAITING_BYTES, "the server takes no request");
        Ok(link.flush()?)
    }
}

impl Link {
    fn dial(address: SocketAddr, registry: &Registry, token: Token) -> io::Result<Self> {
        let mut socket = TcpStream::connect(address)?;
        socket.set_nodelay(true)?;
        registry.register(&mut socket, token, Interest::READABLE | Interest::WRITABLE)?;
        Ok(Self { socket, answers: Answers::default(), waiting: Vec::new() })
    }

    /// Writes what can be written.
    fn flush(&mut self) -> io::Result<()> {
        while !self.waiting.is_empty() {
            match self.socket.write(&self.waiting) {
                Ok(written) => drop(self.waiting.drain(..written)),
                Err(error) if is_not_yet(&error) => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Reads all there is; whether there may be more later.
    fn read(
        &mut self,
        buffer: &mut [u8],
        mut on: impl FnMut(&mut Answers, &[u8]) -> Result<()>,
    ) -> Result<bool> {
        loop {
            match self.socket.read(buffer) {
                Ok(0) => return Ok(false),
                Ok(count) => on(&mut self.answers, &buffer[..count])?,
                Err(error) if is_not_yet(&error) => return Ok(true),
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// Not connected yet, nothing there, no room.
fn is_not_yet(error: &io::Error) -> bool {
    use ErrorKind::{Interrupted, NotConnected, WouldBlock};
    matches!(error.kind(), Interrupted | NotConnected | WouldBlock)
}

/// When a request is due: 53 bits of nanoseconds are a hundred days.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "both are positive")]
fn due(start: u64, every: f64, number: u64) -> u64 {
    start + (number as f64 * every) as u64
}

fn stream_of(client: usize) -> Token {
    Token(client * 2)
}

fn requests_of(client: usize) -> Token {
    Token(client * 2 + 1)
}
