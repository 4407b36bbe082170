//! The checker of plain channels on a run that is right, and on the same run broken in one place.

use super::*;

fn name(text: &str) -> Name {
    text.into()
}

/// Two lives of one channel: Redis lost its data once. Ann saw all, bob came for the end.
fn right() -> Run {
    let seen = |base: u64, offsets: std::ops::RangeInclusive<u64>| -> Vec<Glimpse> {
        offsets.map(|offset| Glimpse { offset, print: base + offset }).collect()
    };
    let stay = |epoch: &str, after, seen| Stay { epoch: epoch.to_owned(), after, seen };
    let key = |client| (name("plain:one"), name(client));
    let ack = |epoch: &str, offset, print| Ack {
        channel: name("plain:one"),
        client: name("cid"),
        epoch: epoch.to_owned(),
        offset,
        print,
    };
    let end = End { epoch: "b".to_owned(), head: 4, kept: seen(200, 2..=4) };
    Run {
        acks: vec![ack("a", 2, 102), ack("a", 9, 109), ack("b", 1, 201), ack("b", 3, 203)],
        views: BTreeMap::from([
            (key("ann"), vec![stay("a", 0, seen(100, 1..=3)), stay("b", 0, seen(200, 1..=4))]),
            (key("bob"), vec![stay("a", 2, seen(100, 3..=3)), stay("b", 3, seen(200, 4..=4))]),
        ]),
        ends: BTreeMap::from([(name("plain:one"), vec![end.clone(), end])]),
        losses: 1,
        kept: 3,
    }
}

/// What breaks a run.
type Change = fn(&mut Run);

fn report(change: impl FnOnce(&mut Run)) -> Vec<String> {
    let mut run = right();
    change(&mut run);
    run.faults().iter().map(Fault::to_string).collect()
}

/// A view of the run, and a stay of it.
fn stay<'a>(run: &'a mut Run, client: &str, number: usize) -> &'a mut Stay {
    let key = (name("plain:one"), name(client));
    &mut run.views.get_mut(&key).expect("a client of the run")[number]
}

fn ends(run: &mut Run) -> &mut Vec<End> {
    run.ends.get_mut("plain:one").expect("a channel of the run")
}

#[test]
fn a_run_that_is_right_passes_and_what_an_old_life_lost_is_no_fault() {
    assert_eq!(report(|_| ()), Vec::<String>::new());
}

#[test]
fn each_thing_that_can_be_wrong_is_named() {
    let cases: [(Change, &str); 10] = [
        (
            |run| stay(run, "ann", 0).seen.retain(|one| one.offset != 2),
            "client ann, epoch a, offset 3: came af",
        ),
        (
            |run| {
                let again = stay(run, "ann", 1).seen[1];
                stay(run, "ann", 1).seen.insert(2, again);
            },
            "client ann, epoch b, offset 2: came after 2",
        ),
        (|run| stay(run, "ann", 1).seen.swap(0, 1), "client ann, epoch b, offset 2: came after 0"),
        (|run| stay(run, "bob", 0).seen[0].print = 7, "client bob, epoch a, offset 3: somebody"),
        (
            |run| stay(run, "ann", 1).seen[0].print = 101,
            "client ann, epoch b, offset 1: the message stands at 1 of a too",
        ),
        (|run| stay(run, "bob", 1).seen.clear(), "client bob, epoch b, offset 3: the last"),
        (
            |run| stay(run, "bob", 1).epoch = "c".to_owned(),
            "client bob, epoch c, offset 4: the channel is in epoch b",
        ),
        (|run| run.acks[0].print = 7, "client cid, epoch a, offset 2: acknowledged, and something"),
        (|run| run.acks[3].offset = 9, "client cid, epoch b, offset 9: acknowledged, and not"),
        (|run| run.losses = 0, "epoch b, offset 0: 2 epochs, and Redis lost what it had 0 times"),
    ];
    for (change, wanted) in cases {
        let found = report(change);
        assert!(found.iter().any(|fault| fault.contains(wanted)), "{wanted}: {found:?}");
    }
}

#[test]
fn an_acknowledged_message_that_the_history_does_not_have_is_missing() {
    let found = report(|run| {
        let later = Glimpse { offset: 3, print: 999 };
        ends(run).iter_mut().for_each(|end| end.kept[1] = later);
    });
    let wanted = "channel plain:one, client cid, epoch b, offset 3: acknowledged, and not there";
    assert!(found.iter().any(|fault| fault == wanted), "{found:?}");
}

#[test]
fn a_position_that_is_not_recovered_is_wrong_when_all_behind_it_is_kept() {
    let split = |run: &mut Run, missed: usize| {
        let key = (name("plain:one"), name("ann"));
        let stays = run.views.get_mut(&key).expect("a client of the run");
        let stay = stays.pop().expect("a stay");
        stays.push(Stay { seen: Vec::new(), ..stay.clone() });
        stays.push(Stay { after: missed as u64, seen: stay.seen[missed..].to_vec(), ..stay });
    };
    assert_eq!(report(|run| split(run, 4)), Vec::<String>::new());
    let wanted = "channel plain:one, client ann, epoch b, offset 3: put there from 0, though all \
                  between was kept";
    assert_eq!(report(|run| split(run, 3)), [wanted]);
}

#[test]
fn nodes_that_do_not_agree_are_named() {
    let found = report(|run| ends(run)[1].head = 5);
    assert_eq!(
        found,
        ["channel plain:one, epoch b, offset 5: node 1 has another history than node 0"]
    );
}

#[test]
fn two_messages_at_one_place_are_found_though_nobody_saw_them() {
    let found = report(|run| {
        let other = Ack { print: 110, ..run.acks[1].clone() };
        run.acks.push(other);
    });
    assert_eq!(
        found,
        ["channel plain:one, client cid, epoch a, offset 9: acknowledged, and something else is \
          there"]
    );
}
