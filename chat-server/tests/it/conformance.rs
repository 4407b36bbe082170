//! RFC 6455 row by row: a raw client writes exact bytes and reads every answer.
//!
//! In the manner of the Autobahn test suite; the rows are in [`cases`] and [`upgrades`].

mod cases;
pub mod raw;
mod texts;
mod upgrades;

use std::time::Duration;

use prost::Message;
use proto::client::v1::{Reply, reply};
use serde_json::Value;
use tokio::time::timeout;

use self::cases::{Answer, Case, Delivery, Speaks};
use self::raw::{BINARY, CLOSE, Frame, PATH, PONG, Raw, TEXT, close};
use crate::harness::Stage;

/// Longer than any answer takes.
const PATIENCE: Duration = Duration::from_secs(5);

async fn stage() -> Stage {
    Stage::with(&[("RATE_LIMIT_PER_MINUTE", "1000000")]).await
}

/// Runs every row and names those that fail.
async fn run(rows: Vec<Case>) {
    let stage = stage().await;
    let mut failed = Vec::new();
    for row in rows {
        for writes in writes(&row) {
            let seen = answers(&stage, &row, &writes).await;
            let mut expected = row.answers.clone();
            if !matches!(expected.last(), Some(Answer::Close(_))) {
                expected.push(Answer::Close(1000));
            }
            if seen != expected {
                let parts: Vec<_> = writes.iter().map(|part| part.len()).collect();
                failed.push(format!("{}: {seen:?}, not {expected:?} (in {parts:?})", row.name));
                break;
            }
        }
    }
    assert!(failed.is_empty(), "{} rows fail:\n{}", failed.len(), failed.join("\n"));
}

/// The writes of each connection the row needs.
fn writes(row: &Case) -> Vec<Vec<&[u8]>> {
    match row.delivery {
        Delivery::AtOnce => vec![vec![&row.bytes]],
        Delivery::ByteByByte => vec![row.bytes.chunks(1).collect()],
        Delivery::EverySplit => {
            let split = |at| {
                let (first, second) = row.bytes.split_at(at);
                vec![first, second]
            };
            (1..row.bytes.len()).map(split).collect()
        }
    }
}

async fn answers(stage: &Stage, row: &Case, writes: &[&[u8]]) -> Vec<Answer> {
    let target = match row.speaks {
        Speaks::Json => PATH.to_owned(),
        Speaks::Protobuf => format!("{PATH}?cf_protocol=protobuf"),
    };
    let mut client = Raw::open(stage, &target).await;
    for part in writes {
        client.write(part).await;
    }
    if !matches!(row.answers.last(), Some(Answer::Close(_))) {
        client.write(&close(1000, b"")).await;
    }
    let mut answers = Vec::new();
    loop {
        let Ok(frame) = timeout(PATIENCE, client.frame()).await else {
            answers.push(Answer::Silence);
            return answers;
        };
        match (frame, answers.last()) {
            (None, Some(Answer::Close(_))) => return answers,
            (None, _) => {
                answers.push(Answer::End);
                return answers;
            }
            (Some(frame), _) => answers.push(answer(row.speaks, frame)),
        }
    }
}

fn answer(speaks: Speaks, frame: Frame) -> Answer {
    let Frame { opcode, payload } = frame;
    match (opcode, speaks) {
        (PONG, _) => Answer::Pong(payload),
        (CLOSE, _) if payload.len() >= 2 && std::str::from_utf8(&payload[2..]).is_ok() => {
            Answer::Close(u16::from_be_bytes([payload[0], payload[1]]))
        }
        (TEXT, Speaks::Json) => match serde_json::from_slice::<Value>(&payload) {
            Ok(reply) if reply["id"] == 1 && reply["connect"]["client"].is_string() => {
                Answer::Connected
            }
            other => Answer::Other(format!("{other:?}")),
        },
        (BINARY, Speaks::Protobuf) => match Reply::decode_length_delimited(&*payload) {
            Ok(Reply { id: 1, body: Some(reply::Body::Connect(_)) }) => Answer::Connected,
            other => Answer::Other(format!("{other:?}")),
        },
        _ => Answer::Other(format!("opcode {opcode:#x}: {payload:?}")),
    }
}

#[tokio::test]
async fn messages_of_every_length_up_to_the_limit_arrive_and_none_beyond() {
    run(cases::lengths()).await;
}

#[tokio::test]
async fn any_delivery_of_the_bytes_gives_the_same_messages() {
    run(cases::deliveries()).await;
}

#[tokio::test]
async fn fragments_make_one_message() {
    run(cases::fragments()).await;
}

#[tokio::test]
async fn control_frames_are_answered_wherever_they_stand() {
    run(cases::controls()).await;
}

#[tokio::test]
async fn reserved_bits_and_opcodes_fail_the_connection() {
    run(cases::reserved()).await;
}

#[tokio::test]
async fn frames_without_a_mask_or_out_of_order_fail_the_connection() {
    run(cases::order()).await;
}

#[tokio::test]
async fn every_close_is_answered_and_the_connection_ends() {
    run(cases::closes()).await;
}

#[tokio::test]
async fn text_is_utf8_or_fails_the_connection() {
    run(texts::utf8()).await;
}

#[tokio::test]
async fn the_kind_of_a_message_is_that_of_the_connection() {
    run(texts::kinds()).await;
}

#[tokio::test]
async fn only_a_good_request_is_upgraded() {
    let stage = stage().await;
    let mut failed = Vec::new();
    for row in upgrades::all() {
        if let Err(error) = timeout(PATIENCE, row.run(&stage))
            .await
            .unwrap_or_else(|_elapsed| Err("no answer".to_owned()))
        {
            failed.push(format!("{}: {error}", row.name));
        }
    }
    assert!(failed.is_empty(), "{} rows fail:\n{}", failed.len(), failed.join("\n"));
}

#[test]
fn the_table_holds_at_least_sixty_rows_each_with_its_own_name() {
    let frames = cases::all().into_iter().map(|row| row.name);
    let mut names: Vec<_> =
        frames.chain(upgrades::all().into_iter().map(|row| row.name.to_owned())).collect();
    let count = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), count, "two rows of one name");
    assert!(count >= 60, "{count} rows");
}
