//! What a run is told as: a table for people, JSON for programs.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use crate::check::client::{Kind, Record};
use crate::check::faults::{Happened, Kind as Fault, Schedule};
use crate::check::figures::Row;
use crate::check::options::Options;
use crate::check::run::{Ending, Presence};
use crate::check::stage::HISTORY_SIZE;
use crate::check::voice::Voice;
use crate::check::world::World;
use crate::check::{plain, rooms};

/// So many of each kind of what is wrong are told on a terminal; the JSON has all.
const TOLD_MAX: usize = 6;

/// How long a client waits for an answer, and a little for it to notice.
const WAITED: Duration = Duration::from_millis(5_500);

/// All there is to say about a run.
#[derive(Debug, Default)]
pub struct Report {
    /// The seed that makes it again.
    pub seed: u64,
    /// How large it was, in words.
    pub size: String,
    /// How long it took.
    pub took: Duration,
    /// What was broken.
    pub happened: Vec<Happened>,
    /// Whether every message was acknowledged, or refused for good, in time.
    pub said_in_time: bool,
    /// Clients that had not seen everything when the time was over.
    pub late: usize,
    /// What is wrong with rooms,
    pub rooms: Vec<rooms::Fault>,
    /// with plain channels,
    pub plain: Vec<plain::Fault>,
    /// and with presence.
    pub presence: Presence,
    /// What clients met that must not happen.
    pub odd: Vec<String>,
    /// What is wrong with the servers.
    pub complaints: Vec<String>,
    /// How long things took.
    pub rows: Vec<Row>,
    /// What was counted.
    pub counts: BTreeMap<&'static str, usize>,
    /// Refusals by code and reason.
    pub refusals: BTreeMap<String, usize>,
    /// Commands that a node did not answer within five seconds though nothing held it.
    pub unanswered: Vec<String>,
}

impl Report {
    /// What is known when the clients go.
    #[must_use]
    pub fn new(
        options: &Options,
        world: &World,
        happened: Vec<Happened>,
        presence: Presence,
    ) -> Self {
        let wrong = happened.iter().filter_map(|happened| {
            let wrong = happened.wrong.as_ref()?;
            Some(format!("{}: {wrong}", happened.step))
        });
        Self {
            seed: options.seed,
            size: options.to_string(),
            odd: wrong.collect(),
            happened,
            presence,
            rows: world.figures.rows(),
            refusals: world.figures.refusals(),
            counts: BTreeMap::from([("delivered live", world.figures.deliveries())]),
            ..Self::default()
        }
    }

    /// Compares what everyone wrote down with what there is.
    pub fn judge(
        &mut self,
        records: Vec<Record>,
        ending: &Ending,
        schedule: &Schedule,
        options: &Options,
    ) {
        let mut run = rooms::Run { logs: ending.logs.clone(), ..rooms::Run::default() };
        let mut plain = plain::Run {
            losses: schedule.count(|kind| options.loses(kind)),
            kept: HISTORY_SIZE as u64,
            ..plain::Run::default()
        };
        for record in records {
            self.count(&record);
            run.sent.extend(record.sent());
            let client = record.client.clone();
            for place in record.places {
                let (key, mut stays) = ((place.channel, client.clone()), place.stays);
                match place.kind {
                    Kind::Plain => drop(plain.views.insert(key, stays)),
                    Kind::Room if stays.is_empty() => {}
                    Kind::Room => {
                        // More than one is told by the client already; here they follow each other.
                        let first = stays.remove(0);
                        let mut view = rooms::View { after: first.after, seen: first.seen };
                        stays.into_iter().for_each(|stay| view.seen.extend(stay.seen));
                        run.views.insert(key, view);
                    }
                }
            }
            run.acks.extend(record.acks);
            plain.acks.extend(record.plain_acks);
        }
        for ((room, node), seen) in &ending.read {
            let reader = format!("history of node {node}").into();
            let view = rooms::View { after: 0, seen: seen.clone() };
            run.views.insert((room.clone(), reader), view);
        }
        plain.ends.clone_from(&ending.plain);
        self.compare_positions(ending);
        self.add("messages sent in rooms", run.sent.len());
        self.add("acknowledged in rooms", run.acks.len());
        self.add("acknowledged in plain channels", plain.acks.len());
        self.add("seen", run.views.values().map(|view| view.seen.len()).sum::<usize>());
        self.add("of messages in all", options.messages);
        (self.rooms, self.plain) = (run.faults(), plain.faults());
    }

    /// Whether nothing is wrong.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.wrong().is_empty()
    }

    /// Everything that is wrong, in words, each with what it takes to find it.
    #[must_use]
    pub fn wrong(&self) -> Vec<String> {
        self.wrong_by_kind().into_iter().flat_map(|(_, wrong)| wrong).collect()
    }

    fn wrong_by_kind(&self) -> [(&'static str, Vec<String>); 6] {
        let mut course = self.complaints.clone();
        if !self.said_in_time {
            course.push("not everything was answered in time".to_owned());
        }
        if self.late > 0 {
            course.push(format!("{} clients did not see everything in time", self.late));
        }
        [
            ("the course", course),
            ("rooms", in_text(&self.rooms)),
            ("plain channels", in_text(&self.plain)),
            ("presence", in_text(&self.presence.faults)),
            ("what clients met", self.odd.clone()),
            ("no answer within 5 s", self.unanswered.clone()),
        ]
    }

    /// Tells people.
    pub fn tell(&self, voice: &Voice) {
        let line = |text: String| voice.line(&text);
        line(String::new());
        line(format!("{}, {:.0} s, seed {}", self.size, self.took.as_secs_f64(), self.seed));
        self.tell_times(voice);
        for (name, count) in &self.counts {
            line(format!("  {name:32}{count:>10}"));
        }
        for (name, count) in &self.refusals {
            line(format!("  refused: {name:23}{count:>10}"));
        }
        let Presence { asked, untrue, .. } = self.presence;
        line(format!("  presence asked during faults    {asked:>10}"));
        line(format!("    and not the truth then        {untrue:>10}"));
        match self.presence.took {
            Some(took) => {
                line(format!("  presence was the truth after    {:>10}", in_words(took)));
            }
            None => line("  presence was not the truth in time".to_owned()),
        }
        if self.is_good() {
            return line("nothing is wrong".to_owned());
        }
        line(format!("WRONG, {} times; again with --seed {}", self.wrong().len(), self.seed));
        for (kind, wrong) in self.wrong_by_kind() {
            if !wrong.is_empty() {
                line(format!("{kind}, {} times:", wrong.len()));
            }
            wrong.iter().take(TOLD_MAX).for_each(|one| line(format!("  {one}")));
            if wrong.len() > TOLD_MAX {
                line(format!("  and {} more", wrong.len() - TOLD_MAX));
            }
        }
    }

    /// Tells programs.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let happened = self.happened.iter().map(|happened| {
            let (from, to) = (happened.from.as_secs_f64(), happened.to.as_secs_f64());
            json!({ "from_s": from, "to_s": to, "what": happened.step.to_string() })
        });
        json!({
            "good": self.is_good(),
            "seed": self.seed,
            "size": self.size,
            "took_s": self.took.as_secs_f64(),
            "faults": happened.collect::<Vec<_>>(),
            "presence_true_after_s": self.presence.took.map(|took| took.as_secs_f64()),
            "presence_asked_during_faults": self.presence.asked,
            "presence_untrue_during_faults": self.presence.untrue,
            "times": self.rows.iter().map(Row::to_json).collect::<Vec<_>>(),
            "counts": self.counts,
            "refusals": self.refusals,
            "wrong": self.wrong(),
        })
    }

    fn tell_times(&self, voice: &Voice) {
        voice.line(&format!(
            "  {:32}{:8}{:>10}{:>10}{:>10}{:>10}",
            "", "", "count", "P50", "P99", "max"
        ));
        for row in &self.rows {
            let (p50, p99, max) = (in_words(row.p50), in_words(row.p99), in_words(row.max));
            let Row { name, weather, count, .. } = row;
            let text = format!("  {name:32}{weather:8}{count:>10}{p50:>10}{p99:>10}{max:>10}");
            voice.line(&text);
        }
    }

    fn count(&mut self, record: &Record) {
        self.add("connections", record.connections);
        self.add("repeats that were there already", record.duplicates);
        self.add("subscriptions ended to resume", record.unsubscribed);
        let recoveries = record.places.iter().map(|place| place.recoveries).sum::<usize>();
        self.add("recoveries", recoveries);
        self.add("never acknowledged", record.unsaid);
        self.odd.extend(record.odd.iter().map(ToString::to_string));
        for (at, node, what) in &record.unanswered {
            self.add("unanswered after 5 s", 1);
            if self.stood_still(*node, *at) {
                continue;
            }
            let (at, client) = (at.as_secs_f64(), &record.client);
            let text = format!("at {at:.1} s: client {client}, {what}, by node {node}");
            self.unanswered.push(text);
        }
    }

    /// Whether a node was stopped while somebody waited for it until then.
    fn stood_still(&self, node: usize, until: Duration) -> bool {
        let stops = self.happened.iter().filter(|happened| happened.step.kind == Fault::Stop);
        let mut stops = stops.filter(|happened| happened.step.node == node);
        stops.any(|stop| stop.from <= until && until.saturating_sub(WAITED) <= stop.to)
    }

    fn add(&mut self, name: &'static str, count: usize) {
        *self.counts.entry(name).or_default() += count;
    }

    /// Every node says the same about where a room ends.
    fn compare_positions(&mut self, ending: &Ending) {
        for (room, nodes) in &ending.positions {
            for (node, position) in nodes.iter().enumerate() {
                if position != &nodes[0] {
                    let (first, epoch, head) = (&nodes[0], &position.0, position.1);
                    self.odd.push(format!(
                        "{room} ends at {head} of {epoch} at node {node}, at {} of {} at node 0",
                        first.1, first.0
                    ));
                }
            }
        }
    }
}

fn in_text(faults: &[impl ToString]) -> Vec<String> {
    faults.iter().map(ToString::to_string).collect()
}

/// A time as people read it.
fn in_words(time: Duration) -> String {
    match time.as_micros() {
        0..1_000 => format!("{} us", time.as_micros()),
        1_000..10_000 => format!("{:.1} ms", time.as_secs_f64() * 1_000.0),
        10_000..1_000_000 => format!("{} ms", time.as_millis()),
        _ => format!("{:.1} s", time.as_secs_f64()),
    }
}
