//! nats-server over WebSocket: lines of text, a message with its length before it.
//!
//! A room is a subject, and a client is in it when the PING that it sends behind its SUB is
//! answered: the server works in order. It hears what it publishes itself, as `echo` is not turned
//! off. Publications are not answered.
//!
//! The server writes whole lines and messages into a WebSocket message for whoever is no browser,
//! and any number of them. That is why nothing is kept between two, and why one that ends in the
//! middle is reported as the end of the connection instead of being waited for.

use memchr::memmem;
use serde::{Deserialize, Serialize};

use super::frame::{self, Opcode};
use super::plain::write_upgrade;
use super::stamp::Form;
use super::{Dialect, Heard, Position, Seat, Sighting, Stamp};

/// What ends a line, and a message.
const END: &[u8] = b"\r\n";

/// The most of a complaint that is kept.
const COMPLAINT_MAX: usize = 200;

/// What the dialect has to know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// The path of its WebSocket.
    pub path: String,
}

/// The dialect.
#[derive(Debug)]
pub struct Nats {
    path: String,
    form: Form,
}

/// One thing that the server says.
#[derive(Debug, PartialEq, Eq)]
enum Item<'a> {
    /// A message of ours.
    Message(&'a [u8]),
    /// It asks whether the client is there.
    Ping,
    /// It has done all that was sent before.
    Pong,
    /// It does not want to go on.
    Complaint(&'a [u8]),
    /// What is of no consequence here.
    Other,
}

/// The bytes are not the protocol of NATS, or end in the middle of something.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("nats-server said something that cannot be read, or only half of it")]
struct Unreadable;

impl Nats {
    /// A dialect for one server.
    #[must_use]
    pub fn new(settings: &Settings) -> Self {
        Self { path: settings.path.clone(), form: Form::json() }
    }

    fn take(&self, item: &Item<'_>, heard: &mut Heard) {
        match item {
            Item::Message(payload) => {
                if let Some((stamp, _)) = self.form.find(payload, 0) {
                    heard.sightings.push(Sighting { stamp, offset: 0 });
                }
            }
            Item::Ping => {
                frame::write(Opcode::Binary, &mut heard.answer, |out| {
                    out.extend_from_slice(b"PONG\r\n");
                });
            }
            Item::Pong => heard.entered = Some(Position::default()),
            Item::Complaint(text) => {
                let text = text.get(..COMPLAINT_MAX).unwrap_or(text);
                heard.over = Some(String::from_utf8_lossy(text).into_owned());
            }
            Item::Other => {}
        }
    }
}

impl Dialect for Nats {
    fn request(&self, host: &str, _seat: &Seat<'_>, out: &mut Vec<u8>) {
        write_upgrade(host, format_args!("{}", self.path), out);
    }

    fn greet(&self, seat: &Seat<'_>, _since: Option<&Position>, out: &mut Vec<u8>) {
        // One frame: what the server answers last is the answer to all of it.
        let connect = r#"CONNECT {"verbose":false,"pedantic":false,"lang":"load","version":"1"}"#;
        frame::write(Opcode::Binary, out, |out| {
            for part in [connect, "\r\nSUB ", seat.channel, " 1\r\nPING\r\n"] {
                out.extend_from_slice(part.as_bytes());
            }
        });
    }

    fn hear(&self, message: &[u8], heard: &mut Heard) {
        let mut rest = message;
        while !rest.is_empty() {
            match next(rest) {
                Ok((item, behind)) => {
                    self.take(&item, heard);
                    rest = behind;
                }
                Err(unreadable) => {
                    heard.over = Some(unreadable.to_string());
                    return;
                }
            }
        }
    }

    fn publish(&self, seat: &Seat<'_>, stamp: Stamp, size: usize, out: &mut Vec<u8>) {
        frame::write(Opcode::Binary, out, |out| {
            let start = out.len();
            self.form.write(stamp, size, out);
            // The length stands before the message, and is known when it is written.
            let head = format!("PUB {} {}\r\n", seat.channel, out.len() - start);
            out.splice(start..start, head.into_bytes());
            out.extend_from_slice(END);
        });
    }

    fn acknowledges(&self) -> bool {
        false
    }
}

/// The first thing that is said in `bytes`, and what comes behind it.
fn next(bytes: &[u8]) -> Result<(Item<'_>, &[u8]), Unreadable> {
    let end = memmem::find(bytes, END).ok_or(Unreadable)?;
    let (line, behind) = (&bytes[..end], &bytes[end + END.len()..]);
    let (word, text) = match line.iter().position(|byte| *byte == b' ') {
        Some(space) => (&line[..space], &line[space + 1..]),
        None => (line, &line[end..]),
    };
    let item = match word {
        // MSG <subject> <subscription> [where to answer] <bytes>
        b"MSG" => {
            let length = text.rsplit(|byte| *byte == b' ').next().ok_or(Unreadable)?;
            let length: usize = str::from_utf8(length)
                .ok()
                .and_then(|length| length.parse().ok())
                .ok_or(Unreadable)?;
            let (payload, behind) = behind.split_at_checked(length).ok_or(Unreadable)?;
            let behind = behind.strip_prefix(END).ok_or(Unreadable)?;
            return Ok((Item::Message(payload), behind));
        }
        b"PING" => Item::Ping,
        b"PONG" => Item::Pong,
        b"-ERR" => Item::Complaint(text),
        b"INFO" | b"+OK" => Item::Other,
        _ => return Err(Unreadable),
    };
    Ok((item, behind))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{Strategy, any, prop, prop_oneof, proptest};

    use super::*;

    fn nats() -> Nats {
        Nats::new(&Settings { path: "/".to_owned() })
    }

    fn seat() -> Seat<'static> {
        Seat { number: 3, room: 1, user: 3, channel: "r1" }
    }

    fn heard(message: &[u8]) -> Heard {
        let mut heard = Heard::default();
        nats().hear(message, &mut heard);
        heard
    }

    /// What the server makes of a publication.
    fn delivered(number: u32, size: usize) -> Vec<u8> {
        let mut payload = Vec::new();
        Form::json().write(Stamp { due: 7, number }, size, &mut payload);
        let mut out = format!("MSG r1 1 {}\r\n", payload.len()).into_bytes();
        out.extend_from_slice(&payload);
        out.extend_from_slice(END);
        out
    }

    #[test]
    fn a_client_enters_by_the_answer_to_its_ping() {
        let mut out = Vec::new();
        nats().greet(&seat(), None, &mut out);
        assert!(out.ends_with(b"}\r\nSUB r1 1\r\nPING\r\n"), "{}", String::from_utf8_lossy(&out));
        assert_eq!(heard(b"INFO {\"max_payload\":1048576} \r\n").entered, None);
        assert_eq!(heard(b"PONG\r\n").entered, Some(Position::default()));
    }

    #[test]
    fn a_publication_says_how_long_it_is() {
        let mut out = Vec::new();
        nats().publish(&seat(), Stamp { due: 7, number: 1 }, 200, &mut out);
        let said = &out[8..];
        assert!(said.starts_with(b"PUB r1 200\r\n{\"t\":"));
        assert_eq!(said.len(), "PUB r1 200\r\n".len() + 200 + END.len());
        assert!(said.ends_with(b"\"}\r\n"));
    }

    #[test]
    fn a_ping_of_the_server_is_answered_in_a_frame() {
        assert_eq!(heard(b"PING\r\n").answer, b"\x82\x86\0\0\0\0PONG\r\n");
    }

    #[test]
    fn a_complaint_is_the_end() {
        let over = heard(b"-ERR 'Slow Consumer'\r\n").over;
        assert_eq!(over.as_deref(), Some("'Slow Consumer'"));
    }

    #[test]
    fn an_answer_address_and_a_message_of_somebody_else_do_no_harm() {
        let heard = heard(b"MSG r1 1 _INBOX.7 2\r\nhi\r\n");
        assert!(heard.sightings.is_empty() && heard.over.is_none());
    }

    fn items() -> impl Strategy<Value = Vec<(Option<u32>, Vec<u8>)>> {
        let message = (any::<u32>(), 0_usize..400)
            .prop_map(|(number, size)| (Some(number), delivered(number, size)));
        let other = prop_oneof![
            prop::strategy::Just(b"PING\r\n".to_vec()),
            prop::strategy::Just(b"+OK\r\n".to_vec()),
            prop::strategy::Just(b"INFO {}\r\n".to_vec()),
        ];
        prop::collection::vec(prop_oneof![message, other.prop_map(|item| (None, item))], 1..20)
    }

    proptest! {
        #[test]
        fn everything_in_one_message_is_seen_in_its_order(items in items()) {
            let whole: Vec<u8> = items.iter().flat_map(|item| item.1.clone()).collect();
            let heard = heard(&whole);
            let seen: Vec<u32> = heard.sightings.iter().map(|seen| seen.stamp.number).collect();
            let sent: Vec<u32> = items.iter().filter_map(|item| item.0).collect();
            assert_eq!(seen, sent);
            assert_eq!(heard.over, None);
        }

        #[test]
        fn it_does_not_matter_how_many_messages_they_come_in(
            items in items(),
            cut in any::<prop::sample::Index>(),
        ) {
            let (first, second) = items.split_at(cut.index(items.len()));
            let mut heard = Heard::default();
            for part in [first, second] {
                let part: Vec<u8> = part.iter().flat_map(|item| item.1.clone()).collect();
                nats().hear(&part, &mut heard);
            }
            let sent = items.iter().filter(|item| item.0.is_some()).count();
            assert_eq!((heard.sightings.len(), heard.over), (sent, None));
        }

        #[test]
        fn a_cut_in_the_middle_is_never_taken_for_the_whole(
            items in items(),
            cut in any::<prop::sample::Index>(),
        ) {
            let whole: Vec<u8> = items.iter().flat_map(|item| item.1.clone()).collect();
            let cut = cut.index(whole.len());
            let mut end = 0;
            let ends: Vec<usize> = items.iter().map(|item| { end += item.1.len(); end }).collect();
            let between = cut == 0 || ends.contains(&cut);
            assert_eq!(heard(&whole[..cut]).over.is_none(), between);
        }

        #[test]
        fn nothing_that_is_said_breaks_the_reader(bytes in any::<Vec<u8>>()) {
            heard(&bytes);
        }
    }
}
