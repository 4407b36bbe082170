//! One client: what it asked for and what it was told. No socket, no clock.
//!
//! Requests go out one after the other, as the protocol asks, for two at once may overtake each
//! other; what is due meanwhile waits, and its time runs. How much may wait is bounded by the run.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::ops::Range;

use anyhow::{Context as _, Result, bail, ensure};
use serde::Deserialize;

use super::http::{Event, post};
use crate::load::tally::Tally;
use crate::load::times::Times;

/// A line of the stream: a page of ten publications of up to 8,000 bytes, and more.
const LINE_MAX: usize = 256 * 1024;

/// Publications of a page of history.
const PAGE: usize = 10;

/// The commands that open a session have these ids; those behind them are requests of the load.
const CONNECT: u64 = 1;
const SUBSCRIBE: u64 = 2;

/// What one request asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// To be in the channel: once, before the load.
    Subscribe,
    /// A publication in it.
    Publish,
    /// The last ones of it.
    History,
    /// How many are there.
    Presence,
    /// The answer to a ping; nothing comes of it.
    Pong,
}

/// One turn of the load: every client goes through it, each from a place of its own.
const MIX: [Kind; 10] = [
    Kind::Publish,
    Kind::History,
    Kind::Publish,
    Kind::Publish,
    Kind::Presence,
    Kind::History,
    Kind::Publish,
    Kind::Publish,
    Kind::History,
    Kind::Publish,
];

/// A request that is due, or under way.
#[derive(Debug, Clone, Copy)]
struct Ask {
    kind: Kind,
    /// By the common clock, in nanoseconds.
    due: u64,
    id: u64,
}

/// What all clients counted and timed.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    /// Requests that are due in here are in the figures of the window.
    pub(super) window: Range<u64>,
    /// Requests are what is published, replies what is received.
    pub(super) tally: Tally,
    /// Publications that came down the streams.
    pub(super) pushed: u64,
    /// Delays of the replies since the last moment that was told.
    pub(super) recent: Times,
}

/// A client.
#[derive(Debug)]
pub(super) struct Session {
    channel: String,
    /// How the server knows it: the beginning of every request's body.
    known_as: Option<String>,
    /// The beginning of a line that is not whole.
    line: Vec<u8>,
    waiting: VecDeque<Ask>,
    /// Sent, and not answered.
    under_way: Option<Ask>,
    /// Answered, and not replied to.
    asked: VecDeque<Ask>,
    entered: bool,
    /// Requests so far, of the load and before it.
    count: u64,
    place: usize,
}

#[derive(Debug, Deserialize)]
struct Connected {
    connect: Names,
}

#[derive(Debug, Deserialize)]
struct Names {
    session: String,
    node: String,
}

impl Session {
    /// A client with this number, in a channel of its own.
    pub(super) fn new(number: usize, channel: String) -> Self {
        Self {
            channel,
            known_as: None,
            line: Vec::new(),
            waiting: VecDeque::new(),
            under_way: None,
            asked: VecDeque::new(),
            entered: false,
            count: SUBSCRIBE,
            place: number,
        }
    }

    /// Writes the request that opens the stream.
    pub(super) fn open(host: &str, token: Option<&str>, out: &mut Vec<u8>) {
        let token = token.map(|token| format!("\"token\":\"{token}\"")).unwrap_or_default();
        let body = format!("{{\"id\":{CONNECT},\"connect\":{{{token}}}}}");
        post("/connection/http_stream", host, body.as_bytes(), out);
    }

    /// The next request of the load is due.
    pub(super) fn due(&mut self, due: u64) {
        let kind = MIX[self.place % MIX.len()];
        (self.place, self.count) = (self.place + 1, self.count + 1);
        self.waiting.push_back(Ask { kind, due, id: self.count });
    }

    pub(super) fn is_in(&self) -> bool {
        self.entered
    }

    /// Whether a connection for requests is needed by now.
    pub(super) fn is_known(&self) -> bool {
        self.known_as.is_some()
    }

    /// Whether nothing is open.
    pub(super) fn is_done(&self) -> bool {
        self.waiting.is_empty() && self.under_way.is_none() && self.asked.is_empty()
    }

    /// Writes the next request, if one is due and none is under way.
    pub(super) fn request(
        &mut self,
        host: &str,
        size: usize,
        now: u64,
        ledger: &mut Ledger,
        out: &mut Vec<u8>,
    ) {
        let (None, Some(known_as)) = (self.under_way, &self.known_as) else { return };
        let Some(ask) = self.waiting.pop_front() else { return };
        let body = format!("{known_as}\"{}\"}}", self.frame(ask, size).replace('"', "\\\""));
        post("/emulation", host, body.as_bytes(), out);
        self.under_way = Some(ask);
        if ask.is_load() {
            // The reply may come before the answer.
            self.asked.push_back(ask);
            ledger.tally.published.sent += 1;
            ledger.tally.received.expected += 1;
            if ledger.window.contains(&ask.due) {
                ledger.tally.window.sent += 1;
                ledger.tally.lateness.record(now.saturating_sub(ask.due));
            }
        }
    }

    /// A command as the protocol has it.
    fn frame(&self, ask: Ask, size: usize) -> String {
        let (id, channel) = (ask.id, &self.channel);
        let mut frame = format!("{{\"id\":{id},");
        let written = match ask.kind {
            Kind::Pong => return "{}".to_owned(),
            Kind::Subscribe => write!(frame, "\"subscribe\":{{\"channel\":\"{channel}\"}}}}"),
            Kind::Publish => {
                let padding = "x".repeat(size.saturating_sub("{\"p\":\"\"}".len()));
                write!(
                    frame,
                    "\"publish\":{{\"channel\":\"{channel}\",\"data\":{{\"p\":\"{padding}\"}}}}}}"
                )
            }
            Kind::History => write!(
                frame,
                "\"history\":{{\"channel\":\"{channel}\",\"limit\":{PAGE},\"reverse\":true}}}}"
            ),
            Kind::Presence => write!(frame, "\"presence_stats\":{{\"channel\":\"{channel}\"}}}}"),
        };
        written.expect("a String takes everything");
        frame
    }

    /// A part of the answer to the request under way.
    pub(super) fn answer(&mut self, event: &Event<'_>, now: u64, ledger: &mut Ledger) {
        let Event::Status(status) = event else { return };
        let Some(ask) = self.under_way.take() else {
            return ledger.tally.complain("an answer to no request");
        };
        if *status == 204 {
            if ask.is_load() && ledger.window.contains(&ask.due) {
                ledger.tally.acknowledged.record(now.saturating_sub(ask.due));
            }
            return;
        }
        ledger.tally.complain(&format!("status {status}"));
        if ask.is_load() {
            self.asked.retain(|asked| asked.id != ask.id);
            ledger.tally.published.refused += 1;
            ledger.tally.received.expected -= 1;
        }
    }

    /// A part of the stream.
    pub(super) fn hear(&mut self, bytes: &[u8], now: u64, ledger: &mut Ledger) -> Result<()> {
        let mut rest = bytes;
        while let Some(end) = memchr::memchr(b'\n', rest) {
            let (line, behind) = rest.split_at(end);
            rest = &behind[1..];
            if self.line.is_empty() {
                self.line(line, now, ledger)?;
            } else {
                let mut whole = std::mem::take(&mut self.line);
                whole.extend_from_slice(line);
                self.line(&whole, now, ledger)?;
            }
        }
        self.line.extend_from_slice(rest);
        ensure!(self.line.len() <= LINE_MAX, "a line of over {LINE_MAX} bytes");
        Ok(())
    }

    fn line(&mut self, line: &[u8], now: u64, ledger: &mut Ledger) -> Result<()> {
        let Some(rest) = line.strip_prefix(br#"{"id":"#) else {
            if line == b"{}" {
                self.waiting.push_back(Ask { kind: Kind::Pong, due: now, id: 0 });
            } else if line.starts_with(br#"{"push":{"disconnect""#) {
                bail!("{}", String::from_utf8_lossy(line));
            } else if !line.is_empty() {
                ledger.pushed += 1;
            }
            return Ok(());
        };
        let digits = rest.iter().take_while(|byte| byte.is_ascii_digit());
        let id = digits
            .fold(0_u64, |id, digit| id.wrapping_mul(10).wrapping_add(u64::from(digit - b'0')));
        let error = memchr::memmem::find(line, br#","error":"#);
        match (id, error) {
            (CONNECT | SUBSCRIBE, Some(_)) => bail!("{}", String::from_utf8_lossy(line)),
            (CONNECT, None) => self.connected(line, now)?,
            (SUBSCRIBE, None) => {
                self.entered = true;
                ledger.tally.connections.entered += 1;
            }
            (id, error) => {
                self.replied(id, now, ledger);
                if let Some(at) = error {
                    ledger.tally.published.refused += 1;
                    ledger.tally.complain(&String::from_utf8_lossy(&line[at + 1..]));
                }
            }
        }
        Ok(())
    }

    fn connected(&mut self, line: &[u8], now: u64) -> Result<()> {
        let connected: Connected = serde_json::from_slice(line).context("no connect reply")?;
        let Names { session, node } = connected.connect;
        self.known_as = Some(format!("{{\"session\":\"{session}\",\"node\":\"{node}\",\"data\":"));
        self.waiting.push_front(Ask { kind: Kind::Subscribe, due: now, id: SUBSCRIBE });
        Ok(())
    }

    fn replied(&mut self, id: u64, now: u64, ledger: &mut Ledger) {
        let Some(place) = self.asked.iter().position(|ask| ask.id == id) else {
            return ledger.tally.complain("a reply to nothing that was asked");
        };
        let Some(ask) = self.asked.remove(place) else { return };
        ledger.tally.received.delivered += 1;
        let delay = now.saturating_sub(ask.due);
        ledger.recent.record(delay);
        if ledger.window.contains(&ask.due) {
            ledger.tally.window.delivered += 1;
            ledger.tally.latency.record(delay);
        }
    }
}

impl Ask {
    fn is_load(self) -> bool {
        matches!(self.kind, Kind::Publish | Kind::History | Kind::Presence)
    }
}

#[cfg(test)]
mod tests;
