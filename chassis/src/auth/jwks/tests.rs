//! Fetching keys from a real HTTP server that rotates, hangs and talks nonsense.
//!
//! The clock is moved by [`pass`] and otherwise runs, because a paused clock would fire every
//! timeout the moment a test waits for a socket.

use std::future::Future as _;
use std::pin::pin;
use std::task::{Context, Waker};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::response::Response;
use axum::routing::get;
use futures_util::future::join_all;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::time;

use super::*;
use crate::auth::{Claims, Config, JwksSource, Verifier};
use crate::testing::{Issuer, deadline, jwks};

const NOW: u64 = 1_800_000_000;
const REFRESH: Duration = Duration::from_secs(5 * 60);

/// What the server answers.
#[derive(Debug, Clone)]
enum Answer {
    Ok(String),
    Status(u16),
    /// Takes the request and never answers.
    Hang,
    /// Sends the start of an answer and never the rest.
    Dribble,
}

/// An issuer's web server.
struct KeyServer {
    url: String,
    answer: Arc<Mutex<Answer>>,
    asked: watch::Receiver<usize>,
    _server: JoinSet<()>,
}

impl KeyServer {
    async fn start(set: String) -> Self {
        let answer = Arc::new(Mutex::new(Answer::Ok(set)));
        let (count, asked) = watch::channel(0);
        let shared = Arc::clone(&answer);
        let handler = move || {
            count.send_modify(|asked| *asked += 1);
            respond(shared.lock().clone())
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/keys", listener.local_addr().unwrap());
        let router = Router::new().route("/keys", get(handler));
        let mut server = JoinSet::new();
        server.spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { url, answer, asked, _server: server }
    }

    fn answers(&self, answer: Answer) {
        *self.answer.lock() = answer;
    }

    fn asked(&self) -> usize {
        *self.asked.borrow()
    }

    /// Waits until the server has been asked `count` times.
    async fn asked_times(&mut self, count: usize) {
        deadline(self.asked.wait_for(|asked| *asked >= count)).await.unwrap();
    }

    fn verifier(&self) -> Arc<Verifier> {
        let jwks = Some(JwksSource::Url(self.url.clone()));
        Verifier::new(Config { jwks, ..Config::default() }).unwrap()
    }
}

async fn respond(answer: Answer) -> Response {
    match answer {
        Answer::Ok(set) => Response::new(Body::from(set)),
        Answer::Status(status) => {
            let location = "/elsewhere";
            Response::builder()
                .status(status)
                .header("location", location)
                .body(Body::empty())
                .unwrap()
        }
        Answer::Hang => std::future::pending().await,
        Answer::Dribble => {
            use futures_util::StreamExt as _;
            let start = futures_util::stream::iter([Ok::<_, std::io::Error>("{\"keys\":")]);
            Response::new(Body::from_stream(start.chain(futures_util::stream::pending())))
        }
    }
}

/// Lets time pass without waiting for it.
async fn pass(time: Duration) {
    time::pause();
    time::advance(time).await;
    time::resume();
}

fn token(issuer: &Issuer) -> String {
    issuer.token(&json!({"sub": "alice"}))
}

async fn verify(verifier: &Verifier, token: &str) -> Result<Claims, TokenError> {
    deadline(verifier.verify_at(token, NOW)).await
}

#[tokio::test]
async fn keys_are_fetched_when_needed_and_once_for_all_who_wait() {
    let issuer = Issuer::es256("one");
    let server = KeyServer::start(issuer.jwks()).await;
    let (verifier, token) = (server.verifier(), token(&issuer));
    assert_eq!(server.asked(), 0);
    let answers = join_all((0..100).map(|_| verify(&verifier, &token))).await;
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    assert_eq!(server.asked(), 1);
}

#[tokio::test]
async fn rotation_is_followed_in_both_directions() {
    let (old, new) = (Issuer::ed_dsa("old"), Issuer::ed_dsa("new"));
    let mut server = KeyServer::start(old.jwks()).await;
    let verifier = server.verifier();
    let (old_token, new_token) = (token(&old), token(&new));
    assert!(verify(&verifier, &old_token).await.is_ok());

    // A key not seen before is asked for, but not within ten seconds of the last fetch.
    server.answers(Answer::Ok(jwks([&old, &new])));
    assert_eq!(verify(&verifier, &new_token).await, Err(TokenError::UnknownKey));
    pass(Duration::from_secs(10)).await;
    assert!(verify(&verifier, &new_token).await.is_ok());
    assert!(verify(&verifier, &old_token).await.is_ok());
    assert_eq!(server.asked(), 2);

    // A key taken away serves until the next refresh, which the first token after it starts.
    server.answers(Answer::Ok(new.jwks()));
    assert!(verify(&verifier, &old_token).await.is_ok());
    pass(REFRESH).await;
    assert!(verify(&verifier, &new_token).await.is_ok());
    server.asked_times(3).await;
    deadline(async {
        while verify(&verifier, &old_token).await.is_ok() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(verify(&verifier, &old_token).await, Err(TokenError::UnknownKey));
    assert!(verify(&verifier, &new_token).await.is_ok());
}

#[tokio::test]
async fn made_up_key_ids_cause_one_fetch_in_ten_seconds() {
    let issuer = Issuer::ed_dsa("one");
    let server = KeyServer::start(issuer.jwks()).await;
    let verifier = server.verifier();
    assert!(verify(&verifier, &token(&issuer)).await.is_ok());
    pass(Duration::from_secs(10)).await;
    let stranger = Issuer::ed_dsa("two");
    for attempt in 0..100 {
        let header = json!({"alg": "EdDSA", "kid": format!("made up {attempt}")});
        let token = stranger.token_with_header(&header, &json!({}));
        assert_eq!(verify(&verifier, &token).await, Err(TokenError::UnknownKey));
    }
    assert_eq!(server.asked(), 2);
}

#[tokio::test]
async fn a_server_that_hangs_is_given_up_and_the_old_keys_serve() {
    let issuer = Issuer::ed_dsa("one");
    for answer in [Answer::Hang, Answer::Dribble] {
        let mut server = KeyServer::start(issuer.jwks()).await;
        let (verifier, token) = (server.verifier(), token(&issuer));
        assert!(verify(&verifier, &token).await.is_ok());
        server.answers(answer);
        pass(2 * REFRESH).await;
        let mut waiting = pin!(verify(&verifier, &token));
        assert!(futures_util::poll!(&mut waiting).is_pending());
        server.asked_times(2).await;
        let before = Instant::now();
        // Nothing will arrive any more: the clock may jump from timeout to timeout.
        time::pause();
        assert!(waiting.await.is_ok());
        assert!(before.elapsed() < source::FETCH_TIMEOUT + Duration::from_secs(1));
        time::resume();
    }
}

#[tokio::test]
async fn without_any_keys_the_answer_is_that_they_are_unavailable() {
    let issuer = Issuer::ed_dsa("one");
    let mut server = KeyServer::start(issuer.jwks()).await;
    server.answers(Answer::Hang);
    let (verifier, token) = (server.verifier(), token(&issuer));
    let mut waiting = pin!(verify(&verifier, &token));
    assert!(futures_util::poll!(&mut waiting).is_pending());
    server.asked_times(1).await;
    time::pause();
    assert_eq!(waiting.await, Err(TokenError::KeysUnavailable));
    time::resume();
    server.answers(Answer::Ok(issuer.jwks()));
    assert_eq!(verify(&verifier, &token).await, Err(TokenError::KeysUnavailable));
    pass(Duration::from_secs(10)).await;
    assert!(verify(&verifier, &token).await.is_ok());
}

#[tokio::test]
async fn nonsense_keeps_the_old_keys_for_a_day_and_no_longer() {
    let issuer = Issuer::ed_dsa("one");
    let many = json!({"keys": vec![issuer.jwk(); 65]}).to_string();
    for nonsense in [
        Answer::Ok("<html>maintenance</html>".to_owned()),
        Answer::Ok("{}".to_owned()),
        Answer::Ok(many),
        Answer::Ok(format!("{{\"keys\":[],\"pad\":\"{}\"}}", "x".repeat(256 * 1024))),
        Answer::Status(500),
        Answer::Status(302),
    ] {
        let server = KeyServer::start(issuer.jwks()).await;
        let (verifier, token) = (server.verifier(), token(&issuer));
        assert!(verify(&verifier, &token).await.is_ok());
        server.answers(nonsense.clone());
        pass(2 * REFRESH).await;
        assert!(verify(&verifier, &token).await.is_ok(), "{nonsense:?}");
        assert_eq!(server.asked(), 2);
        pass(Duration::from_secs(23 * 3600)).await;
        assert!(verify(&verifier, &token).await.is_ok(), "{nonsense:?}");
        pass(Duration::from_secs(3600)).await;
        let answer = verify(&verifier, &token).await;
        assert_eq!(answer, Err(TokenError::KeysUnavailable), "{nonsense:?}");
    }
}

#[tokio::test]
async fn an_empty_set_withdraws_every_key() {
    let issuer = Issuer::ed_dsa("one");
    let server = KeyServer::start(issuer.jwks()).await;
    let (verifier, token) = (server.verifier(), token(&issuer));
    assert!(verify(&verifier, &token).await.is_ok());
    server.answers(Answer::Ok("{\"keys\":[]}".to_owned()));
    pass(2 * REFRESH).await;
    assert_eq!(verify(&verifier, &token).await, Err(TokenError::UnknownKey));
}

#[tokio::test]
async fn a_caller_that_goes_away_leaves_the_fetch_to_the_others() {
    let issuer = Issuer::ed_dsa("one");
    let mut server = KeyServer::start(issuer.jwks()).await;
    let (verifier, token) = (server.verifier(), token(&issuer));
    {
        let mut first = pin!(verifier.verify_at(&token, NOW));
        let mut context = Context::from_waker(Waker::noop());
        assert!(first.as_mut().poll(&mut context).is_pending());
    }
    assert!(verify(&verifier, &token).await.is_ok());
    server.asked_times(1).await;
    assert_eq!(server.asked(), 1);
}

#[tokio::test]
async fn a_key_set_file_is_read_again_when_it_changes() {
    let (old, new) = (Issuer::ed_dsa("old"), Issuer::ed_dsa("new"));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys.json");
    std::fs::write(&path, old.jwks()).unwrap();
    let jwks = Some(JwksSource::File(path.clone()));
    let verifier = Verifier::new(Config { jwks, ..Config::default() }).unwrap();
    let second = Duration::from_secs(1);
    assert!(verify(&verifier, &token(&old)).await.is_ok());

    let next = folder.path().join("next.json");
    std::fs::write(&next, new.jwks()).unwrap();
    std::fs::rename(&next, &path).unwrap();
    pass(second).await;
    assert!(verify(&verifier, &token(&new)).await.is_ok());
    assert_eq!(verify(&verifier, &token(&old)).await, Err(TokenError::UnknownKey));

    std::fs::write(&path, "half a fi").unwrap();
    pass(second).await;
    assert!(verify(&verifier, &token(&new)).await.is_ok());
    std::fs::remove_file(&path).unwrap();
    pass(second).await;
    assert!(verify(&verifier, &token(&new)).await.is_ok());
}
