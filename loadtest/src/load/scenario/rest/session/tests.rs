use serde_json::{Value, json};

use super::*;

/// A client that is in its channel, with all that is due at 1,000 and later in the window.
fn entered(ledger: &mut Ledger) -> Session {
    let mut session = Session::new(0, "kept:rest-0".to_owned());
    ledger.window = 1_000..u64::MAX;
    let connected = "{\"id\":1,\"connect\":{\"client\":\"c\",\"session\":\"5e\",\"node\":\"n\"}}\n";
    session.hear(connected.as_bytes(), 10, ledger).unwrap();
    assert_eq!(frame(&mut session, 10, ledger).unwrap()["subscribe"]["channel"], "kept:rest-0");
    session.answer(&Event::Status(204), 20, ledger);
    session.hear(b"{\"id\":2,\"subscribe\":{}}\n", 30, ledger).unwrap();
    assert!(session.is_in() && session.is_done());
    session
}

/// The frame of the next request; its envelope names the session.
fn frame(session: &mut Session, now: u64, ledger: &mut Ledger) -> Option<Value> {
    let mut out = Vec::new();
    session.request("localhost", 200, now, ledger, &mut out);
    let text = String::from_utf8(out).unwrap();
    let (_, body) = text.split_once("\r\n\r\n")?;
    let body: Value = serde_json::from_str(body).unwrap();
    assert_eq!((&body["session"], &body["node"]), (&json!("5e"), &json!("n")));
    Some(serde_json::from_str(body["data"].as_str().unwrap()).unwrap())
}

#[test]
fn of_ten_requests_six_publish_three_read_and_one_asks_who_is_there() {
    let mut ledger = Ledger::default();
    let mut session = entered(&mut ledger);
    let mut kinds = std::collections::BTreeMap::new();
    for _ in 0..MIX.len() {
        session.due(1_000);
        let frame = frame(&mut session, 1_000, &mut ledger).unwrap();
        if let Some(data) = frame["publish"].get("data") {
            assert_eq!(data.to_string().len(), 200);
        }
        let kind = frame.as_object().unwrap().keys().find(|key| *key != "id").unwrap().clone();
        *kinds.entry(kind).or_insert(0) += 1;
        session.answer(&Event::Status(204), 1_100, &mut ledger);
    }
    let expected = [("history", 3), ("presence_stats", 1), ("publish", 6)];
    assert!(kinds.iter().map(|(kind, count)| (kind.as_str(), *count)).eq(expected), "{kinds:?}");
}

#[test]
fn a_request_waits_for_the_answer_to_the_one_before_while_its_time_runs() {
    let mut ledger = Ledger::default();
    let mut session = entered(&mut ledger);
    session.due(1_000);
    session.due(2_000);
    assert!(frame(&mut session, 1_000, &mut ledger).is_some());
    assert!(frame(&mut session, 2_000, &mut ledger).is_none(), "two at once may be swapped");
    session.answer(&Event::Status(204), 9_000, &mut ledger);
    assert!(frame(&mut session, 9_000, &mut ledger).is_some());
    assert!(ledger.tally.lateness.max().as_nanos() >= 7_000, "{:?}", ledger.tally.lateness);
}

#[test]
fn a_reply_is_timed_from_when_its_request_was_due_and_ends_it() {
    let mut ledger = Ledger::default();
    let mut session = entered(&mut ledger);
    session.due(1_000);
    let id = frame(&mut session, 1_500, &mut ledger).unwrap()["id"].as_u64().unwrap();
    // It may come before the answer, and in pieces.
    let reply = format!("{{\"push\":{{}}}}\n{{\"id\":{id},\"publish\":{{\"offset\":1}}}}\n");
    let (one, other) = reply.as_bytes().split_at(17);
    session.hear(one, 5_000, &mut ledger).unwrap();
    session.hear(other, 6_000, &mut ledger).unwrap();
    assert!(!session.is_done(), "the answer is missing");
    session.answer(&Event::Status(204), 7_000, &mut ledger);
    assert!(session.is_done());
    assert_eq!((ledger.pushed, ledger.tally.lost()), (1, 0));
    let near = |times: &Times, nanos: u128| times.max().as_nanos().abs_diff(nanos) < 20;
    assert!(near(&ledger.tally.latency, 5_000), "{:?}", ledger.tally.latency);
    assert!(near(&ledger.tally.acknowledged, 6_000), "{:?}", ledger.tally.acknowledged);
}

#[test]
fn what_is_never_replied_to_is_lost_and_what_is_refused_is_not() {
    let mut ledger = Ledger::default();
    let mut session = entered(&mut ledger);
    let ask = |session: &mut Session, status, ledger: &mut Ledger| {
        session.due(1_000);
        let id = frame(session, 1_000, ledger).unwrap()["id"].as_u64().unwrap();
        session.answer(&Event::Status(status), 1_100, ledger);
        id
    };
    ask(&mut session, 429, &mut ledger);
    let refused = ask(&mut session, 204, &mut ledger);
    let error = format!("{{\"id\":{refused},\"error\":{{\"code\":111}}}}\n");
    session.hear(error.as_bytes(), 2_000, &mut ledger).unwrap();
    assert_eq!((ledger.tally.published.refused, ledger.tally.lost()), (2, 0));
    ask(&mut session, 204, &mut ledger);
    assert_eq!(ledger.tally.lost(), 1);
    let complaints: Vec<_> = ledger.tally.complaints.keys().map(String::as_str).collect();
    assert_eq!(complaints, ["\"error\":{\"code\":111}}", "status 429"]);
}

#[test]
fn a_ping_is_answered_and_counts_for_nothing() {
    let mut ledger = Ledger::default();
    let mut session = entered(&mut ledger);
    session.hear(b"{}\n", 2_000, &mut ledger).unwrap();
    assert_eq!(frame(&mut session, 2_000, &mut ledger), Some(json!({})));
    session.answer(&Event::Status(204), 3_000, &mut ledger);
    assert!(session.is_done());
    assert_eq!((ledger.tally.published.sent, ledger.tally.acknowledged.count()), (0, 0));
}

#[test]
fn a_client_that_is_not_let_in_says_why() {
    let refused = b"{\"id\":1,\"error\":{\"code\":101,\"message\":\"no token\"}}\n";
    let mut session = Session::new(0, "kept:rest-0".to_owned());
    let error = session.hear(refused, 1, &mut Ledger::default()).unwrap_err();
    assert!(error.to_string().contains("no token"), "{error}");
    let goodbye = b"{\"push\":{\"disconnect\":{\"code\":3001}}}\n";
    assert!(session.hear(goodbye, 1, &mut Ledger::default()).is_err());
    assert!(session.hear(&vec![b'x'; LINE_MAX + 1], 1, &mut Ledger::default()).is_err());
}
