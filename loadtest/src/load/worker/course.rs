//! What a worker does when, and what it says about it: orders, the begin, a storm, samples.

use std::io::Write;
use std::ops::Range;

use anyhow::{Context as _, Result, bail};
use rand::seq::SliceRandom as _;

use super::Worker;
use super::client::End;
use super::entrance::Visit;
use super::word::{Order, Report, Sample};
use crate::load::clock::{SECOND, nanos};
use crate::load::plan::Breaker;

/// When somebody who could not come back tries again: as SDKs do at first.
const AGAIN: Range<u64> = SECOND / 2..SECOND * 3 / 2;

/// How much longer than its plan a worker that is told nothing goes on.
const GRACE: u64 = 60 * SECOND;

/// Where a worker is in its run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Course {
    /// Connections are being made.
    Entering,
    /// Everyone is there, and the load has not begun.
    Ready,
    /// Since this time; so many samples were given, and the storm is over, or there is none.
    Running { begin: u64, samples: u32, storm_is_over: bool },
    /// It is told to end.
    Done,
}

impl<W: Write> Worker<W> {
    pub(super) fn obey(&mut self) -> Result<()> {
        let (orders, open) = self.orders.all()?;
        for order in orders {
            match order {
                Order::Prepare(_) => bail!("a worker has one part only"),
                Order::Begin(at) => self.begin(at),
                Order::Finish => {
                    let tally = Box::new(std::mem::take(&mut self.ledger.tally));
                    say(&mut self.reports, &Report::Done(tally))?;
                    self.course = Course::Done;
                }
            }
        }
        if !open && self.course != Course::Done {
            bail!("nobody gives orders any more");
        }
        Ok(())
    }

    fn begin(&mut self, at: u64) {
        let plan = &self.part.plan;
        let window = at + nanos(plan.warm);
        self.ledger.window = window..window + nanos(plan.measure);
        self.speaker.begin(at);
        self.course =
            Course::Running { begin: at, samples: 0, storm_is_over: plan.storm.is_none() };
        self.sample_at = at + nanos(plan.sample(1));
    }

    /// What has a time: who comes in, who is late for it, a storm, a sample.
    pub(super) fn see_to_time(&mut self, now: u64) -> Result<()> {
        self.storm(now);
        while let Some(visit) = self.entrance.next(now, self.entering) {
            self.let_in(visit);
        }
        let clients = &self.clients;
        let is_entering = |visit: Visit| {
            let client = &clients[visit.client as usize];
            client.is_entering() && client.began == visit.at
        };
        if let Some(visit) = self.entrance.late(now, is_entering) {
            self.end(visit.client as usize, &End::Late);
        }
        if self.course == Course::Entering && !self.entrance.is_busy() && self.entering == 0 {
            self.course = Course::Ready;
            let connections = self.ledger.tally.connections;
            say(&mut self.reports, &Report::Ready(connections))?;
        }
        if now >= self.sample_at {
            self.sample(now)?;
        }
        Ok(())
    }

    fn storm(&mut self, now: u64) {
        let Some(storm) = self.part.plan.storm else { return };
        let Course::Running { begin, samples, storm_is_over: false } = self.course else { return };
        let at = begin + nanos(storm.at);
        if now < at {
            self.sample_at = self.sample_at.min(at);
            return;
        }
        self.course = Course::Running { begin, samples, storm_is_over: true };
        if storm.by == Breaker::Servers {
            return;
        }
        let mut away = Vec::new();
        for (number, client) in (0_u32..).zip(&mut self.clients) {
            let speaks = self.part.plan.publishes(self.seats.start + number as usize);
            if client.is_present() && !speaks {
                client.leave();
                away.push(number);
            }
        }
        self.ledger.present -= away.len() as u64;
        // Neighbours are in one room; they come back as strangers.
        away.shuffle(&mut rand::rng());
        self.entrance.storm(&away, at, nanos(storm.spread));
    }

    fn sample(&mut self, now: u64) -> Result<()> {
        let connections = self.ledger.tally.connections;
        let Course::Running { begin, samples, storm_is_over } = self.course else {
            self.sample_at = now + SECOND;
            return say(&mut self.reports, &Report::Entering(connections));
        };
        let plan = &self.part.plan;
        if now < begin + nanos(plan.sample(samples + 1)) {
            // It was woken for something else.
            self.sample_at = begin + nanos(plan.sample(samples + 1));
            return Ok(());
        }
        if now > begin + nanos(plan.warm + plan.measure + plan.drain) + GRACE {
            bail!("nobody said that it is over");
        }
        let samples = samples + 1;
        let sample = Sample {
            number: samples,
            at: now - begin,
            busy: !self.speaker.is_done(now)
                || !storm_is_over
                || self.entrance.is_busy()
                || self.entering > 0,
            connections,
            present: self.ledger.present,
            published: self.ledger.tally.published,
            received: self.ledger.tally.received,
            latency: self.ledger.latency.clone(),
        };
        self.ledger.latency.clear();
        self.course = Course::Running { begin, samples, storm_is_over };
        self.sample_at = begin + nanos(plan.sample(samples + 1));
        say(&mut self.reports, &Report::Sample(Box::new(sample)))
    }

    /// Whether the servers end connections by now, and are meant to.
    pub(super) fn is_broken(&self, now: u64) -> bool {
        let Some(storm) = self.part.plan.storm else { return false };
        let Course::Running { begin, .. } = self.course else { return false };
        storm.by == Breaker::Servers && now >= begin + nanos(storm.at)
    }

    /// Whether somebody whose connection is over comes back, as clients do whose server has ended it.
    pub(super) fn comes_again(&mut self, index: usize, now: u64) -> bool {
        let client = &self.clients[index];
        if !self.is_broken(now) || client.member.entered == 0 {
            return false;
        }
        let spread = self.part.plan.storm.map_or(0, |storm| nanos(storm.spread));
        let wait = if client.is_present() {
            self.ledger.present -= 1;
            rand::random_range(0..=spread)
        } else {
            self.entering -= 1;
            rand::random_range(AGAIN)
        };
        self.clients[index].leave();
        self.entrance.again(u32::try_from(index).unwrap_or(u32::MAX), now + wait);
        true
    }
}

/// Tells the coordinator.
pub(super) fn say(reports: &mut impl Write, report: &Report) -> Result<()> {
    let mut line = serde_json::to_vec(report)?;
    line.push(b'\n');
    reports.write_all(&line).context("nobody listens any more")?;
    reports.flush().context("nobody listens any more")
}
