//! Workers as processes of the program, on a server that does wrong when it is told to.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails where it stands")]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use chassis::testing::deadline;
use futures_util::{SinkExt as _, StreamExt as _};
use loadtest::load::crew::{Crew, Hire, Measurement};
use loadtest::load::dialect::{Speech, plain};
use loadtest::load::plan::{Entry, Load, Plan};
use loadtest::load::scenario::Outcome;
use loadtest::load::tally::Received;
use parking_lot::Mutex;
use rustix::process::{Pid, Signal, kill_process};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{Sender, channel};
use tokio::task::JoinSet;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};

/// What the server does to message number 5 of a room on its way to one member.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Wrong {
    Nothing,
    Loses,
    Doubles,
    SwapsWithTheNext,
    ClosesInstead,
}

/// A server of rooms: each message goes to everybody whose URL names the same one.
#[derive(Debug)]
struct Server {
    address: SocketAddr,
    _tasks: JoinSet<()>,
}

/// Members of a room, in order of their coming.
type Rooms = Arc<Mutex<BTreeMap<String, Vec<Sender<Message>>>>>;

impl Server {
    async fn start(wrong: Wrong) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let (rooms, mut members) = (Rooms::default(), JoinSet::new());
            while let Ok((stream, _)) = listener.accept().await {
                members.spawn(serve(stream, Arc::clone(&rooms), wrong));
            }
        });
        Self { address, _tasks: tasks }
    }
}

async fn serve(stream: TcpStream, rooms: Rooms, wrong: Wrong) {
    let mut room = String::new();
    #[expect(clippy::result_large_err, reason = "the library has it so")]
    let name = |request: &Request, response: Response| {
        request.uri().path().clone_into(&mut room);
        Ok(response)
    };
    let socket = tokio_tungstenite::accept_hdr_async(stream, name).await.unwrap();
    let (mut out, mut from) = socket.split();
    let (tell, mut told) = channel(10_000);
    rooms.lock().entry(room.clone()).or_default().push(tell);
    loop {
        tokio::select! {
            message = from.next() => match message {
                Some(Ok(message)) => pass_on(&mut rooms.lock().get_mut(&room).unwrap()[..], &message, wrong),
                _ => return,
            },
            message = told.recv() => {
                if out.send(message.unwrap()).await.is_err() {
                    return;
                }
            }
        }
    }
}

fn pass_on(members: &mut [Sender<Message>], message: &Message, wrong: Wrong) {
    let text = message.to_text().unwrap_or_default();
    let last = members.len() - 1;
    for (number, member) in members.iter().enumerate() {
        let send = |message: Message| drop(member.try_send(message));
        let fifth = number == last && text.contains(r#""n":"0000000005""#);
        match wrong {
            Wrong::Loses if fifth => {}
            Wrong::Doubles if fifth => {
                send(message.clone());
                send(message.clone());
            }
            Wrong::ClosesInstead if fifth => send(Message::Close(None)),
            // The sixth overtakes it: they change places.
            Wrong::SwapsWithTheNext if fifth => {
                send(text.replace(r#""n":"0000000005""#, r#""n":"0000000006""#).into());
            }
            Wrong::SwapsWithTheNext if number == last && text.contains(r#""n":"0000000006""#) => {
                send(text.replace(r#""n":"0000000006""#, r#""n":"0000000005""#).into());
            }
            _ => send(message.clone()),
        }
    }
}

/// Two rooms of ten on two workers, so that neither has whole rooms only; 100 messages.
fn plan(server: &Server) -> Plan {
    Plan {
        doors: vec![server.address],
        speech: Speech::Plain(plain::Settings { path: "/".to_owned() }),
        tls: None,
        channels: vec!["one".to_owned(), "other".to_owned()],
        members: 10,
        size: 100,
        workers: 2,
        entry: Entry::default(),
        load: Load::Rate(100.0),
        warm: Duration::ZERO,
        measure: Duration::from_secs(1),
        drain: Duration::from_millis(500),
        storm: None,
    }
}

fn program() -> Hire {
    Hire::Process(env!("CARGO_BIN_EXE_loadtest").into())
}

async fn measure(wrong: Wrong) -> Outcome {
    let server = Server::start(wrong).await;
    let measurement = Measurement {
        plan: plan(&server),
        hire: program(),
        servers: vec![std::process::id()],
        services: Vec::new(),
        settle: Duration::ZERO,
    };
    deadline(measurement.make(&mut |_| {})).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_that_is_said_is_heard_by_everybody_once() {
    let outcome = measure(Wrong::Nothing).await;
    let tally = &outcome.tally;
    assert_eq!(tally.faults(), [""; 0], "{:?}", tally.complaints);
    assert_eq!((tally.connections.entered, tally.published.sent), (20, 100));
    let wanted = Received { expected: 1_000, delivered: 1_000, ..Received::default() };
    assert_eq!(tally.received, wanted);
    assert_eq!((tally.latency.count(), tally.lateness.count()), (1_000, 100));
    assert_eq!((tally.handshake.count(), tally.entry.count()), (20, 20));
    assert!(tally.lateness.at(0.5) < tally.latency.max());
    assert!(outcome.workers.cpu_seconds > 0.0 && outcome.server.rss_idle > 0);
    assert_eq!(outcome.moments.last().unwrap().delivered, 1_000);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_a_server_does_wrong_to_a_message_is_counted_as_that() {
    let faults = async |wrong| measure(wrong).await.tally.faults();
    assert_eq!(faults(Wrong::Loses).await, ["2 deliveries lost"]);
    assert_eq!(faults(Wrong::Doubles).await, ["2 deliveries doubled"]);
    assert_eq!(faults(Wrong::SwapsWithTheNext).await, ["2 deliveries out of order"]);
    let lost = ["92 deliveries lost", "2 connections ended by the server"];
    assert_eq!(faults(Wrong::ClosesInstead).await, lost, "46 of 50 messages in two rooms");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_not_there_is_an_error_with_the_reason() {
    let server = Server::start(Wrong::Nothing).await;
    let plan = Plan { doors: vec![([127, 0, 0, 1], 9).into()], ..plan(&server) };
    let measurement = Measurement {
        plan,
        hire: program(),
        servers: Vec::new(),
        services: Vec::new(),
        settle: Duration::ZERO,
    };
    let error = deadline(measurement.make(&mut |_| {})).await.unwrap_err().to_string();
    assert!(error.contains("no connection was made: Connection refused"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_dies_ends_the_run_and_is_named() {
    let server = Server::start(Wrong::Nothing).await;
    let mut crew = Crew::hire(&program(), plan(&server)).await.unwrap();
    deadline(crew.ready(&mut |_| {})).await.unwrap();
    let own = std::process::id();
    let worker = crew.processes().into_iter().find(|process| *process != own).unwrap();
    let pid = Pid::from_raw(i32::try_from(worker).unwrap()).unwrap();
    kill_process(pid, Signal::KILL).unwrap();
    let error = deadline(crew.rest(Duration::from_secs(60))).await.unwrap_err().to_string();
    assert!(error.starts_with("worker ") && error.contains("is gone"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn workers_end_when_nobody_is_there_to_tell_them_anything() {
    let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_loadtest"))
        .arg("worker")
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    drop(child.stdin.take());
    let ended = tokio::task::spawn_blocking(move || child.wait().unwrap());
    assert_eq!(deadline(ended).await.unwrap().code(), Some(2));
}
