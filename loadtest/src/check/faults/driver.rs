//! Carries a schedule out, and says what it does when it does it.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use chassis::testing::Direction;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

use super::{Kind, Schedule, Step};
use crate::check::stage::{Broker, Stage};
use crate::check::voice::Voice;
use crate::check::world::World;
use crate::process::{Process, START_MAX};

/// Between two cuts.
const BEAT: Duration = Duration::from_millis(400);

/// After how many bytes a connection is cut: within the first frames, or well behind them.
const CUT_AFTER: std::ops::Range<usize> = 20..30_000;

/// How far a clock jumps, in seconds.
const JUMP: std::ops::RangeInclusive<i64> = 30..=1_200;

/// What was done.
#[derive(Debug, Clone)]
pub struct Happened {
    /// When it began and ended, since the start of the run.
    pub from: Duration,
    pub to: Duration,
    /// What it was.
    pub step: Step,
    /// What was wrong with the servers while it was done.
    pub wrong: Option<String>,
}

/// Whoever breaks things.
#[derive(Debug, Clone)]
pub struct Driver {
    /// What is broken,
    pub stage: Arc<Stage>,
    /// who is told,
    pub world: Arc<World>,
    /// and who reads of it.
    pub voice: Arc<Voice>,
}

impl Driver {
    /// Carries out everything, from now on, and gives it in the order of ending.
    pub async fn carry_out(self, schedule: &Schedule) -> Vec<Happened> {
        let begin = Instant::now();
        let mut steps = JoinSet::new();
        for step in schedule.steps.iter().copied() {
            let driver = self.clone();
            steps.spawn(async move {
                sleep_until(begin + step.at).await;
                driver.perform(step).await
            });
        }
        steps.join_all().await
    }

    async fn perform(&self, step: Step) -> Happened {
        let from = self.world.elapsed();
        self.voice.say(from, &step.to_string());
        self.world.weather.breaks();
        let done = self.do_it(step).await;
        let to = self.world.elapsed();
        self.world.weather.heals(to);
        let wrong = done.err().map(|error| format!("{error:#}"));
        match &wrong {
            None => self.voice.say(to, &format!("  over: {step}")),
            Some(wrong) => self.voice.say(to, &format!("  WRONG: {step}: {wrong}")),
        }
        Happened { from, to, step, wrong }
    }

    async fn do_it(&self, step: Step) -> Result<()> {
        let (stage, lasts) = (&self.stage, step.lasts);
        let node = &stage.nodes[step.node % stage.nodes.len()];
        match step.kind {
            Kind::Kill => {
                node.process.kill();
                sleep(lasts).await;
                start_again(&node.process).await
            }
            Kind::Stop => {
                node.process.stop();
                sleep(lasts).await;
                node.process.resume();
                Ok(())
            }
            Kind::Drain => {
                let ended = node.process.drain().await;
                sleep(lasts).await;
                start_again(&node.process).await?;
                ended.map(drop)
            }
            Kind::RedisFlush => self.broker()?.flush().await,
            Kind::RedisPause => {
                let redis = self.broker()?.server(step.node);
                redis.pause();
                sleep(lasts).await;
                redis.resume();
                Ok(())
            }
            Kind::RedisRestart | Kind::RedisAway | Kind::Master => {
                let redis = self.broker()?.server(step.node);
                redis.kill();
                sleep(lasts).await;
                redis.restart().await;
                Ok(())
            }
            Kind::Postgres => {
                let postgres = stage.postgres.as_ref().context("there is no PostgreSQL")?;
                postgres.kill().await;
                sleep(lasts).await;
                postgres.restart().await;
                Ok(())
            }
            Kind::Cut => self.cut(step).await,
            Kind::Partition => self.partition(step).await,
            Kind::Clock => self.jump(step).await,
        }
    }

    /// Cuts connections, of one node after the other, after some bytes in one direction.
    async fn cut(&self, step: Step) -> Result<()> {
        let mut random = StdRng::seed_from_u64(step.salt);
        let until = Instant::now() + step.lasts;
        while Instant::now() < until {
            let node = &self.stage.nodes[random.random_range(0..self.stage.nodes.len())];
            let up = random.random_bool(0.5);
            let direction = if up { Direction::Up } else { Direction::Down };
            node.door.cut_after(direction, random.random_range(CUT_AFTER));
            node.door.cut();
            sleep(BEAT).await;
        }
        for node in &self.stage.nodes {
            node.door.heal();
            // Those with a limit would meet it later, when nothing is to be broken any more.
            node.door.cut();
        }
        Ok(())
    }

    /// Nothing passes between a node and Redis; then it does, on the same connections or on new ones.
    async fn partition(&self, step: Step) -> Result<()> {
        let node = &self.stage.nodes[step.node % self.stage.nodes.len()];
        let wire = node.wire.as_ref().context("this Redis is not reached through a proxy")?;
        wire.stall();
        sleep(step.lasts).await;
        if step.salt.is_multiple_of(2) {
            wire.cut();
        }
        wire.resume();
        Ok(())
    }

    async fn jump(&self, step: Step) -> Result<()> {
        let clock = self.stage.clock.as_ref().context("there is no clock to be set")?;
        let mut random = StdRng::seed_from_u64(step.salt);
        let seconds = random.random_range(JUMP) * if random.random_bool(0.5) { 1 } else { -1 };
        let at = self.world.elapsed();
        self.voice.say(at, &format!("  the clock of the last node jumps by {seconds} s"));
        clock.set(seconds)?;
        sleep(step.lasts).await;
        clock.set(0)
    }

    fn broker(&self) -> Result<&Broker> {
        self.stage.broker.as_ref().context("there is no Redis")
    }
}

/// Starts a server as the supervisor of a deployment does: one that ended because its PostgreSQL was
/// away is started once more.
async fn start_again(process: &Process) -> Result<()> {
    let begun = Instant::now();
    loop {
        match process.start().await {
            Err(error) if is_without_postgres(&error) && begun.elapsed() < START_MAX => {
                sleep(BEAT).await;
            }
            ended => return ended,
        }
    }
}

/// Whether a server says that it ended for want of PostgreSQL.
fn is_without_postgres(error: &anyhow::Error) -> bool {
    error.to_string().contains("chat-server: DATABASE_URL: ")
}
