//! The checker on runs that are right, and on the same runs broken in one place.

use proptest::prelude::*;
use proptest::sample::Index;

use super::*;

/// How a run is broken; places are chosen by the property's [`Index`].
#[derive(Debug, Clone, Copy)]
enum Break {
    LogLoses,
    LogLosesItsLast,
    LogDoubles,
    LogSwaps,
    LogAlters,
    LogInvents,
    LogRepeatsAMessage,
    ViewLoses,
    ViewDoubles,
    ViewSwaps,
    ViewAlters,
    ViewInvents,
    AckIsMissing,
    AckHasAnotherOffset,
    AckHasAnotherId,
    AckComesTwiceWithAnotherOffset,
    AckOfNothingSent,
}

impl Break {
    const ALL: [Self; 17] = [
        Self::LogLoses,
        Self::LogLosesItsLast,
        Self::LogDoubles,
        Self::LogSwaps,
        Self::LogAlters,
        Self::LogInvents,
        Self::LogRepeatsAMessage,
        Self::ViewLoses,
        Self::ViewDoubles,
        Self::ViewSwaps,
        Self::ViewAlters,
        Self::ViewInvents,
        Self::AckIsMissing,
        Self::AckHasAnotherOffset,
        Self::AckHasAnotherId,
        Self::AckComesTwiceWithAnotherOffset,
        Self::AckOfNothingSent,
    ];

    /// Breaks the run at a place and says what a report must name: room, client, offset.
    fn apply(self, run: &mut Run, place: &Index) -> (Name, Option<Name>, Option<u64>) {
        match self {
            Self::AckIsMissing
            | Self::AckHasAnotherOffset
            | Self::AckHasAnotherId
            | Self::AckComesTwiceWithAnotherOffset
            | Self::AckOfNothingSent => self.break_acks(run, place),
            Self::ViewLoses
            | Self::ViewDoubles
            | Self::ViewSwaps
            | Self::ViewAlters
            | Self::ViewInvents => self.break_view(run, place),
            _ => self.break_log(run, place),
        }
    }

    fn break_acks(self, run: &mut Run, place: &Index) -> (Name, Option<Name>, Option<u64>) {
        let at = place.index(run.acks.len());
        let ack = run.acks[at].clone();
        let mut offset = ack.offset;
        match self {
            Self::AckIsMissing => run.acks.retain(|other| other.idem != ack.idem),
            Self::AckHasAnotherOffset => {
                offset += 1;
                run.acks[at].offset = offset;
            }
            Self::AckHasAnotherId => run.acks[at].id.push('x'),
            Self::AckComesTwiceWithAnotherOffset => {
                offset += 1;
                run.acks.push(Ack { offset, ..ack.clone() });
            }
            _ => run.acks.push(Ack { idem: "unsent".to_owned(), ..ack.clone() }),
        }
        (ack.room, Some(ack.client), Some(offset))
    }

    fn break_view(self, run: &mut Run, place: &Index) -> (Name, Option<Name>, Option<u64>) {
        let views = run.views.iter_mut().filter(|(_, view)| view.seen.len() > 1);
        let mut views: Vec<_> = views.collect();
        let at = place.index(views.len());
        let ((room, client), view) = &mut views[at];
        let at = place.index(view.seen.len() - 1);
        let mut offset = view.seen[at].offset;
        match self {
            Self::ViewLoses => drop(view.seen.remove(at)),
            Self::ViewDoubles => view.seen.insert(at + 1, view.seen[at]),
            Self::ViewSwaps => view.seen.swap(at, at + 1),
            Self::ViewAlters => view.seen[at].print ^= 1,
            _ => {
                let last = view.seen[view.seen.len() - 1];
                offset = last.offset + 1;
                view.seen.push(Glimpse { offset, ..last });
            }
        }
        (room.clone(), Some(client.clone()), Some(offset))
    }

    fn break_log(self, run: &mut Run, place: &Index) -> (Name, Option<Name>, Option<u64>) {
        let mut logs: Vec<_> = run.logs.iter_mut().collect();
        let at = place.index(logs.len());
        let (room, log) = &mut logs[at];
        let events = &mut log.events;
        let at = place.index(events.len() - 1);
        let (mut offset, last) = (events[at].offset, events[events.len() - 1].clone());
        match self {
            Self::LogLoses => drop(events.remove(at)),
            Self::LogLosesItsLast => {
                offset = last.offset;
                events.pop();
            }
            Self::LogDoubles => events.insert(at, events[at].clone()),
            // The rows change places, their offsets stay where they are.
            Self::LogSwaps => {
                events.swap(at, at + 1);
                (events[at].offset, events[at + 1].offset) = (offset, offset + 1);
            }
            Self::LogAlters => events[at].content.push('x'),
            Self::LogInvents => {
                offset = last.offset + 1;
                let idem = Some("invented".to_owned());
                events.push(Event { offset, idem, ..last });
            }
            _ => {
                offset = last.offset + 1;
                let message = events.iter().rfind(|event| event.idem.is_some());
                events.push(Event { offset, ..message.unwrap_or(&last).clone() });
            }
        }
        ((*room).clone(), None, Some(offset))
    }
}

/// What one step of a run does.
#[derive(Debug, Clone)]
enum Step {
    /// A client says something in a room and is told so many times.
    Send { room: usize, client: usize, told: usize },
    /// A client comes in to a room, if it is not there yet.
    Enter { room: usize, client: usize },
    /// Something happens in a room that nobody sent.
    Happen { room: usize },
}

/// A run that is right: each room has some messages and everyone sees them from where they came.
fn run_of(steps: &[Step]) -> Run {
    let (room, client) = (
        |room: usize| -> Name { format!("r{room}").into() },
        |client: usize| -> Name { format!("c{client}").into() },
    );
    let mut run = Run::default();
    for (number, step) in steps.iter().enumerate() {
        let (Step::Send { room: at, .. }
        | Step::Enter { room: at, .. }
        | Step::Happen { room: at }) = step;
        let room = room(*at);
        let log = run.logs.entry(room.clone()).or_default();
        let mut idem = None;
        match step {
            Step::Enter { client: who, .. } => {
                let view = View { after: log.head, seen: Vec::new() };
                run.views.entry((room, client(*who))).or_insert(view);
                continue;
            }
            Step::Send { client: who, told, .. } => {
                let (client, key) = (client(*who), format!("idem{number}"));
                idem = Some(key.clone());
                let sent = Sent { room: room.clone(), client: client.clone(), idem: key.clone() };
                run.sent.push(sent);
                let (id, offset) = (format!("id{number}"), log.head + 1);
                let ack = Ack { room: room.clone(), client, idem: key, offset, id };
                run.acks.extend(std::iter::repeat_n(ack, *told));
            }
            Step::Happen { .. } => {}
        }
        log.head += 1;
        let (id, content) = (format!("id{number}"), format!("content{number}"));
        let event = Event { offset: log.head, id, idem, content };
        log.events.push(event.clone());
        let watching = run.views.iter_mut().filter(|((place, _), _)| *place == room);
        watching.for_each(|(_, view)| view.seen.push(event.glimpse()));
    }
    run
}

/// Runs with something to break in every place: two clients who see at least two messages.
fn runs() -> impl Strategy<Value = Run> {
    let step = prop_oneof![
        4 => (0..3_usize, 0..4_usize, 1..4_usize)
            .prop_map(|(room, client, told)| Step::Send { room, client, told }),
        1 => (0..3_usize, 0..4_usize).prop_map(|(room, client)| Step::Enter { room, client }),
        1 => (0..3_usize).prop_map(|room| Step::Happen { room }),
    ];
    prop::collection::vec(step, 0..40).prop_map(|mut steps| {
        let start = (0..3).flat_map(|room| {
            let enter = Step::Enter { room, client: 0 };
            let send = Step::Send { room, client: 1, told: 1 };
            [enter, send.clone(), send]
        });
        steps.splice(0..0, start.collect::<Vec<_>>());
        run_of(&steps)
    })
}

/// Whether one of the faults names all of this.
fn named(faults: &[Fault], (room, client, offset): &(Name, Option<Name>, Option<u64>)) -> bool {
    faults.iter().any(|fault| {
        let text = fault.to_string();
        let of_client =
            client.as_ref().is_none_or(|client| text.contains(&format!("client {client}")));
        let at = offset.is_none_or(|offset| text.contains(&format!("offset {offset}:")));
        text.contains(&format!("room {room}")) && of_client && at
    })
}

proptest! {
    #[test]
    fn a_run_that_is_right_passes(run in runs()) {
        prop_assert_eq!(run.faults(), []);
    }

    #[test]
    fn any_single_fault_in_a_run_is_found_and_named(run in runs(), place: Index) {
        for fault in Break::ALL {
            let mut broken = run.clone();
            let names = fault.apply(&mut broken, &place);
            let faults = broken.faults();
            prop_assert!(named(&faults, &names), "{:?} at {:?}: {:?}", fault, names, faults);
        }
    }
}

/// Two clients in one room: ann comes first, bob after the first message.
fn small() -> Run {
    run_of(&[
        Step::Enter { room: 1, client: 1 },
        Step::Send { room: 1, client: 1, told: 1 },
        Step::Enter { room: 1, client: 2 },
        Step::Send { room: 1, client: 2, told: 2 },
        Step::Happen { room: 1 },
        Step::Send { room: 1, client: 1, told: 1 },
    ])
}

fn report(run: &Run) -> Vec<String> {
    run.faults().iter().map(Fault::to_string).collect()
}

#[test]
fn a_lost_row_is_a_hole_and_what_was_acknowledged_and_seen_is_missing() {
    let mut run = small();
    run.logs.get_mut("r1").unwrap().events.remove(1);
    assert_eq!(
        report(&run),
        [
            "room r1, offset 2: the log has a hole",
            "room r1, client c2, offset 2: acknowledged, and the log does not have it",
            "room r1, client c1, offset 2: seen, and the log does not have it",
            "room r1, client c2, offset 2: seen, and the log does not have it",
        ]
    );
}

#[test]
fn a_message_stored_twice_is_named_with_both_offsets() {
    let mut run = small();
    let log = run.logs.get_mut("r1").unwrap();
    log.events[3] = Event { offset: 4, ..log.events[1].clone() };
    let found = report(&run);
    assert_eq!(found[0], "room r1, offset 4: the log has the message at 2 too");
}

#[test]
fn each_thing_a_client_can_see_wrong_has_words_of_its_own() {
    for (change, wanted) in [
        ((|view| view.seen.retain(|one| one.offset != 2)) as fn(&mut View), "offset 2: not seen"),
        (|view| view.seen.insert(2, view.seen[0]), "offset 1: seen twice"),
        (|view| view.seen.swap(0, 1), "offset 1: seen after 2"),
        (|view| view.seen[1].print ^= 1, "offset 2: seen with other content than the log has"),
        (|view| view.seen[3].offset = 9, "offset 9: seen, and the log does not have it"),
    ] {
        let mut run = small();
        change(run.views.get_mut(&("r1".into(), "c1".into())).unwrap());
        let found = report(&run);
        assert!(found.contains(&format!("room r1, client c1, {wanted}")), "{wanted}: {found:?}");
    }
}

#[test]
fn a_client_that_came_later_is_not_owed_what_was_before() {
    let mut run = small();
    let early = run.logs["r1"].events[0].glimpse();
    let view = run.views.get_mut(&("r1".into(), "c2".into())).unwrap();
    assert_eq!((view.after, view.seen[0].offset), (1, 2));
    view.seen.insert(0, early);
    assert_eq!(report(&run), ["room r1, client c2, offset 1: seen after 1"]);
}

#[test]
fn a_message_without_an_answer_is_named_with_where_it_is_if_anywhere() {
    let mut run = small();
    run.acks.retain(|ack| ack.offset != 2);
    run.sent.push(Sent { room: "r1".into(), client: "c1".into(), idem: "lost".into() });
    let mut found = report(&run);
    found.sort();
    assert_eq!(
        found,
        [
            "room r1, client c1: never acknowledged",
            "room r1, client c2, offset 2: never acknowledged",
        ]
    );
}

#[test]
fn the_same_answer_again_is_right_and_another_one_is_not() {
    let mut run = small();
    assert_eq!(run.acks.iter().filter(|ack| ack.offset == 2).count(), 2);
    run.acks[1].offset = 4;
    run.acks[1].id = run.logs["r1"].events[3].id.clone();
    let found = report(&run);
    assert_eq!(
        found[0],
        "room r1, client c2, offset 4: acknowledged, and the log has another there"
    );
    assert_eq!(found[1], "room r1, client c2, offset 2: acknowledged at 4 before");
}
