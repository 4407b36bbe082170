//! The floor: the least that any server does, which is one `send` for each member of a room.
//!
//! A process of its own, so that it is measured as servers are, with one thread and one loop. It
//! takes clients, reads what publishers send, and as soon as a room has the number of frames
//! asked for, writes them to each member with one call. It checks nothing, counts nothing and knows
//! nobody. What it reads is one message for each that it sends to a hundred members or to ten
//! thousand: under a hundredth of its work. So its processor time per delivery is the cost of
//! `send` itself, and no server that calls `send` as often can be below it.

mod client;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::{AsRawFd, RawFd};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use chassis::runtime::OpenFiles;
use chassis::testing::free_port;
use hashbrown::HashMap;
use mio::event::Event;
use mio::net::TcpListener;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use rustix::io::Errno;
use rustix::net::{SendFlags, send};
use socket2::{Domain, Socket, Type};

use self::client::Client;
use super::running::{Running, Start, rooms};

/// Connections that wait until they are taken: all workers begin at once.
const BACKLOG: i32 = 4096;

/// What one look at the sockets gives at most.
const EVENTS: usize = 1024;

/// What one read takes at most: a window of messages is far below it.
const READ_BYTES: usize = 64 << 10;

/// How long a room waits for the rest of its frames when nothing at all happens: at the end of a
/// load the last ones are fewer.
const GATHER_MAX: Duration = Duration::from_millis(20);

/// What the kernel may hold for a client, as the chat-server has it: without a bound it would be
/// megabytes.
const SEND_BUFFER_BYTES: usize = 64 << 10;

const LISTENER: Token = Token(usize::MAX);
const PARENT: Token = Token(usize::MAX - 1);

/// The loop.
#[derive(Debug)]
struct Floor {
    poll: Poll,
    listener: TcpListener,
    clients: Vec<Option<Client>>,
    rooms: Vec<Room>,
    names: HashMap<Vec<u8>, usize>,
    frames: u32,
    buffer: Vec<u8>,
}

/// Who is in it, and what has gathered for them.
#[derive(Debug, Default)]
struct Room {
    members: Vec<usize>,
    pending: Vec<u8>,
    frames: u32,
}

/// Starts one that writes `frames` frames with a call.
///
/// # Errors
/// When it does not start.
pub async fn start(frames: u32) -> Result<Running> {
    let port = free_port();
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("raw").arg(port.to_string()).arg(frames.to_string());
    let folder = tempfile::Builder::new().prefix("veza-floor-").tempdir()?;
    Running::start(Start { command, port, speech: rooms() }, folder).await.context("the floor")
}

/// Serves on a port of loopback until `parent` ends, which nobody writes to: a standard input that
/// is a pipe ends with whoever holds its other end.
///
/// # Errors
/// When the port is taken, or the kernel does not give what a server needs.
pub fn serve(port: u16, frames: u32, parent: &impl AsRawFd) -> Result<()> {
    ensure!(frames > 0, "a call writes one frame at least");
    OpenFiles::raise()?;
    let mut floor = Floor::bind(port, frames, parent.as_raw_fd())?;
    let mut events = Events::with_capacity(EVENTS);
    loop {
        let waiting = floor.rooms.iter().any(|room| room.frames > 0);
        match floor.poll.poll(&mut events, waiting.then_some(GATHER_MAX)) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            polled => polled?,
        }
        if events.is_empty() {
            (0..floor.rooms.len()).for_each(|room| floor.write(room, 1));
        }
        for event in &events {
            match event.token() {
                LISTENER => floor.accept()?,
                PARENT => return Ok(()),
                client => floor.turn(client.0, event),
            }
        }
    }
}

impl Floor {
    fn bind(port: u16, frames: u32, parent: RawFd) -> Result<Self> {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        // Those that are taken have it from the one that listens.
        socket.set_send_buffer_size(SEND_BUFFER_BYTES)?;
        socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)).into())?;
        socket.listen(BACKLOG)?;
        socket.set_nonblocking(true)?;
        let mut listener = TcpListener::from_std(socket.into());
        let poll = Poll::new()?;
        poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
        poll.registry().register(&mut SourceFd(&parent), PARENT, Interest::READABLE)?;
        let (clients, rooms, names) = (Vec::new(), Vec::new(), HashMap::new());
        Ok(Self { poll, listener, clients, rooms, names, frames, buffer: vec![0; READ_BYTES] })
    }

    fn accept(&mut self) -> Result<()> {
        loop {
            let mut stream = match self.listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error.into()),
            };
            stream.set_nodelay(true)?;
            let token = Token(self.clients.len());
            self.poll.registry().register(&mut stream, token, Interest::READABLE)?;
            self.clients.push(Some(Client::new(stream)));
        }
    }

    /// Something happened at a client.
    fn turn(&mut self, number: usize, event: &Event) {
        if self.serve(number, event).is_err() {
            self.part(number);
        }
    }

    fn serve(&mut self, number: usize, event: &Event) -> Result<()> {
        let Self { clients, rooms, names, buffer, .. } = self;
        let Some(client) = clients[number].as_mut() else { return Ok(()) };
        if event.is_writable() {
            client.write_rest()?;
        }
        if !event.is_readable() {
            return Ok(());
        }
        while let Some(read) = client.read(buffer)? {
            ensure!(read > 0, "it has gone");
            client.carry.extend_from_slice(&buffer[..read]);
            if client.room.is_none()
                && let Some(name) = client.enter()?
            {
                let room = *names.entry(name).or_insert_with(|| {
                    rooms.push(Room::default());
                    rooms.len() - 1
                });
                rooms[room].members.push(number);
                client.room = Some(room);
            }
            if let Some(room) = client.room {
                let room = &mut rooms[room];
                room.frames += client.publish(&mut room.pending)?;
            }
        }
        if let Some(room) = client.room {
            self.write(room, self.frames);
        }
        Ok(())
    }

    /// Writes to each member what has gathered while it is `least` frames or more, with one call
    /// for each member and as many frames as a call takes: what all this is about.
    fn write(&mut self, number: usize, least: u32) {
        let Self { poll, clients, rooms, frames, .. } = self;
        let room = &mut rooms[number];
        let (mut from, mut lost) = (0, Vec::new());
        while room.frames >= least {
            let call = &room.pending[from..from + client::span(&room.pending[from..], *frames)];
            for member in &room.members {
                let Some(client) = clients[*member].as_mut() else { continue };
                let sent = if client.rest.is_empty() {
                    send(&client.stream, call, SendFlags::NOSIGNAL | SendFlags::DONTWAIT)
                } else {
                    Err(Errno::AGAIN)
                };
                let stays = match sent {
                    Ok(sent) if sent == call.len() => true,
                    Ok(sent) => client.keep(&call[sent..], *member, poll.registry()),
                    Err(Errno::AGAIN) => client.keep(call, *member, poll.registry()),
                    Err(_) => false,
                };
                if !stays {
                    lost.push(*member);
                }
            }
            from += call.len();
            room.frames = room.frames.saturating_sub(*frames);
        }
        room.pending.drain(..from);
        for member in lost {
            self.part(member);
        }
    }

    fn part(&mut self, number: usize) {
        let Some(client) = self.clients[number].take() else { return };
        if let Some(room) = client.room {
            self.rooms[room].members.retain(|member| *member != number);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::TcpStream;
    use std::os::unix::net::UnixStream;
    use std::thread::JoinHandle;

    use super::*;

    const WAIT: Duration = Duration::from_secs(10);

    /// The floor in a thread, and what ends it.
    struct Served {
        port: u16,
        end: UnixStream,
        thread: JoinHandle<Result<()>>,
    }

    fn serving(frames: u32) -> Served {
        let (end, parent) = UnixStream::pair().unwrap();
        let port = free_port();
        let thread = std::thread::spawn(move || serve(port, frames, &parent));
        Served { port, end, thread }
    }

    impl Served {
        /// A client in a room: the answer to its request has come.
        fn enter(&self, room: &str) -> TcpStream {
            let begun = tokio::time::Instant::now();
            let mut stream = loop {
                match TcpStream::connect(("127.0.0.1", self.port)) {
                    Ok(stream) => break stream,
                    Err(error) => assert!(begun.elapsed() < WAIT, "{error}"),
                }
            };
            stream.set_read_timeout(Some(WAIT)).unwrap();
            write!(stream, "GET /room/{room} HTTP/1.1\r\nSec-WebSocket-Key: x\r\n\r\n").unwrap();
            let mut answer = Vec::new();
            while !answer.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                stream.read_exact(&mut byte).unwrap();
                answer.push(byte[0]);
            }
            assert!(answer.starts_with(b"HTTP/1.1 101 "));
            stream
        }

        fn end(self) {
            drop(self.end);
            self.thread.join().unwrap().unwrap();
        }
    }

    /// A frame of a client with a mask that changes every byte.
    fn said(payload: &[u8]) -> Vec<u8> {
        let mask = [1, 2, 3, 4];
        let mut frame = vec![0x81];
        match u8::try_from(payload.len()) {
            Ok(short) if short < 126 => frame.push(0x80 | short),
            _ => {
                frame.push(0x80 | 126);
                frame.extend_from_slice(&u16::try_from(payload.len()).unwrap().to_be_bytes());
            }
        }
        frame.extend_from_slice(&mask);
        frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
        frame
    }

    fn heard(stream: &mut TcpStream, frame: &[u8]) {
        let mut got = vec![0; frame.len()];
        stream.read_exact(&mut got).unwrap();
        assert_eq!(got, frame);
    }

    #[test]
    fn everyone_in_the_room_hears_it_and_nobody_else() {
        let served = serving(1);
        let (mut alice, mut bob) = (served.enter("a"), served.enter("a"));
        let mut carol = served.enter("b");
        let long = [b'x'; 300];
        let frame = said(&long);
        let (half, rest) = frame.split_at(100);
        alice.write_all(half).unwrap();
        alice.write_all(rest).unwrap();
        carol.write_all(&said(b"hers")).unwrap();
        let expected = [&[0x81, 126, 1, 44][..], &long].concat();
        heard(&mut alice, &expected);
        heard(&mut bob, &expected);
        heard(&mut carol, b"\x81\x04hers");
        served.end();
    }

    #[test]
    fn what_does_not_fill_a_call_is_written_when_nothing_else_happens() {
        let served = serving(16);
        let (mut alice, mut bob) = (served.enter("a"), served.enter("a"));
        let many = said(b"m").repeat(18);
        alice.write_all(&many).unwrap();
        let expected = b"\x81\x01m".repeat(18);
        heard(&mut bob, &expected);
        heard(&mut alice, &expected);
        drop(bob);
        alice.write_all(&many).unwrap();
        heard(&mut alice, &expected);
        served.end();
    }

    #[test]
    fn who_reads_late_gets_everything_in_its_order() {
        let served = serving(1);
        let (mut alice, mut late) = (served.enter("a"), served.enter("a"));
        // More than the sockets hold, less than what a client may be behind.
        let messages: Vec<Vec<u8>> = (0..15).map(|at| vec![b'a' + at; 60_000]).collect();
        for message in &messages {
            alice.write_all(&said(message)).unwrap();
            heard(&mut alice, &[&[0x81, 126, 234, 96][..], message].concat());
        }
        for message in &messages {
            heard(&mut late, &[&[0x81, 126, 234, 96][..], message].concat());
        }
        served.end();
    }
}
