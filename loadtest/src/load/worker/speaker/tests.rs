//! Schedules of several workers against the plan that they share.

use std::time::Duration;

use super::*;
use crate::load::dialect::{Speech, plain};
use crate::load::plan::Entry;

/// One second of a load.
fn plan(rooms: usize, members: usize, workers: usize, load: Load) -> Plan {
    Plan {
        doors: vec![([127, 0, 0, 1], 1).into()],
        speech: Speech::Plain(plain::Settings { path: "/".to_owned() }),
        tls: None,
        channels: (0..rooms).map(|room| format!("r{room}")).collect(),
        members,
        size: 200,
        workers,
        entry: Entry::default(),
        load,
        warm: Duration::ZERO,
        measure: Duration::from_secs(1),
        drain: Duration::ZERO,
        storm: None,
    }
}

fn speaker(plan: &Plan, worker: usize) -> Speaker {
    let mut speaker = Speaker::new(&Part { worker, plan: plan.clone() });
    speaker.begin(SECOND);
    speaker
}

#[test]
fn workers_share_an_open_load_so_that_every_message_is_due_once_and_evenly() {
    let plan = plan(7, 3, 2, Load::Rate(1_000.0));
    let mut all = Vec::new();
    for worker in 0..2 {
        let mut speaker = speaker(&plan, worker);
        while let Some(due) = speaker.next() {
            assert_eq!(speaker.cue(due - 1), None, "not before it is due");
            let cue = speaker.cue(due).unwrap();
            assert_eq!(cue.due, due);
            all.push((due, speaker.rooms[cue.room].seat / 3));
            speaker.sent(cue, false);
        }
        assert!(speaker.is_done(2 * SECOND));
    }
    all.sort_unstable();
    let dues = (0_u64..1_000).map(|message| SECOND + message * 1_000_000);
    let wanted = dues.zip((0_usize..7).cycle());
    assert!(all.into_iter().eq(wanted));
}

#[test]
fn a_late_worker_says_everything_that_was_due_and_nothing_more() {
    let plan = plan(1, 1, 1, Load::Rate(100.0));
    let mut speaker = speaker(&plan, 0);
    let mut count = 0;
    assert!(!speaker.is_done(5 * SECOND));
    while let Some(cue) = speaker.cue(5 * SECOND) {
        assert!(cue.due < 2 * SECOND);
        speaker.sent(cue, false);
        count += 1;
    }
    assert_eq!(count, 100);
    assert!(speaker.is_done(5 * SECOND) && speaker.next().is_none());
}

#[test]
fn a_window_lets_a_room_speak_when_all_its_members_here_have_heard() {
    let plan = plan(2, 3, 1, Load::Window(2));
    let mut speaker = speaker(&plan, 0);
    let now = SECOND + 1;
    let said = |speaker: &mut Speaker| {
        let mut rooms = Vec::new();
        while let Some(cue) = speaker.cue(now) {
            speaker.sent(cue, false);
            rooms.push(cue.room);
        }
        rooms.sort_unstable();
        rooms
    };
    assert_eq!(said(&mut speaker), [0, 0, 1, 1]);
    speaker.delivered(1);
    speaker.delivered(1);
    assert_eq!(said(&mut speaker), [0; 0]);
    speaker.delivered(1);
    assert_eq!(said(&mut speaker), [1]);
    (0..6).for_each(|_| speaker.delivered(0));
    assert_eq!(said(&mut speaker), [0, 0]);
    (0..6).for_each(|_| speaker.delivered(0));
    assert_eq!(speaker.cue(2 * SECOND), None, "the time is over");
}

#[test]
fn turns_are_shared_by_the_workers_and_go_around_the_rooms() {
    let plan = plan(4, 2, 2, Load::Turns(3));
    let mut both = [speaker(&plan, 0), speaker(&plan, 1)];
    let said = both.each_mut().map(|speaker| {
        let mut rooms = Vec::new();
        while let Some(cue) = speaker.cue(SECOND) {
            speaker.sent(cue, false);
            rooms.push(cue.room);
        }
        rooms
    });
    assert_eq!(said, [vec![0], vec![0, 1]]);
    let [one, _] = &mut both;
    one.delivered(0);
    assert_eq!(one.cue(SECOND), None);
    one.delivered(0);
    assert_eq!(one.cue(SECOND).unwrap().room, 1);
}

#[test]
fn what_is_acknowledged_is_the_oldest_of_its_room_and_too_many_choke_it() {
    let plan = plan(1, 1, 1, Load::Rate(1_000.0));
    let mut speaker = speaker(&plan, 0);
    let mut dues = Vec::new();
    while let Some(cue) = speaker.cue(3 * SECOND) {
        assert!(!speaker.is_choked(0));
        speaker.sent(cue, true);
        dues.push(cue.due);
    }
    assert!(speaker.is_choked(0));
    let acknowledged: Vec<u64> = std::iter::from_fn(|| speaker.acknowledged(0)).collect();
    assert_eq!(acknowledged, dues);
}
