//! Servers where the URL names the room, and whatever a client sends goes to everybody in it.
//!
//! nchan, Bun and `ws` are spoken to in this way. A client is in its room as soon as the WebSocket
//! is open, and publications are not answered.

use std::io::Write as _;

use serde::{Deserialize, Serialize};

use super::frame::{self, Opcode};
use super::stamp::Form;
use super::{Dialect, Heard, Position, Seat, Sighting, Stamp};

/// What the dialect has to know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// What stands before the name of the room in the path of the URL.
    pub path: String,
}

/// The dialect.
#[derive(Debug)]
pub struct Plain {
    path: String,
    form: Form,
}

impl Plain {
    /// A dialect for one kind of server.
    #[must_use]
    pub fn new(settings: &Settings) -> Self {
        Self { path: settings.path.clone(), form: Form::json() }
    }
}

impl Dialect for Plain {
    fn request(&self, host: &str, seat: &Seat<'_>, out: &mut Vec<u8>) {
        write_upgrade(host, format_args!("{}{}", self.path, seat.channel), out);
    }

    fn greet(&self, _seat: &Seat<'_>, _since: Option<&Position>, _out: &mut Vec<u8>) {}

    fn hear(&self, message: &[u8], heard: &mut Heard) {
        let mut from = 0;
        while let Some((stamp, end)) = self.form.find(message, from) {
            heard.sightings.push(Sighting { stamp, offset: 0 });
            from = end;
        }
    }

    fn publish(&self, _seat: &Seat<'_>, stamp: Stamp, size: usize, out: &mut Vec<u8>) {
        frame::write(Opcode::Text, out, |out| self.form.write(stamp, size, out));
    }

    fn acknowledges(&self) -> bool {
        false
    }
}

/// Writes the request that every server understands. The key is that of the RFC: no
/// client here checks the answer to it.
pub fn write_upgrade(host: &str, path: std::fmt::Arguments<'_>, out: &mut Vec<u8>) {
    let written = write!(
        out,
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    written.expect("a Vec takes everything");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_published_is_seen_with_its_stamp_several_in_one_message_too() {
        let dialect = Plain::new(&Settings { path: "/ws/".to_owned() });
        let seat = Seat { number: 3, room: 1, user: 3, channel: "r1" };
        let mut request = Vec::new();
        dialect.request("localhost", &seat, &mut request);
        assert!(request.starts_with(b"GET /ws/r1 HTTP/1.1\r\nHost: localhost\r\n"));
        let mut messages = Vec::new();
        for number in [1, 2] {
            let mut frame = Vec::new();
            dialect.publish(&seat, Stamp { due: 9, number }, 100, &mut frame);
            messages.extend_from_slice(&frame[6..]);
        }
        let mut heard = Heard::default();
        dialect.hear(&messages, &mut heard);
        let seen: Vec<u32> = heard.sightings.iter().map(|seen| seen.stamp.number).collect();
        assert_eq!(seen, [1, 2]);
    }
}
