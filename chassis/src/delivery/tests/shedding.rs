//! What gives way when connections are slow, in which order, and what counts against the budget.

use super::*;

/// Bytes of each frame; small against every threshold.
const FRAME_BYTES: usize = 200;

/// Publishes a frame of every class.
async fn round(bench: &Bench, topic: &Line) {
    for class in [Class::Typing, Class::Presence] {
        let frame = topic.frame(class, 0, FRAME_BYTES);
        for shard in 0..bench.delivery.shards() {
            bench.delivery.publish(shard, topic.id, frame.clone());
        }
    }
    topic.publish(bench, FRAME_BYTES);
    tokio::task::yield_now().await;
}

/// Rounds until everybody's events gave way, and the kinds in the order in which they began to.
async fn order(bench: &Bench, slow: usize, markers: bool) -> Vec<Shed> {
    let topic = Line::new(7);
    let mut members = Vec::new();
    for _ in 0..slow {
        let (member, reader) = bench.member(&topic).await;
        if markers {
            member.grant_markers();
        }
        members.push((member, reader));
    }
    let last = if markers { Shed::Lag } else { Shed::Closed };
    deadline(async {
        while bench.sheds(last) == 0 {
            round(bench, &topic).await;
        }
    })
    .await;
    let mut kinds = Vec::new();
    for shed in bench.reports.shed.lock().iter() {
        if !kinds.contains(shed) {
            kinds.push(*shed);
        }
    }
    kinds
}

#[tokio::test]
async fn one_slow_connection_gives_up_typing_then_presence_then_its_place_in_the_log() {
    for (markers, last) in [(true, Shed::Lag), (false, Shed::Closed)] {
        let bench = Bench::start(1, 32 * 1024, 1 << 30).await;
        assert_eq!(order(&bench, 1, markers).await, [Shed::Typing, Shed::Presence, last]);
    }
}

#[tokio::test]
async fn many_slow_connections_give_way_in_the_same_order_when_all_together_are_too_much() {
    for (markers, last) in [(true, Shed::Lag), (false, Shed::Closed)] {
        // Each alone has more room than all of them together.
        let bench = Bench::start(2, 1 << 20, 256 * 1024).await;
        assert_eq!(order(&bench, 30, markers).await, [Shed::Typing, Shed::Presence, last]);
    }
}

#[tokio::test]
async fn what_is_held_counts_and_is_given_back() {
    let (bench, topic) = (Bench::roomy().await, Line::new(7));
    let (member, mut reader) = bench.join().await;
    member.attach(topic.clone());
    for _ in 0..10 {
        topic.publish(&bench, FRAME_BYTES);
    }
    let held = || bench.delivery.backlog_bytes();
    until(|| held() >= 10 * FRAME_BYTES).await;
    member.release(&*topic, 4);
    for offset in 5..=10 {
        assert_eq!(reader.line().await, format!("7 {offset}"));
    }
    until(|| held() == 0).await;
    for leave in [true, false] {
        let other = Line::new(8 + u64::from(leave));
        member.attach(other.clone());
        other.publish(&bench, FRAME_BYTES);
        until(|| held() >= FRAME_BYTES).await;
        if leave {
            member.detach(other.id);
            until(|| held() == 0).await;
        }
    }
    drop(member);
    until(|| held() == 0).await;
}

#[tokio::test]
async fn who_is_on_hold_when_all_together_are_too_much_is_cut() {
    let (bench, topic) = (Bench::start(1, 1 << 20, 2000).await, Line::new(7));
    let (member, _reader) = bench.join().await;
    member.attach(topic.clone());
    for _ in 0..20 {
        topic.publish(&bench, FRAME_BYTES);
    }
    until(|| member.was_cut()).await;
    assert_eq!((bench.sheds(Shed::Closed), bench.delivery.backlog_bytes()), (1, 0));
}

#[tokio::test]
async fn who_takes_markers_is_told_what_was_not_held_and_goes_on() {
    for after in [0, 3, 20] {
        let (bench, topic) = (Bench::start(1, 1000, 1 << 20).await, Line::new(7));
        let (member, mut reader) = bench.join().await;
        member.grant_markers();
        member.attach(topic.clone());
        for _ in 0..20 {
            topic.publish(&bench, FRAME_BYTES);
        }
        until(|| bench.sheds(Shed::Lag) == 1).await;
        assert_eq!(bench.delivery.backlog_bytes(), 0, "nothing is kept of it");
        member.send("reply\n".into());
        member.release(&*topic, after);
        topic.publish(&bench, FRAME_BYTES);
        assert_eq!(reader.line().await, "reply");
        if after < 20 {
            assert_eq!(reader.line().await, format!("7 gap {} 20", after + 1));
        }
        assert_eq!(reader.line().await, "7 21");
        assert_eq!((bench.sheds(Shed::Lag), bench.sheds(Shed::Closed)), (1, 0));
    }
}

#[tokio::test]
async fn on_hold_typing_and_presence_give_way_before_events() {
    let (bench, topic) = (Bench::start(1, 8000, 1 << 20).await, Line::new(7));
    let (member, mut reader) = bench.join().await;
    member.attach(topic.clone());
    while bench.sheds(Shed::Presence) == 0 {
        round(&bench, &topic).await;
    }
    let top = topic.published();
    assert!(bench.sheds(Shed::Typing) > 0 && bench.sheds(Shed::Closed) == 0);
    member.release(&*topic, 0);
    let mut known = 0;
    while known < top {
        match reader.line().await.as_str() {
            "7 0" => {}
            line => {
                known += 1;
                assert_eq!(line, format!("7 {known}"));
            }
        }
    }
}
