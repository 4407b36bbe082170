//! The course of a run.
//!
//! ```text
//! stage     servers are started, rooms made
//! cast      clients come in, everyone subscribes
//! load      messages are said at an even pace, while the schedule breaks things
//! presence  within ten seconds of the last fault every node says who is there
//! rest      what is not acknowledged yet is waited for
//! end       everyone sees everything, and goes
//! judgement what was written down is compared
//! ```

mod cast;
mod ending;
mod judge;

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::task::JoinSet;
use tokio::time::{Instant, interval, sleep, timeout, timeout_at};

use self::cast::Cast;
pub use self::ending::Ending;
use self::judge::Judge;
pub use self::judge::{Presence, TRUE_WITHIN};
use crate::check::client::{Record, play};
use crate::check::faults::{Driver, Happened, Kind, Schedule};
use crate::check::options::Options;
use crate::check::report::Report;
use crate::check::stage::{Clock, Stage};
use crate::check::voice::Voice;
use crate::check::world::{Goal, World};

/// Messages go on for so long behind the last fault: presence is judged under load.
const TAIL: Duration = Duration::from_secs(8);

/// Longest that everyone may take to come in.
const ENTER_MAX: Duration = Duration::from_secs(120);

/// Longest that everyone may take to see everything, once all is said.
const SEE_MAX: Duration = Duration::from_secs(60);

/// A run without faults is this fast.
const CALM_RATE: f64 = 400.0;

/// Between two looks at how far it is.
const LOOK: Duration = Duration::from_millis(500);

/// Plays a run and gives its report.
///
/// # Errors
/// When it cannot be made: a server does not start, a room cannot be made.
pub async fn run(options: &Options, voice: Voice) -> Result<Report> {
    let voice = Arc::new(voice);
    let schedule = schedule(options, &voice);
    let stage = Arc::new(Stage::start(options).await?);
    let world = Arc::new(World::new(stage.doors()));
    let course = Course { options, schedule, stage, world, voice };
    let report = Box::pin(course.play()).await?;
    report.tell(&course.voice);
    if !report.is_good()
        && let Some(stage) = Arc::into_inner(course.stage)
    {
        course.voice.line(&format!("  logs of the servers: {}", stage.keep().display()));
    }
    Ok(report)
}

/// The schedule, without what this machine or stage cannot do, which is said loudly.
fn schedule(options: &Options, voice: &Voice) -> Schedule {
    let mut kinds = options.faults.clone();
    let mut skip = |kind: Kind, why: &str| {
        let before = kinds.len();
        kinds.retain(|other| *other != kind);
        if kinds.len() < before {
            voice.line(&format!("SKIPPED {kind:?}: {why}"));
        }
    };
    if !Clock::can_be_made() {
        skip(Kind::Clock, "it takes Linux and a C compiler");
    }
    options.impossible().into_iter().for_each(|(kind, why)| skip(kind, why));
    let Options { seed, rounds, nodes, away, .. } = *options;
    voice.line(&format!("seed {seed}: {} faults", kinds.len() * rounds));
    Schedule::draw(seed, &kinds, rounds, nodes, away)
}

/// A run.
struct Course<'a> {
    options: &'a Options,
    schedule: Schedule,
    stage: Arc<Stage>,
    world: Arc<World>,
    voice: Arc<Voice>,
}

impl Course<'_> {
    async fn play(&self) -> Result<Report> {
        let load = self.load();
        let cast = Cast::make(self.options, &self.stage, &self.world).await?;
        let mut clients = self.enter(&cast, load).await?;
        let judge = Judge::new(&self.stage, &self.world, cast.channels());
        let (happened, presence) = tokio::select! {
            biased;
            done = self.break_things(&judge) => done,
            () = self.tell_progress() => unreachable!("progress is told without end"),
        };
        let said_in_time = self.rest().await;
        let ending = Ending::read(&self.stage, &self.world, &cast).await;
        let heads = ending.as_ref().map(Ending::heads).unwrap_or_default();
        self.world.goal.send_replace(Goal::Reach(Arc::new(heads)));
        let (records, late) = self.leave(&mut clients).await;
        // Read again: what came behind the heads is in nobody's way and in everyone's view.
        let mut report = Report::new(self.options, &self.world, happened, presence);
        report.took = self.world.elapsed();
        report.late = late;
        report.said_in_time = said_in_time;
        report.complaints = self.stage.complaints();
        match ending {
            Ok(ending) => report.judge(records, &ending, &self.schedule, self.options),
            Err(error) => report.complaints.push(format!("the end cannot be read: {error:#}")),
        }
        Ok(report)
    }

    /// How long messages are said.
    fn load(&self) -> Duration {
        let messages = u32::try_from(self.options.messages).unwrap_or(u32::MAX);
        match self.schedule.end() {
            Duration::ZERO => Duration::from_secs_f64(f64::from(messages) / CALM_RATE),
            end => end + TAIL,
        }
    }

    /// Everyone comes in and subscribes.
    async fn enter(&self, cast: &Cast, load: Duration) -> Result<JoinSet<Record>> {
        let (world, nodes) = (&self.world, self.stage.nodes.len());
        let people = cast.people(self.options, world, load);
        let wanted = people.iter().map(|(_, channels)| channels).sum::<usize>();
        let mut clients = JoinSet::new();
        for (number, (person, _)) in people.into_iter().enumerate() {
            clients.spawn(play(person, Arc::clone(world), number % nodes));
        }
        let mut looks = interval(LOOK);
        let entered = timeout(ENTER_MAX, async {
            while world.truth.count() < wanted {
                looks.tick().await;
            }
        });
        entered.await.with_context(|| {
            format!("{} of {wanted} subscriptions after {ENTER_MAX:?}", world.truth.count())
        })?;
        self.voice.say(world.elapsed(), &format!("{wanted} subscriptions, messages begin"));
        world.begin();
        Ok(clients)
    }

    /// Carries out the schedule, and judges presence when it is over.
    async fn break_things(&self, judge: &Judge<'_>) -> (Vec<Happened>, Presence) {
        let (stage, world) = (Arc::clone(&self.stage), Arc::clone(&self.world));
        let driver = Driver { stage, world, voice: Arc::clone(&self.voice) };
        let mut sampled = Presence::default();
        let happened = tokio::select! {
            biased;
            happened = driver.carry_out(&self.schedule) => happened,
            () = judge.sample(&mut sampled) => unreachable!("samples are taken without end"),
        };
        let Presence { took, faults, .. } = judge.presence().await;
        (happened, Presence { took, faults, ..sampled })
    }

    /// Waits until everything is acknowledged; whether it was in time.
    async fn rest(&self) -> bool {
        let mut said = self.world.said.subscribe();
        let until = self.world.started + self.options.time_max;
        let messages = self.options.messages;
        tokio::select! {
            biased;
            waited = timeout_at(until, said.wait_for(|said| *said >= messages)) => waited.is_ok(),
            () = self.tell_progress() => unreachable!("progress is told without end"),
        }
    }

    /// Everyone goes when they have seen everything; who has not in time is counted and goes too.
    async fn leave(&self, clients: &mut JoinSet<Record>) -> (Vec<Record>, usize) {
        let mut records = Vec::new();
        let until = Instant::now() + SEE_MAX;
        while let Ok(Some(record)) = timeout_at(until, clients.join_next()).await {
            records.push(record.expect("a client does not panic"));
        }
        let late = clients.len();
        self.world.goal.send_replace(Goal::Over);
        while let Some(record) = clients.join_next().await {
            records.push(record.expect("a client does not panic"));
        }
        self.voice.rest();
        (records, late)
    }

    async fn tell_progress(&self) {
        let mut before = 0;
        loop {
            sleep(LOOK).await;
            let (world, seen) = (&self.world, self.world.figures.deliveries());
            let said = *world.said.borrow();
            let a_second = (seen - before) * 2;
            before = seen;
            let text = format!(
                "{said} of {} acknowledged, {seen} delivered ({a_second}/s), {} subscriptions",
                self.options.messages,
                world.truth.count()
            );
            self.voice.progress(world.elapsed(), &text);
        }
    }
}
