//! The state as calls and the probe change it, without a database.

use std::io;

use super::*;

const AWAY_MAX: Duration = Duration::from_secs(10);

fn lost() -> sqlx::Error {
    sqlx::Error::Io(io::ErrorKind::ConnectionReset.into())
}

fn monitor() -> Monitor {
    Monitor::new(Duration::from_secs(60))
}

fn reason<T: std::fmt::Debug>(outcome: Result<T, Error>) -> &'static str {
    match outcome {
        Err(Error::Unavailable { reason, retry_after }) => {
            assert_eq!(retry_after, RETRY_AFTER);
            reason
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn the_server_is_unready_only_when_the_store_was_away_for_a_while() {
    let monitor = monitor();
    let status = || monitor.state().status(Instant::now(), AWAY_MAX);
    assert_eq!(status(), Status::Ok);
    monitor.failed("store_down", &"gone");
    assert_eq!(status(), Status::Degraded("store_down for 0 s".to_owned()));
    tokio::time::advance(AWAY_MAX - Duration::from_millis(1)).await;
    assert_eq!(status(), Status::Degraded("store_down for 9 s".to_owned()));
    tokio::time::advance(Duration::from_millis(1)).await;
    // Another reason is not another beginning.
    monitor.failed("store_read_only", &"a standby");
    assert_eq!(status(), Status::Failing("store_read_only for 10 s".to_owned()));
    monitor.recovered();
    assert_eq!(status(), Status::Ok);
    monitor.failed("store_down", &"gone again");
    assert_eq!(status(), Status::Degraded("store_down for 0 s".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn a_broken_connection_wakes_the_probe_and_refuses_nobody_else() {
    let monitor = monitor();
    assert_eq!(
        reason(monitor.guard(Need::Write, async { Err::<(), _>(lost()) }).await),
        "store_down"
    );
    assert_eq!(monitor.state(), State::Up);
    assert!(monitor.suspects_connections.load(Ordering::Relaxed));
    monitor.suspicion.notified().await;
    assert_eq!(monitor.guard(Need::Write, async { Ok(1) }).await.unwrap(), 1);
}

#[tokio::test(start_paused = true)]
async fn who_waits_is_told_when_the_store_goes_down() {
    let monitor = monitor();
    let never = monitor.guard(Need::Read, std::future::pending::<Result<(), sqlx::Error>>());
    let told = async {
        tokio::task::yield_now().await;
        monitor.failed("store_down", &"no answer");
    };
    let (outcome, ()) = tokio::join!(never, told);
    assert_eq!(reason(outcome), "store_down");
    // And who comes afterwards is not even tried.
    let untried = async { panic!("it was tried") };
    assert_eq!(reason(monitor.guard::<()>(Need::Read, untried).await), "store_down");
    assert_eq!(reason(monitor.check()), "store_down");
}

#[tokio::test(start_paused = true)]
async fn a_call_without_an_answer_ends_within_three_seconds() {
    let monitor = monitor();
    let began = Instant::now();
    let never = monitor.guard(Need::Write, std::future::pending::<Result<(), sqlx::Error>>());
    assert_eq!(reason(never.await), "store_timeout");
    assert_eq!(began.elapsed(), PATIENCE_MAX);
    assert_eq!(monitor.state(), State::Up, "one slow call says nothing of the others");
}

#[tokio::test]
async fn what_cannot_be_written_can_be_read() {
    let monitor = monitor();
    for word in ["store_read_only", "store_full", "store_locked"] {
        monitor.failed(word, &"as it is");
        assert_eq!(monitor.guard(Need::Read, async { Ok(1) }).await.unwrap(), 1);
        assert_eq!(reason(monitor.guard(Need::Write, async { Ok(1) }).await), word);
    }
    monitor.failed("store_down", &"gone");
    assert_eq!(reason(monitor.guard(Need::Read, async { Ok(1) }).await), "store_down");
}

#[tokio::test]
async fn an_error_of_a_statement_says_nothing_of_the_store() {
    let monitor = monitor();
    let wrong = async { Err::<(), _>(sqlx::Error::RowNotFound) };
    let outcome = monitor.guard(Need::Write, wrong).await;
    assert!(matches!(outcome, Err(Error::Database(_))), "{outcome:?}");
    assert_eq!(monitor.state(), State::Up);
}
