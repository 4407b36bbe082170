//! The eight targets of the chat server, and what in the evidence speaks for each.

use super::evidence::{Comparison, Evidence, Sourced};
use super::{Row, Verdict};
use crate::load::report::summary::Summary;
use crate::load::report::words::{count, number, size};
use crate::load::scenario::Outcome;

/// An open load reaches its rate when so much of it was delivered in the window.
const REACHED: f64 = 0.98;

/// Connections are idle once the server has asked each of them whether it is there.
const PING_SECONDS: f64 = 25.0;

/// How figures are bounded.
#[derive(Debug, Clone, Copy)]
enum Bound {
    AtMost(f64),
    Below(f64),
    AtLeast(f64),
}

/// A target.
struct Claim {
    target: u8,
    what: &'static str,
    bound: Bound,
    unit: &'static str,
}

/// What a file says of a target.
struct Word {
    source: String,
    figure: f64,
    /// What else is to be known of it.
    more: String,
    /// It is about as much as the target asks for.
    counts: bool,
}

/// All targets.
pub(super) fn rows(evidence: &Evidence) -> Vec<Row> {
    let mut rows = cost(evidence);
    rows.extend(pressure(evidence));
    rows.extend(latency(evidence));
    rows.extend(memory(evidence));
    rows.push(cluster(evidence));
    rows.extend(durable(evidence));
    rows.extend(rest(evidence));
    rows.extend(storm(evidence));
    rows
}

fn cost(evidence: &Evidence) -> Vec<Row> {
    let against = |peer: &'static str| {
        move |it: &Comparison| {
            let of = |name| it.middle(name, "small_calm", "cpu_us");
            Some((of("chat-server")?, of(peer)?))
        }
    };
    vec![
        claim(1, "CPU per delivery, unbatched, to raw send", Bound::AtMost(1.25), "x")
            .judge(compared(evidence, " us", against("raw"))),
        claim(1, "CPU per delivery, unbatched, to Bun", Bound::AtMost(1.0), "x").judge(compared(
            evidence,
            " us",
            against("Bun"),
        )),
    ]
}

fn pressure(evidence: &Evidence) -> Vec<Row> {
    let peers: [(&str, &str, f64); 4] = [
        ("Bun", "deliveries/s under pressure, to Bun", 0.8),
        ("nats-server", "deliveries/s under pressure, to nats-server", 5.0),
        ("nchan", "deliveries/s under pressure, to nchan", 5.0),
        ("Node ws", "deliveries/s under pressure, to Node ws", 12.0),
    ];
    let row = |(peer, what, least): (&'static str, &'static str, f64)| {
        let words = compared(evidence, "/s", move |it| {
            let of = |name| it.middle(name, "small_pressed", "per_second");
            Some((of("chat-server")?, of(peer)?))
        });
        claim(2, what, Bound::AtLeast(least), "x").judge(words)
    };
    peers.into_iter().map(row).collect()
}

fn latency(evidence: &Evidence) -> Vec<Row> {
    let p99 = |durable: bool, rate: f64| {
        words(evidence, "fanout", move |outcome, summary| {
            let asked = &outcome.asked;
            let fits = asked.durable == durable && asked.members == 100 && !asked.tls;
            let due = asked.rate.filter(|_| fits)? * asked.members as f64;
            let reached = summary.deliveries_per_second;
            let more = format!("at {} deliveries/s", number(reached));
            let counts = due >= rate && reached >= due * REACHED && clean(outcome);
            Some((summary.latency?.p99_ms, more, counts))
        })
    };
    let large = |it: &Comparison| {
        let of = |name| it.middle(name, "large_calm", "p99_ms");
        Some((of("chat-server")?, of("raw")?))
    };
    vec![
        claim(3, "P99 of durable messages at 50,000/s", Bound::Below(10.0), "ms")
            .judge(p99(true, 50_000.0)),
        claim(3, "P99 of ephemeral messages at 100,000/s", Bound::Below(3.0), "ms")
            .judge(p99(false, 100_000.0)),
        claim(3, "P99 in a room of 10,000, to raw send", Bound::AtMost(1.25), "x")
            .judge(compared(evidence, " ms", large)),
    ]
}

fn memory(evidence: &Evidence) -> Vec<Row> {
    // At the end, when every timer has fired and every buffer was used once.
    let idle = words(evidence, "connect", |outcome, summary| {
        let connected = summary.connected_count;
        let grown = summary.server_after_bytes.checked_sub(summary.server_before_bytes)?;
        let seconds = outcome.window_seconds;
        let more = format!("of {} connections after {seconds:.0} s", count(connected));
        let long = connected >= 1_000 && seconds >= PING_SECONDS && !outcome.asked.tls;
        let each = (connected > 0).then(|| grown as f64 / connected as f64)?;
        Some((each / 1024.0, more, long && clean(outcome)))
    });
    let all = words(evidence, "cluster", |outcome, summary| {
        let most = outcome.figures.get("rss_bytes_most").copied()?;
        let more = format!("for {} connections", count(summary.connected_count));
        Some((most / 1e9, more, summary.connected_count >= 100_000))
    });
    let stalled = of_bench(evidence, "stalled_peers", "stalled_peer_mib");
    vec![
        claim(4, "memory per idle connection", Bound::AtMost(2.5), "KiB").judge(idle),
        claim(4, "memory of 100,000 connections", Bound::Below(0.7), "GB").judge(all),
        claim(4, "memory of a stalled peer, with the kernel's", Bound::AtMost(0.4), "MiB")
            .judge(stalled),
    ]
}

fn cluster(evidence: &Evidence) -> Row {
    let wrong = words(evidence, "cluster", |outcome, summary| {
        let asked = &outcome.asked;
        let (connected, seconds) = (summary.connected_count, outcome.window_seconds);
        let p99 = summary
            .latency
            .map_or_else(String::new, |it| format!(", P99 {} ms", number(it.p99_ms)));
        let nodes = asked.servers;
        let more = format!("{} on {nodes} nodes for {seconds:.0} s{p99}", count(connected));
        let counts = connected >= 100_000 && nodes >= 6 && seconds >= 599.0;
        Some((summary_faults(outcome, summary), more, counts))
    });
    let what = "lost or doubled: 100,000 on 6 nodes for 600 s";
    claim(5, what, Bound::AtMost(0.0), "").judge(wrong)
}

fn durable(evidence: &Evidence) -> Vec<Row> {
    let words = |figure| of_bench(evidence, "group_commit", figure);
    vec![
        claim(6, "durable messages by group commit", Bound::AtLeast(10_000.0), "/s")
            .judge(words("messages_per_second")),
        claim(6, "to a transaction a message", Bound::AtLeast(15.0), "x")
            .judge(words("to_one_by_one_ratio")),
    ]
}

/// What the reports of a bench say of a figure.
fn of_bench(evidence: &Evidence, bench: &str, figure: &str) -> Vec<Word> {
    let benches = evidence.benches.iter().filter(|it| it.what.bench == bench);
    let words = benches.filter_map(|it| {
        let figure = *it.what.figures.get(figure)?;
        Some(Word { source: it.source.clone(), figure, more: String::new(), counts: true })
    });
    words.collect()
}

fn rest(evidence: &Evidence) -> Vec<Row> {
    let at_rate = |figure: fn(&Summary) -> Option<f64>| {
        words(evidence, "rest", move |outcome, summary| {
            let (asked, reached) = (outcome.asked.rate?, summary.messages_per_second);
            let more = format!("at {} requests/s", number(reached));
            let counts = asked >= 10_000.0 && reached >= asked * REACHED && clean(outcome);
            Some((figure(summary)?, more, counts))
        })
    };
    vec![
        claim(7, "cores for 10,000 HTTP requests/s", Bound::AtMost(1.0), "cores")
            .judge(at_rate(|summary| Some(summary.server_cores))),
        claim(7, "P99 of their replies", Bound::Below(50.0), "ms")
            .judge(at_rate(|summary| summary.latency.map(|it| it.p99_ms))),
    ]
}

fn storm(evidence: &Evidence) -> Vec<Row> {
    let of = |figure: fn(&Outcome, &Summary) -> Option<f64>| {
        words(evidence, "storm", move |outcome, summary| {
            let back = outcome.tally.connections.returned;
            let more = format!("{} came back", count(back));
            Some((figure(outcome, summary)?, more, back >= 14_000))
        })
    };
    let queries = |outcome: &Outcome, _: &Summary| {
        outcome.figures.get("storm_store_queries_per_50_resumptions").copied()
    };
    let missing = |outcome: &Outcome, summary: &Summary| {
        let away = outcome.figures.get("storm_resumptions_due").copied()?;
        let back = outcome.figures.get("storm_resumptions").copied()?;
        Some(summary_faults(outcome, summary) + (away - back).max(0.0))
    };
    vec![
        claim(8, "lost or not back after a storm of 15,000", Bound::AtMost(0.0), "")
            .judge(of(missing)),
        claim(8, "store queries per 50 resumptions", Bound::Below(1.0), "").judge(of(queries)),
    ]
}

/// Deliveries that were lost, doubled, out of order or misplaced, and clients that were.
fn summary_faults(outcome: &Outcome, summary: &Summary) -> f64 {
    let wrong = summary.lost_count
        + summary.doubled_count
        + summary.out_of_order_count
        + summary.misplaced_count
        + outcome.tally.connections.failed;
    wrong as f64
}

fn clean(outcome: &Outcome) -> bool {
    outcome.tally.faults().is_empty()
}

/// What the outcomes of a scenario say.
fn words(
    evidence: &Evidence,
    scenario: &str,
    says: impl Fn(&Outcome, &Summary) -> Option<(f64, String, bool)>,
) -> Vec<Word> {
    let outcomes = evidence.outcomes.iter();
    let ours =
        |it: &&Sourced<Outcome>| it.what.scenario == scenario && it.what.target == "chat-server";
    outcomes.filter(ours).filter_map(|it| word(it, &says)).collect()
}

fn word(
    it: &Sourced<Outcome>,
    says: impl Fn(&Outcome, &Summary) -> Option<(f64, String, bool)>,
) -> Option<Word> {
    let (figure, more, counts) = says(&it.what, &Summary::of(&it.what))?;
    Some(Word { source: it.source.clone(), figure, more, counts })
}

/// What the comparisons say: ours divided by the other's.
fn compared(
    evidence: &Evidence,
    unit: &str,
    says: impl Fn(&Comparison) -> Option<(f64, f64)>,
) -> Vec<Word> {
    let words = evidence.comparisons.iter().filter_map(|it| {
        let (ours, theirs) = says(&it.what)?;
        let more = format!("{} and {}{unit}", number(ours), number(theirs));
        let source = it.source.clone();
        (theirs > 0.0).then(|| Word { source, figure: ours / theirs, more, counts: true })
    });
    words.collect()
}

const fn claim(target: u8, what: &'static str, bound: Bound, unit: &'static str) -> Claim {
    Claim { target, what, bound, unit }
}

impl Claim {
    /// The worst word that counts; one that does not is shown when there is no other.
    fn judge(self, words: Vec<Word>) -> Row {
        let Self { target, what, bound, unit } = self;
        let verdict = |word: &Word| match word.counts {
            true if bound.holds(word.figure) => Verdict::Holds,
            true => Verdict::Fails,
            false => Verdict::NotMeasured,
        };
        let worst = words.into_iter().max_by(|one, other| {
            let badness = |word: &Word| bound.badness(word.figure);
            let order = one.counts.cmp(&other.counts);
            order.then(badness(one).total_cmp(&badness(other)))
        });
        let figure = worst.as_ref().map(|word| {
            let figure = with_unit(word.figure, unit);
            if word.more.is_empty() { figure } else { format!("{figure} ({})", word.more) }
        });
        Row {
            target,
            what,
            wanted: bound.in_words(unit),
            figure,
            verdict: worst.as_ref().map_or(Verdict::NotMeasured, verdict),
            source: worst.map(|word| word.source).unwrap_or_default(),
        }
    }
}

impl Bound {
    fn holds(self, figure: f64) -> bool {
        match self {
            Self::AtMost(most) => figure <= most,
            Self::Below(bound) => figure < bound,
            Self::AtLeast(least) => figure >= least,
        }
    }

    /// Greater is worse.
    fn badness(self, figure: f64) -> f64 {
        match self {
            Self::AtMost(_) | Self::Below(_) => figure,
            Self::AtLeast(_) => -figure,
        }
    }

    fn in_words(self, unit: &str) -> String {
        match self {
            Self::AtMost(0.0) => "none".to_owned(),
            Self::AtMost(most) => format!("at most {}", with_unit(most, unit)),
            Self::Below(bound) => format!("below {}", with_unit(bound, unit)),
            Self::AtLeast(least) => format!("at least {}", with_unit(least, unit)),
        }
    }
}

fn with_unit(figure: f64, unit: &str) -> String {
    match unit {
        "" if figure.fract() == 0.0 => format!("{figure:.0}"),
        "" => number(figure),
        "/s" => format!("{}/s", number(figure)),
        "KiB" => size(figure * 1024.0),
        unit => format!("{} {unit}", number(figure)),
    }
}
