//! Random lives of members against a model: every member receives exactly the frames of its
//! topics between release and detach, each topic in order, whatever the shards are.

use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::prelude::*;
use tokio::runtime;

use super::*;

const TOPICS: usize = 4;

/// What happens next; numbers are taken modulo what there is.
#[derive(Debug, Clone, Copy)]
enum Step {
    Join,
    /// Holds a member's place, or releases it: behind what it could know, or ahead of it.
    Enter {
        member: usize,
        topic: usize,
        ahead: u64,
    },
    Detach {
        member: usize,
        topic: usize,
    },
    /// Ends a member in order: it must have received everything.
    Finish {
        member: usize,
    },
    /// Drops a member as it stands; its place goes to another.
    Vanish {
        member: usize,
    },
    Publish {
        topic: usize,
        bytes: usize,
    },
    Reply {
        member: usize,
    },
    /// The shards get a turn.
    Turn,
}

/// A member and what it must receive.
struct Expected {
    /// `None` once it has ended.
    member: Option<Member>,
    /// A member that ended and whose reader is not done: leaving would drop what waits.
    ended: Option<Member>,
    reader: Reader,
    places: BTreeMap<usize, Place>,
    /// Offsets by topic.
    frames: BTreeMap<usize, Vec<u64>>,
    replies: usize,
}

/// Where a member stands in a topic.
#[derive(Debug, Clone)]
struct Place {
    held: Vec<u64>,
    /// What it knows, once it was released.
    after: Option<u64>,
}

fn step() -> impl Strategy<Value = Step> {
    let (member, topic) = (any::<usize>(), 0..TOPICS);
    let enter = (member, topic.clone(), 0..4_u64);
    prop_oneof![
        2 => Just(Step::Join),
        12 => enter.prop_map(|(member, topic, ahead)| Step::Enter { member, topic, ahead }),
        3 => (member, topic.clone())
            .prop_map(|(member, topic)| Step::Detach { member, topic }),
        1 => member.prop_map(|member| Step::Finish { member }),
        1 => member.prop_map(|member| Step::Vanish { member }),
        20 => (topic, 1..600_usize).prop_map(|(topic, bytes)| Step::Publish { topic, bytes }),
        3 => member.prop_map(|member| Step::Reply { member }),
        6 => Just(Step::Turn),
    ]
}

struct World {
    bench: Bench,
    topics: Vec<Arc<Line>>,
    members: Vec<Expected>,
}

impl World {
    async fn run(shards: usize, steps: &[Step]) -> Result<(), TestCaseError> {
        let bench = Bench::start(shards, 1 << 24, 1 << 30).await;
        let topics = (0..TOPICS as u64).map(Line::new).collect();
        let mut world = Self { bench, topics, members: Vec::new() };
        world.join().await;
        for &step in steps {
            world.step(step).await;
        }
        for expected in &mut world.members {
            expected.finish();
        }
        for expected in std::mem::take(&mut world.members) {
            if expected.ended.is_some() {
                expected.check().await?;
            }
        }
        let bench = world.bench;
        until(|| bench.admission.open() == 0).await;
        prop_assert_eq!(bench.delivery.backlog_bytes(), 0);
        let (due, handed) = (&bench.reports.due, &bench.reports.handed);
        prop_assert!(due.load(Ordering::Relaxed) >= handed.load(Ordering::Relaxed));
        prop_assert!(bench.delivery.has_room() && bench.reports.shed.lock().is_empty());
        Ok(())
    }

    async fn join(&mut self) {
        let (member, reader) = self.bench.join().await;
        let (places, frames) = (BTreeMap::new(), BTreeMap::new());
        let member = Some(member);
        let (ended, replies) = (None, 0);
        self.members.push(Expected { member, ended, reader, places, frames, replies });
    }

    async fn step(&mut self, step: Step) {
        let count = self.members.len();
        match step {
            Step::Join => self.join().await,
            Step::Turn => tokio::task::yield_now().await,
            Step::Enter { member, topic, ahead } => {
                self.members[member % count].enter(topic, &self.topics[topic], ahead);
            }
            Step::Detach { member, topic } => {
                let expected = &mut self.members[member % count];
                if let Some(member) = &expected.member {
                    member.detach(self.topics[topic].id);
                    expected.places.remove(&topic);
                }
            }
            Step::Finish { member } => self.members[member % count].finish(),
            Step::Vanish { member } => {
                let expected = &mut self.members[member % count];
                expected.member = None;
                expected.places.clear();
            }
            Step::Publish { topic, bytes } => {
                let offset = self.topics[topic].publish(&self.bench, bytes);
                for expected in &mut self.members {
                    expected.published(topic, offset);
                }
            }
            Step::Reply { member } => {
                let expected = &mut self.members[member % count];
                if let Some(member) = &expected.member {
                    member.send("reply\n".into());
                    expected.replies += 1;
                }
            }
        }
    }
}

impl Expected {
    fn finish(&mut self) {
        if let Some(member) = self.member.take() {
            member.finish("end\n".into());
            self.ended = Some(member);
            self.places.clear();
        }
    }

    fn enter(&mut self, topic: usize, line: &Arc<Line>, ahead: u64) {
        let Some(member) = &self.member else { return };
        let Some(place) = self.places.get_mut(&topic) else {
            member.attach(line.clone());
            self.places.insert(topic, Place { held: Vec::new(), after: None });
            return;
        };
        if place.after.is_none() {
            // 0 and 1: some of what is held is not known; 2: all is; 3: more than all.
            let after = (line.published() + ahead).saturating_sub(2);
            member.release(&**line, after);
            place.after = Some(after);
            let known = place.held.drain(..).filter(|&offset| offset > after);
            self.frames.entry(topic).or_default().extend(known);
        }
    }

    fn published(&mut self, topic: usize, offset: u64) {
        let Some(place) = self.places.get_mut(&topic) else { return };
        match place.after {
            None => place.held.push(offset),
            Some(after) if offset > after => self.frames.entry(topic).or_default().push(offset),
            Some(_) => {}
        }
    }

    async fn check(self) -> Result<(), TestCaseError> {
        let (mut frames, mut replies) = (BTreeMap::<usize, Vec<u64>>::new(), 0);
        let lines = self.reader.lines().await;
        prop_assert_eq!(lines.last().map(String::as_str), Some("end"));
        for line in &lines[..lines.len() - 1] {
            match line.split_once(' ') {
                Some((topic, offset)) => {
                    let topic = frames.entry(topic.parse().unwrap()).or_default();
                    topic.push(offset.parse().unwrap());
                }
                None => {
                    prop_assert_eq!(line, "reply");
                    replies += 1;
                }
            }
        }
        let expected = self.frames.into_iter().filter(|(_, offsets)| !offsets.is_empty());
        prop_assert_eq!((frames, replies), (expected.collect(), self.replies));
        Ok(())
    }
}

proptest! {
    // A step that goes wrong may end in a deadline: shrinking it must not take for ever.
    #![proptest_config(ProptestConfig {
        cases: 64,
        max_shrink_time: 60_000,
        ..ProptestConfig::default()
    })]

    #[test]
    fn every_member_receives_what_was_published_between_release_and_detach(
        shards in 1..4_usize,
        steps in vec(step(), 1..400),
    ) {
        let runtime = runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(World::run(shards, &steps))?;
    }
}
