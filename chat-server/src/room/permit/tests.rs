//! The whole table of rights, and what holds in all of it.

use std::fmt::Write as _;

use proptest::prelude::*;

use super::*;
use crate::room::RoomId;

const NOW: u64 = 1_000_000;

/// What a room or person is besides kind and role.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Plain,
    Muted,
    Archived,
    Banned,
}

/// Everything that has no rank in it; moderation here is of people who are not in the room.
const ACTS: [(&str, Act); 13] = [
    ("read", Act::Read),
    ("post", Act::Post),
    ("react", Act::React),
    ("edit", Act::Edit),
    ("delete own", Act::DeleteOwn),
    ("delete other", Act::DeleteOf(None)),
    ("mark", Act::Mark),
    ("join", Act::Join),
    ("leave", Act::Leave),
    ("invite", Act::Invite),
    ("moderate", Act::Moderate(None)),
    ("update", Act::Update),
    ("archive", Act::Archive),
];

fn roles() -> impl Iterator<Item = Option<Role>> {
    std::iter::once(None).chain(Role::ALL.map(Some))
}

fn decide(kind: Kind, state: State, role: Option<Role>, act: Act) -> Result<Permit, Denied> {
    let archived = state == State::Archived;
    let room = Room { id: RoomId::new(), kind, archived, slow_mode_seconds: 0 };
    let until = |wanted| if state == wanted { NOW + 1 } else { NOW };
    let (muted_until, banned_until) = (until(State::Muted), until(State::Banned));
    room.authorize(&Membership { role, muted_until, banned_until }, act, NOW)
}

const fn word(decision: Result<Permit, Denied>) -> &'static str {
    match decision {
        Ok(_) => "yes",
        Err(Denied::NotAMember) => "-",
        Err(Denied::Role { .. }) => "role",
        Err(Denied::RoleAboveOwn) => "above",
        Err(Denied::Muted { .. }) => "muted",
        Err(Denied::Banned { .. }) => "banned",
        Err(Denied::Archived) => "archived",
        Err(Denied::Direct) => "direct",
        Err(Denied::NotTheAuthor) => "author",
    }
}

fn line(first: &str, cells: impl Iterator<Item = &'static str>) -> String {
    let cells = cells.fold(format!("{first:<12}"), |mut line, cell| {
        write!(line, " {cell:<9}").unwrap();
        line
    });
    format!("{}\n", cells.trim_end())
}

fn head(first: &str, roles: impl Iterator<Item = Option<Role>>) -> String {
    line(first, roles.map(|role| role.map_or("nobody", Role::word)))
}

/// Acts down, roles across.
fn rights(kind: Kind, state: State) -> String {
    let row = |(name, act)| line(name, roles().map(|role| word(decide(kind, state, role, act))));
    head("", roles()) + &ACTS.map(row).concat()
}

/// Who acts down, whom it concerns across.
fn reach(act: impl Fn(Option<Role>) -> Act) -> String {
    let row = |role: Role| {
        let decide = |rank| decide(Kind::Public, State::Plain, Some(role), act(rank));
        line(role.word(), roles().map(|rank| word(decide(rank))))
    };
    head("", roles()) + &Role::ALL.map(row).concat()
}

/// The role that is taken down, the role that is given across.
fn promotions(by: Role) -> String {
    let row = |from: Role| {
        let decide = |to| decide(Kind::Public, State::Plain, Some(by), Act::Promote(from, to));
        line(from.word(), Role::ALL.iter().map(|to| word(decide(*to))))
    };
    head("", Role::ALL.into_iter().map(Some)) + &Role::ALL.map(row).concat()
}

#[test]
fn rights_in_a_public_room() {
    insta::assert_snapshot!(rights(Kind::Public, State::Plain), @r"
                 nobody    guest     member    moderator admin     owner
    read         yes       yes       yes       yes       yes       yes
    post         -         role      yes       yes       yes       yes
    react        -         role      yes       yes       yes       yes
    edit         -         role      yes       yes       yes       yes
    delete own   -         role      yes       yes       yes       yes
    delete other -         role      role      yes       yes       yes
    mark         -         yes       yes       yes       yes       yes
    join         yes       yes       yes       yes       yes       yes
    leave        -         yes       yes       yes       yes       yes
    invite       -         role      yes       yes       yes       yes
    moderate     -         role      role      yes       yes       yes
    update       -         role      role      role      yes       yes
    archive      -         role      role      role      role      yes
    ");
    insta::assert_snapshot!(rights(Kind::Public, State::Muted), @r"
                 nobody    guest     member    moderator admin     owner
    read         yes       yes       yes       yes       yes       yes
    post         -         muted     muted     muted     muted     muted
    react        -         muted     muted     muted     muted     muted
    edit         -         muted     muted     muted     muted     muted
    delete own   -         role      yes       yes       yes       yes
    delete other -         role      role      yes       yes       yes
    mark         -         yes       yes       yes       yes       yes
    join         yes       yes       yes       yes       yes       yes
    leave        -         yes       yes       yes       yes       yes
    invite       -         role      yes       yes       yes       yes
    moderate     -         role      role      yes       yes       yes
    update       -         role      role      role      yes       yes
    archive      -         role      role      role      role      yes
    ");
    insta::assert_snapshot!(rights(Kind::Public, State::Archived), @r"
                 nobody    guest     member    moderator admin     owner
    read         yes       yes       yes       yes       yes       yes
    post         -         archived  archived  archived  archived  archived
    react        -         archived  archived  archived  archived  archived
    edit         -         archived  archived  archived  archived  archived
    delete own   -         archived  archived  archived  archived  archived
    delete other -         archived  archived  archived  archived  archived
    mark         -         yes       yes       yes       yes       yes
    join         archived  archived  archived  archived  archived  archived
    leave        -         yes       yes       yes       yes       yes
    invite       -         archived  archived  archived  archived  archived
    moderate     -         role      role      yes       yes       yes
    update       -         archived  archived  archived  archived  archived
    archive      -         role      role      role      role      yes
    ");
}

#[test]
fn rights_in_a_private_room() {
    insta::assert_snapshot!(rights(Kind::Private, State::Plain), @r"
                 nobody    guest     member    moderator admin     owner
    read         -         yes       yes       yes       yes       yes
    post         -         role      yes       yes       yes       yes
    react        -         role      yes       yes       yes       yes
    edit         -         role      yes       yes       yes       yes
    delete own   -         role      yes       yes       yes       yes
    delete other -         role      role      yes       yes       yes
    mark         -         yes       yes       yes       yes       yes
    join         -         yes       yes       yes       yes       yes
    leave        -         yes       yes       yes       yes       yes
    invite       -         role      role      yes       yes       yes
    moderate     -         role      role      yes       yes       yes
    update       -         role      role      role      yes       yes
    archive      -         role      role      role      role      yes
    ");
    insta::assert_snapshot!(rights(Kind::Private, State::Muted), @r"
                 nobody    guest     member    moderator admin     owner
    read         -         yes       yes       yes       yes       yes
    post         -         muted     muted     muted     muted     muted
    react        -         muted     muted     muted     muted     muted
    edit         -         muted     muted     muted     muted     muted
    delete own   -         role      yes       yes       yes       yes
    delete other -         role      role      yes       yes       yes
    mark         -         yes       yes       yes       yes       yes
    join         -         yes       yes       yes       yes       yes
    leave        -         yes       yes       yes       yes       yes
    invite       -         role      role      yes       yes       yes
    moderate     -         role      role      yes       yes       yes
    update       -         role      role      role      yes       yes
    archive      -         role      role      role      role      yes
    ");
    insta::assert_snapshot!(rights(Kind::Private, State::Archived), @r"
                 nobody    guest     member    moderator admin     owner
    read         -         yes       yes       yes       yes       yes
    post         -         archived  archived  archived  archived  archived
    react        -         archived  archived  archived  archived  archived
    edit         -         archived  archived  archived  archived  archived
    delete own   -         archived  archived  archived  archived  archived
    delete other -         archived  archived  archived  archived  archived
    mark         -         yes       yes       yes       yes       yes
    join         -         archived  archived  archived  archived  archived
    leave        -         yes       yes       yes       yes       yes
    invite       -         archived  archived  archived  archived  archived
    moderate     -         role      role      yes       yes       yes
    update       -         archived  archived  archived  archived  archived
    archive      -         role      role      role      role      yes
    ");
}

#[test]
fn rights_in_a_direct_conversation() {
    insta::assert_snapshot!(rights(Kind::Direct, State::Plain), @r"
                 nobody    guest     member    moderator admin     owner
    read         -         yes       yes       yes       yes       yes
    post         -         role      yes       yes       yes       yes
    react        -         role      yes       yes       yes       yes
    edit         -         role      yes       yes       yes       yes
    delete own   -         role      yes       yes       yes       yes
    delete other -         role      role      yes       yes       yes
    mark         -         yes       yes       yes       yes       yes
    join         -         direct    direct    direct    direct    direct
    leave        -         direct    direct    direct    direct    direct
    invite       -         direct    direct    direct    direct    direct
    moderate     -         direct    direct    direct    direct    direct
    update       -         direct    direct    direct    direct    direct
    archive      -         direct    direct    direct    direct    direct
    ");
}

#[test]
fn moderation_reaches_those_below() {
    insta::assert_snapshot!(reach(Act::Moderate), @r"
                 nobody    guest     member    moderator admin     owner
    guest        role      role      role      role      role      role
    member       role      role      role      role      role      role
    moderator    yes       yes       yes       above     above     above
    admin        yes       yes       yes       yes       above     above
    owner        yes       yes       yes       yes       yes       above
    ");
    assert_eq!(reach(Act::Moderate), reach(Act::DeleteOf));
}

#[test]
fn admins_rank_those_below_among_themselves_and_owners_everyone() {
    insta::assert_snapshot!(promotions(Role::Admin), @r"
                 guest     member    moderator admin     owner
    guest        yes       yes       yes       above     above
    member       yes       yes       yes       above     above
    moderator    yes       yes       yes       above     above
    admin        above     above     above     above     above
    owner        above     above     above     above     above
    ");
    insta::assert_snapshot!(promotions(Role::Owner), @r"
                 guest     member    moderator admin     owner
    guest        yes       yes       yes       yes       yes
    member       yes       yes       yes       yes       yes
    moderator    yes       yes       yes       yes       yes
    admin        yes       yes       yes       yes       yes
    owner        yes       yes       yes       yes       yes
    ");
    let refused = promotions(Role::Moderator);
    assert!(!refused.contains("yes"), "{refused}");
}

#[test]
fn a_mute_and_a_ban_end_at_their_moment() {
    let room =
        Room { id: RoomId::new(), kind: Kind::Public, archived: false, slow_mode_seconds: 0 };
    let muted = Membership { role: Some(Role::Member), muted_until: NOW, banned_until: 0 };
    let until = Denied::Muted { until: NOW };
    assert_eq!(room.authorize(&muted, Act::Post, NOW - 1), Err(until));
    assert!(room.authorize(&muted, Act::Post, NOW).is_ok());
    let banned = Membership { role: None, muted_until: 0, banned_until: NOW };
    let until = Denied::Banned { until: NOW };
    assert_eq!(room.authorize(&banned, Act::Join, NOW - 1), Err(until));
    assert!(room.authorize(&banned, Act::Join, NOW).is_ok());
    let for_ever = Membership { banned_until: FOR_EVER, ..banned };
    let denied = room.authorize(&for_ever, Act::Read, u64::MAX / 4).unwrap_err();
    assert_eq!(denied.ends_at(), None);
    assert_eq!(until.ends_at(), Some(NOW));
}

fn role() -> impl Strategy<Value = Role> {
    proptest::sample::select(Role::ALL.to_vec())
}

fn kind() -> impl Strategy<Value = Kind> {
    proptest::sample::select(vec![Kind::Public, Kind::Private, Kind::Direct, Kind::Feed])
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        proptest::sample::select(ACTS.map(|(_, act)| act).to_vec()),
        proptest::option::of(role()).prop_map(Act::Moderate),
        proptest::option::of(role()).prop_map(Act::DeleteOf),
        (role(), role()).prop_map(|(from, to)| Act::Promote(from, to)),
    ]
}

fn state() -> impl Strategy<Value = State> {
    proptest::sample::select(vec![State::Plain, State::Muted, State::Archived])
}

proptest! {
    #[test]
    fn a_higher_role_may_do_what_a_lower_one_may(
        kind in kind(), state in state(), low in role(), high in role(), act in act(),
    ) {
        let (low, high) = (low.min(high), low.max(high));
        if decide(kind, state, Some(low), act).is_ok() {
            prop_assert_eq!(decide(kind, state, Some(high), act).map(Permit::act), Ok(act));
        }
    }

    #[test]
    fn a_member_may_do_what_somebody_outside_may(kind in kind(), state in state(), act in act()) {
        if decide(kind, state, None, act).is_ok() {
            prop_assert!(decide(kind, state, Some(Role::Guest), act).is_ok());
        }
    }

    #[test]
    fn whoever_is_banned_may_do_nothing(
        kind in kind(), role in proptest::option::of(role()), act in act(),
    ) {
        let banned = Denied::Banned { until: NOW + 1 };
        prop_assert_eq!(decide(kind, State::Banned, role, act), Err(banned));
    }

    #[test]
    fn an_archived_room_takes_no_writes(
        kind in kind(), role in proptest::option::of(role()), act in act(),
    ) {
        let stays = matches!(
            act,
            Act::Read | Act::Mark | Act::Leave | Act::Archive | Act::Moderate(_)
        );
        if !stays {
            prop_assert!(decide(kind, State::Archived, role, act).is_err());
        }
    }

    #[test]
    fn somebody_outside_only_reads_or_joins_a_public_room(kind in kind(), act in act()) {
        let may = decide(kind, State::Plain, None, act);
        let open = kind == Kind::Public && matches!(act, Act::Read | Act::Join);
        prop_assert_eq!(may.map(Permit::act), if open { Ok(act) } else { Err(Denied::NotAMember) });
    }
}
