//! HTTP/1.1 as a client of the rest scenario speaks it: bytes in, bytes out, no socket.
//!
//! Only what the server's doors use: bodies by length or in chunks, answers without a body, one
//! after the other on a connection that stays open. Everything read is bounded.

use anyhow::{Context as _, Result, bail, ensure};

/// Headers of an answer: the server sends about eight.
const HEADERS_MAX: usize = 32;

/// Bytes of the head of an answer.
const HEAD_MAX: usize = 8 * 1024;

/// Bytes of the line that begins a chunk.
const SIZE_LINE_MAX: usize = 64;

/// What there is in an answer, in the order of coming.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Event<'a> {
    /// An answer has begun.
    Status(u16),
    /// A part of its body.
    Body(&'a [u8]),
    /// It is whole.
    End,
}

/// Reads answers.
#[derive(Debug, Default)]
pub(super) struct Answers {
    state: State,
    /// The beginning of a head or of a chunk's line.
    carry: Vec<u8>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum State {
    #[default]
    Head,
    /// So many bytes of a body with a length are to come.
    Sized(u64),
    /// The line with a chunk's size,
    ChunkSize,
    /// so many bytes of it,
    Chunk(u64),
    /// and the end of line behind it.
    ChunkEnd,
    /// Lines behind the last chunk, to an empty one.
    Trailer,
}

/// Writes a request.
pub(super) fn post(path: &str, host: &str, body: &[u8], out: &mut Vec<u8>) {
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n",
        body.len()
    );
    out.extend_from_slice(head.as_bytes());
    out.extend_from_slice(body);
}

impl Answers {
    /// Reads what has come and tells what is in it.
    ///
    /// # Errors
    /// When it is not HTTP, or more than any answer of ours has.
    pub(super) fn hear(&mut self, mut bytes: &[u8], mut on: impl FnMut(Event<'_>)) -> Result<()> {
        while !bytes.is_empty() {
            bytes = match self.state {
                State::Head => self.head(bytes, &mut on)?,
                State::Sized(left) => {
                    let (part, rest) = cut(bytes, left);
                    on(Event::Body(part));
                    let left = left - part.len() as u64;
                    self.state = if left == 0 { State::Head } else { State::Sized(left) };
                    if left == 0 {
                        on(Event::End);
                    }
                    rest
                }
                State::ChunkSize => self.chunk_size(bytes)?,
                State::Chunk(left) => {
                    let (part, rest) = cut(bytes, left);
                    on(Event::Body(part));
                    let left = left - part.len() as u64;
                    self.state = if left == 0 { State::ChunkEnd } else { State::Chunk(left) };
                    rest
                }
                State::ChunkEnd => {
                    let (_, rest) = self.line(bytes)?;
                    if self.carry.is_empty() {
                        self.state = State::ChunkSize;
                    }
                    rest
                }
                State::Trailer => {
                    let (line, rest) = self.line(bytes)?;
                    if line.is_some_and(|line| line.is_empty()) {
                        self.state = State::Head;
                        on(Event::End);
                    }
                    rest
                }
            };
        }
        Ok(())
    }

    fn head<'a>(&mut self, bytes: &'a [u8], on: &mut impl FnMut(Event<'_>)) -> Result<&'a [u8]> {
        let known = self.carry.len();
        ensure!(known < HEAD_MAX, "a head of over {HEAD_MAX} bytes");
        self.carry.extend_from_slice(bytes);
        let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
        let mut answer = httparse::Response::new(&mut headers);
        let httparse::Status::Complete(end) = answer.parse(&self.carry).context("no HTTP")? else {
            return Ok(&[]);
        };
        let status = answer.code.context("no status")?;
        let mut state = State::Sized(0);
        for header in answer.headers.iter() {
            let value = str::from_utf8(header.value).unwrap_or_default();
            if header.name.eq_ignore_ascii_case("transfer-encoding") {
                ensure!(value.eq_ignore_ascii_case("chunked"), "a body in {value}");
                state = State::ChunkSize;
            } else if header.name.eq_ignore_ascii_case("content-length") {
                state = State::Sized(value.parse().context("a length that is no number")?);
            }
        }
        self.carry.clear();
        on(Event::Status(status));
        if state == State::Sized(0) {
            on(Event::End);
        } else {
            self.state = state;
        }
        Ok(&bytes[end - known..])
    }

    fn chunk_size<'a>(&mut self, bytes: &'a [u8]) -> Result<&'a [u8]> {
        let (line, rest) = self.line(bytes)?;
        if let Some(line) = line {
            let line = str::from_utf8(&line).context("a size that is no text")?;
            let digits = line.split(';').next().unwrap_or_default().trim();
            let size = u64::from_str_radix(digits, 16).context("a size that is no number")?;
            self.state = if size == 0 { State::Trailer } else { State::Chunk(size) };
        }
        Ok(rest)
    }

    /// A line without its end, once it is whole.
    fn line<'a>(&mut self, bytes: &'a [u8]) -> Result<(Option<Vec<u8>>, &'a [u8])> {
        let Some(end) = bytes.iter().position(|byte| *byte == b'\n') else {
            self.carry.extend_from_slice(bytes);
            if self.carry.len() > SIZE_LINE_MAX {
                bail!("a line of over {SIZE_LINE_MAX} bytes between chunks");
            }
            return Ok((None, &[]));
        };
        let mut line = std::mem::take(&mut self.carry);
        line.extend_from_slice(&bytes[..end]);
        if line.last() == Some(&b'\r') {
            line.pop();
        }
        Ok((Some(line), &bytes[end + 1..]))
    }
}

/// At most so many bytes, and what is behind them.
fn cut(bytes: &[u8], most: u64) -> (&[u8], &[u8]) {
    bytes.split_at(usize::try_from(most).map_or(bytes.len(), |most| most.min(bytes.len())))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, proptest};

    use super::*;

    const ANSWERS: &str = "HTTP/1.1 204 No Content\r\ndate: today\r\n\r\n\
        HTTP/1.1 429 Too Many Requests\r\nContent-Length: 5\r\n\r\nlater\
        HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n\
        3\r\n{}\n\r\nA;x=1\r\n0123456789\r\n0\r\n\r\n\
        HTTP/1.1 204 No Content\r\n\r\n";

    /// What is heard when it comes in pieces of so many bytes, bodies put together.
    fn heard(text: &str, piece: usize) -> Result<Vec<String>> {
        let (mut answers, mut all): (_, Vec<String>) = (Answers::default(), Vec::new());
        for bytes in text.as_bytes().chunks(piece) {
            answers.hear(bytes, |event| match event {
                Event::Status(status) => all.push(format!("{status} ")),
                Event::Body(part) => {
                    let text = String::from_utf8(part.to_vec()).unwrap();
                    all.last_mut().unwrap().push_str(&text);
                }
                Event::End => all.last_mut().unwrap().push('.'),
            })?;
        }
        Ok(all)
    }

    #[test]
    fn answers_are_read_however_they_are_cut() {
        for piece in 1..ANSWERS.len() {
            let all = heard(ANSWERS, piece).unwrap();
            assert_eq!(all, ["204 .", "429 later.", "200 {}\n0123456789.", "204 ."], "{piece}");
        }
    }

    #[test]
    fn what_is_no_http_is_an_error() {
        assert!(heard("SSH-2.0-server\r\n\r\n", 100).is_err());
        let endless = format!("HTTP/1.1 200 OK\r\nx: {}", "y".repeat(3 * HEAD_MAX));
        assert!(heard(&endless, 1000).is_err());
        let sizeless = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n";
        assert!(heard(sizeless, 100).is_err());
    }

    proptest! {
        #[test]
        fn nothing_that_comes_makes_it_panic(bytes in any::<Vec<u8>>(), piece in 1usize..50) {
            let mut answers = Answers::default();
            for bytes in bytes.chunks(piece) {
                if answers.hear(bytes, |_| {}).is_err() {
                    break;
                }
            }
        }
    }

    #[test]
    fn a_request_says_how_long_it_is() {
        let mut out = Vec::new();
        post("/emulation", "localhost", b"{}", &mut out);
        let text = String::from_utf8(out).unwrap();
        assert!(text.starts_with("POST /emulation HTTP/1.1\r\nHost: localhost\r\n"), "{text}");
        assert!(text.ends_with("Content-Length: 2\r\n\r\n{}"), "{text}");
    }
}
