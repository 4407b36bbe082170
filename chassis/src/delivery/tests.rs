//! Delivery through real sockets: what members receive, in which order, and what slow ones cost.

mod model;
mod shedding;

use std::net::SocketAddr;
use std::sync::atomic::AtomicU64;

use parking_lot::Mutex;
use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::Semaphore;

use super::*;
use crate::accept::{Admission, Limits, Socket};
use crate::testing::deadline;

/// What the kernels of both sides take at most in a test, with what Linux adds.
const KERNEL_BYTES_MAX: usize = 64 * 1024;

/// A delivery, and the place its members come from.
struct Bench {
    delivery: Delivery,
    reports: Arc<Reports>,
    listener: TcpListener,
    admission: Arc<Admission>,
}

/// What the shards report.
#[derive(Default)]
struct Reports {
    due: AtomicU64,
    handed: AtomicU64,
    shed: Mutex<Vec<Shed>>,
}

/// A topic of the tests; its frames are lines that say topic and offset.
struct Line {
    id: TopicId,
    published: AtomicU64,
}

/// The other end of a member.
struct Reader {
    stream: TcpStream,
    unread: Vec<u8>,
}

impl Observer for Reports {
    fn delivered(&self, delivered: Delivered) {
        self.due.fetch_add(delivered.due, Ordering::Relaxed);
        self.handed.fetch_add(delivered.handed, Ordering::Relaxed);
    }

    fn caught_up(&self, frames: u64) {
        self.handed.fetch_add(frames, Ordering::Relaxed);
    }

    fn shed(&self, shed: Shed) {
        self.shed.lock().push(shed);
    }

    fn failed(&self) {
        self.shed.lock().push(Shed::Closed);
    }
}

impl Topic for Line {
    fn id(&self) -> TopicId {
        self.id
    }

    fn published(&self) -> u64 {
        self.published.load(Ordering::Acquire)
    }

    fn gap(&self, from: u64, to: u64) -> Bytes {
        format!("{} gap {from} {to}\n", self.id.0).into()
    }
}

impl Line {
    fn new(id: u64) -> Arc<Self> {
        Arc::new(Self { id: TopicId(id), published: AtomicU64::new(0) })
    }

    /// The frame of an offset, `bytes` long or a little more.
    fn frame(&self, class: Class, offset: u64, bytes: usize) -> Frame {
        let line = format!("{} {offset} {}\n", self.id.0, "x".repeat(bytes));
        Frame { bytes: line.into(), class, offset, accepted: None }
    }

    /// Publishes the next event to all shards.
    fn publish(&self, bench: &Bench, bytes: usize) -> u64 {
        let offset = self.published() + 1;
        let frame = self.frame(Class::Event, offset, bytes);
        for shard in 0..bench.delivery.shards() {
            bench.delivery.publish(shard, self.id, frame.clone());
        }
        self.published.store(offset, Ordering::Release);
        offset
    }
}

impl Bench {
    async fn start(shards: usize, backlog_bytes_max: usize, budget_bytes: usize) -> Self {
        let reports = Arc::new(Reports::default());
        let observer: Arc<dyn Observer> = reports.clone();
        let config = Config { shards, backlog_bytes_max, budget_bytes };
        let delivery = Delivery::start(config, &observer, &TaskTracker::new());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (connections_per_ip, connect_rate_per_ip) = (0, 0);
        let limits = Limits { connections_max: 1000, connections_per_ip, connect_rate_per_ip };
        Self { delivery, reports, listener, admission: Admission::new(limits) }
    }

    /// One shard and more room than anything here needs.
    async fn roomy() -> Self {
        Self::start(1, 1 << 20, 1 << 30).await
    }

    /// A member, and the one who reads what it gets; the kernels take little on their behalf.
    async fn join(&self) -> (Member, Reader) {
        let address: SocketAddr = self.listener.local_addr().unwrap();
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4096).unwrap();
        let (theirs, ours) = tokio::join!(socket.connect(address), self.listener.accept());
        let (ours, _) = ours.unwrap();
        SockRef::from(&ours).set_send_buffer_size(4096).unwrap();
        let spare = Arc::new(Semaphore::new(0));
        let ticket = self.admission.admit(address.ip(), &spare).unwrap();
        let member = self.delivery.join(Wire::from(Socket::tcp(ours, ticket)));
        (member, Reader { stream: theirs.unwrap(), unread: Vec::new() })
    }

    /// A member of `topic` that gets everything from now on.
    async fn member(&self, topic: &Arc<Line>) -> (Member, Reader) {
        let (member, reader) = self.join().await;
        member.attach(topic.clone());
        member.release(&**topic, topic.published());
        (member, reader)
    }

    fn sheds(&self, of: Shed) -> usize {
        self.reports.shed.lock().iter().filter(|&&shed| shed == of).count()
    }
}

impl Reader {
    /// The next line without its filling.
    async fn line(&mut self) -> String {
        loop {
            if let Some(at) = self.unread.iter().position(|&byte| byte == b'\n') {
                let line: Vec<u8> = self.unread.drain(..=at).collect();
                let line = String::from_utf8(line).unwrap();
                return line.trim_end_matches(['x', '\n']).trim_end().to_owned();
            }
            assert!(self.more().await, "the end: {:?}", self.unread);
        }
    }

    async fn more(&mut self) -> bool {
        deadline(self.stream.read_buf(&mut self.unread)).await.unwrap() > 0
    }

    /// Every line up to the end.
    async fn lines(mut self) -> Vec<String> {
        while self.more().await {}
        let mut lines = Vec::new();
        while !self.unread.is_empty() {
            lines.push(self.line().await);
        }
        lines
    }
}

/// Waits until something is true of the shards.
async fn until(holds: impl Fn() -> bool) {
    deadline(async {
        while !holds() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn what_was_held_comes_behind_the_position_and_once() {
    let (bench, topic) = (Bench::roomy().await, Line::new(7));
    let (member, mut reader) = bench.join().await;
    topic.publish(&bench, 10);
    member.attach(topic.clone());
    for _ in 2..=5 {
        topic.publish(&bench, 10);
    }
    member.send("reply\n".into());
    member.release(&*topic, 3);
    topic.publish(&bench, 10);
    for line in ["reply", "7 4", "7 5", "7 6"] {
        assert_eq!(reader.line().await, line);
    }
    member.finish(Bytes::new());
    assert_eq!(reader.lines().await, [""; 0]);
}

#[tokio::test]
async fn frames_at_or_below_the_position_are_dropped_when_they_come_late() {
    let (bench, topic) = (Bench::roomy().await, Line::new(7));
    let (member, mut reader) = bench.join().await;
    member.attach(topic.clone());
    topic.publish(&bench, 10);
    // The position was read from a log that is ahead of what was published here.
    member.release(&*topic, 3);
    let ephemeral = topic.frame(Class::Presence, 0, 10);
    bench.delivery.publish(0, topic.id, ephemeral);
    for _ in 2..=5 {
        topic.publish(&bench, 10);
        tokio::task::yield_now().await;
    }
    for line in ["7 0", "7 4", "7 5"] {
        assert_eq!(reader.line().await, line);
    }
    drop(member);
    assert!(!reader.more().await);
}

#[tokio::test]
async fn a_hold_that_is_given_up_leaves_no_trace() {
    let (bench, topic) = (Bench::roomy().await, Line::new(7));
    let (member, mut reader) = bench.join().await;
    member.attach(topic.clone());
    topic.publish(&bench, 10);
    member.detach(topic.id);
    member.release(&*topic, 0);
    topic.publish(&bench, 10);
    member.attach(topic.clone());
    topic.publish(&bench, 10);
    member.release(&*topic, 2);
    topic.publish(&bench, 10);
    for line in ["7 3", "7 4"] {
        assert_eq!(reader.line().await, line);
    }
    member.finish("end\n".into());
    assert_eq!(reader.lines().await, ["end"]);
}

#[tokio::test]
async fn who_is_held_too_long_is_cut_and_reported_once() {
    let (bench, topic) = (Bench::start(1, 1000, 1 << 20).await, Line::new(7));
    let (member, _reader) = bench.join().await;
    member.attach(topic.clone());
    for _ in 0..20 {
        topic.publish(&bench, 200);
        tokio::task::yield_now().await;
    }
    until(|| member.was_cut()).await;
    topic.publish(&bench, 200);
    let (other, mut reader) = bench.member(&topic).await;
    let last = topic.publish(&bench, 200);
    assert_eq!(reader.line().await, format!("7 {last}"));
    assert_eq!(bench.sheds(Shed::Closed), 1);
    drop(other);
}

#[tokio::test]
async fn a_burst_is_written_together_and_in_order() {
    let bench = Bench::roomy().await;
    let topics = [Line::new(1), Line::new(2)];
    let (member, reader) = bench.member(&topics[0]).await;
    member.attach(topics[1].clone());
    member.release(&*topics[1], 0);
    for _ in 0..5000 {
        topics[0].publish(&bench, 1);
        topics[1].publish(&bench, 100);
    }
    member.finish("end\n".into());
    let lines = reader.lines().await;
    for topic in ["1 ", "2 "] {
        let offsets = lines.iter().filter_map(|line| line.strip_prefix(topic)?.parse::<u64>().ok());
        assert!(offsets.eq(1..=5000), "{topic}");
    }
    assert_eq!((lines.len(), lines.last().map(String::as_str)), (10_001, Some("end")));
    // Taken at once or caught up with: all of it was handed over in the end.
    let (due, handed) = (&bench.reports.due, &bench.reports.handed);
    until(|| due.load(Ordering::Relaxed) == 10_000).await;
    until(|| handed.load(Ordering::Relaxed) == 10_000).await;
}

#[tokio::test]
async fn a_member_that_does_not_read_is_cut_and_nobody_waits_for_it() {
    let (bench, topic) = (Bench::start(1, 16 * 1024, 1 << 20).await, Line::new(7));
    let (slow, _unread) = bench.member(&topic).await;
    let (member, mut reader) = bench.member(&topic).await;
    let mut published = 0;
    while !slow.was_cut() {
        // Two at once: what overflows in the middle of a write is missed to its end.
        topic.publish(&bench, 2000);
        published = topic.publish(&bench, 2000);
        for offset in published - 1..=published {
            assert_eq!(reader.line().await, format!("7 {offset}"));
        }
        assert!(published * 2000 < (KERNEL_BYTES_MAX + 16 * 1024) as u64);
    }
    deadline(slow.drained(0)).await;
    let (due, handed) = (&bench.reports.due, &bench.reports.handed);
    until(|| due.load(Ordering::Relaxed) == 2 * published).await;
    let missed = 2 * published - handed.load(Ordering::Relaxed);
    // What waited for it when it was cut was not handed over either.
    assert!((1..=16 * 1024 / 2000 + 3).contains(&missed), "{missed}");
    assert_eq!((bench.sheds(Shed::Closed), bench.delivery.backlog_bytes()), (1, 0));
    drop((slow, member));
}

#[tokio::test]
async fn a_marker_stands_for_exactly_what_was_dropped() {
    let (bench, topic) = (Bench::start(1, 16 * 1024, 1 << 20).await, Line::new(7));
    let (slow, mut reader) = bench.member(&topic).await;
    slow.grant_markers();
    while bench.sheds(Shed::Lag) == 0 {
        topic.publish(&bench, 2000);
        tokio::task::yield_now().await;
    }
    let (mut known, top) = (0, topic.publish(&bench, 2000));
    while known < top {
        let line = reader.line().await;
        let words: Vec<_> = line.split(' ').collect();
        if let [_, "gap", from, to] = words[..] {
            assert_eq!(from.parse::<u64>().unwrap(), known + 1);
            known = to.parse().unwrap();
        } else {
            known += 1;
            assert_eq!(line, format!("7 {known}"));
        }
    }
    assert_eq!((known, bench.sheds(Shed::Closed)), (top, 0));
    topic.publish(&bench, 10);
    assert_eq!(reader.line().await, format!("7 {}", top + 1));
}

#[tokio::test]
async fn all_backlogs_together_keep_to_the_budget() {
    const BUDGET: usize = 40 * 1024;
    let (bench, topic) = (Bench::start(2, 1 << 20, BUDGET).await, Line::new(7));
    let mut slow = Vec::new();
    for _ in 0..6 {
        slow.push(bench.member(&topic).await);
    }
    for count in 0.. {
        topic.publish(&bench, 2000);
        let presence = topic.frame(Class::Presence, 0, 2000);
        for shard in 0..bench.delivery.shards() {
            bench.delivery.publish(shard, topic.id, presence.clone());
        }
        tokio::task::yield_now().await;
        // What is left of a frame that the socket took in part must be kept.
        let kept = slow.len() * 4100;
        assert!(bench.delivery.backlog_bytes() <= BUDGET + kept);
        if slow.iter().all(|(member, _)| member.was_cut()) {
            break;
        }
        assert!(count < 1000, "they are cut");
    }
    assert_eq!(bench.delivery.backlog_bytes(), 0);
}

#[tokio::test]
async fn room_for_replies_comes_back_while_events_still_wait() {
    const REPLY: usize = 300_000;
    let (bench, topic) = (Bench::roomy().await, Line::new(7));
    let (member, mut reader) = bench.member(&topic).await;
    member.send("r".repeat(REPLY).into());
    for _ in 0..50 {
        topic.publish(&bench, 4000);
    }
    let mut read = vec![0; REPLY - 90_000];
    assert!(futures_util::poll!(std::pin::pin!(member.drained(100_000))).is_pending());
    deadline(reader.stream.read_exact(&mut read)).await.unwrap();
    deadline(member.drained(100_000)).await;
    assert!(bench.delivery.backlog_bytes() > 100_000, "all events wait");
    let mut rest = vec![0; 90_000];
    deadline(reader.stream.read_exact(&mut rest)).await.unwrap();
    for offset in 1..=50 {
        assert_eq!(reader.line().await, format!("7 {offset}"));
    }
    until(|| bench.delivery.backlog_bytes() == 0).await;
}

#[tokio::test]
async fn the_last_bytes_follow_whatever_waits() {
    let (bench, topic) = (Bench::start(1, 16 * 1024, 1 << 20).await, Line::new(7));
    let (member, reader) = bench.member(&topic).await;
    member.send(format!("{}\n", "r".repeat(500_000)).into());
    topic.publish(&bench, 10);
    member.finish("goodbye\n".into());
    topic.publish(&bench, 10);
    let lines = reader.lines().await;
    assert_eq!(lines[1..], ["7 1", "goodbye"]);
}

#[tokio::test]
async fn a_connection_closes_when_its_member_is_gone() {
    let (bench, topic) = (Bench::roomy().await, Line::new(7));
    for _ in 0..20 {
        let (member, mut reader) = bench.member(&topic).await;
        reader.stream.write_all(b"hi").await.unwrap();
        let mut heard = Vec::new();
        deadline(member.read(&mut |bytes| heard.extend_from_slice(bytes))).await.unwrap();
        assert_eq!(heard, b"hi");
        drop(member);
        assert!(!reader.more().await);
    }
    until(|| bench.admission.open() == 0).await;
}
