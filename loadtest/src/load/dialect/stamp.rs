//! What every message says of itself: when it was due, and which of its room it is.
//!
//! The same bytes whatever the server: `{"t":"<20 digits>","n":"<10 digits>","p":"<padding>"}`, made
//! to measure. Where a message has to be text, as in rooms, `t=<20 digits> n=<10 digits> <padding>`.
//! Receivers look for the start of it and never parse JSON. The digits stand in strings, for a
//! number of JSON has no leading zeros.

use memchr::memmem::Finder;

/// Digits of a time in nanoseconds: all that 64 bits can hold.
const DUE_DIGITS: usize = 20;

/// Digits of a number of a message.
const NUMBER_DIGITS: usize = 10;

/// The least size of a message: what is there without padding.
pub const SIZE_MIN: usize = br#"{"t":"","n":"","p":""}"#.len() + DUE_DIGITS + NUMBER_DIGITS;

/// What a message says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    /// When it should have been sent, by [`crate::load::clock`].
    pub due: u64,
    /// Which message of its room it is, from 1.
    pub number: u32,
}

/// How stamps are written and found in a dialect.
#[derive(Debug)]
pub struct Form {
    opening: &'static [u8],
    between: &'static [u8],
    behind: &'static [u8],
    closing: &'static [u8],
    finder: Finder<'static>,
}

impl Form {
    /// As a JSON object.
    #[must_use]
    pub fn json() -> Self {
        Self::new(br#"{"t":""#, br#"","n":""#, br#"","p":""#, br#""}"#)
    }

    /// As text that stands in a JSON string as it is.
    #[must_use]
    pub fn text() -> Self {
        Self::new(b"t=", b" n=", b" ", b"")
    }

    fn new(
        opening: &'static [u8],
        between: &'static [u8],
        behind: &'static [u8],
        closing: &'static [u8],
    ) -> Self {
        Self { opening, between, behind, closing, finder: Finder::new(opening) }
    }

    /// Writes a message of `size` bytes, or of as many as it takes.
    pub fn write(&self, stamp: Stamp, size: usize, out: &mut Vec<u8>) {
        let end = out.len() + size;
        out.extend_from_slice(self.opening);
        digits(stamp.due, DUE_DIGITS, out);
        out.extend_from_slice(self.between);
        digits(stamp.number.into(), NUMBER_DIGITS, out);
        out.extend_from_slice(self.behind);
        out.resize(end.saturating_sub(self.closing.len()).max(out.len()), b'x');
        out.extend_from_slice(self.closing);
    }

    /// Finds the first message at or after `from`, and where to look for the next.
    #[must_use]
    pub fn find(&self, bytes: &[u8], from: usize) -> Option<(Stamp, usize)> {
        let mut from = from;
        loop {
            let start = from + self.finder.find(bytes.get(from..)?)? + self.opening.len();
            let between = start + DUE_DIGITS;
            let number = between + self.between.len();
            let end = number + NUMBER_DIGITS;
            let read = || {
                let due = value(bytes.get(start..between)?)?;
                (bytes.get(between..number)? == self.between).then_some(())?;
                let number = u32::try_from(value(bytes.get(number..end)?)?).ok()?;
                Some(Stamp { due, number })
            };
            match read() {
                Some(stamp) => return Some((stamp, end)),
                // It looked like the start of one of ours, and was somebody else's.
                None => from = start,
            }
        }
    }
}

/// Writes a number with leading zeros.
fn digits(value: u64, count: usize, out: &mut Vec<u8>) {
    let start = out.len();
    out.resize(start + count, b'0');
    let mut rest = value;
    for place in out[start..].iter_mut().rev() {
        let [digit, ..] = (rest % 10).to_le_bytes();
        *place = b'0' + digit;
        rest /= 10;
    }
}

/// Reads a number with leading zeros.
fn value(digits: &[u8]) -> Option<u64> {
    digits.iter().try_fold(0_u64, |value, byte| {
        let digit = byte.wrapping_sub(b'0');
        (digit < 10).then_some(())?;
        value.checked_mul(10)?.checked_add(digit.into())
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, proptest};

    use super::*;

    #[test]
    fn a_message_is_json_of_the_size_asked() {
        let mut out = Vec::new();
        Form::json().write(Stamp { due: 17, number: 3 }, 200, &mut out);
        assert_eq!(out.len(), 200);
        let json: serde_json::Value = serde_json::from_slice(&out).unwrap();
        assert_eq!(
            (&json["t"], &json["n"]),
            (&"00000000000000000017".into(), &"0000000003".into())
        );
        assert!(json["p"].as_str().unwrap().bytes().all(|byte| byte == b'x'));
    }

    #[test]
    fn what_only_looks_like_a_message_is_passed_over() {
        let mut bytes = br#"{"t":"1"} {"t":"00000000000000000001","m" t= "#.to_vec();
        Form::json().write(Stamp { due: 5, number: 6 }, 0, &mut bytes);
        let (stamp, end) = Form::json().find(&bytes, 0).unwrap();
        assert_eq!(stamp, Stamp { due: 5, number: 6 });
        assert_eq!(Form::json().find(&bytes, end), None);
        assert_eq!(Form::text().find(&bytes, 0), None);
    }

    proptest! {
        #[test]
        fn every_message_is_found_again(
            due in any::<u64>(),
            number in any::<u32>(),
            size in 0_usize..500,
            before in any::<Vec<u8>>(),
            behind in any::<Vec<u8>>(),
        ) {
            for form in [Form::json(), Form::text()] {
                let stamp = Stamp { due, number };
                let mut bytes = before.clone();
                form.write(stamp, size, &mut bytes);
                assert!(bytes.len() - before.len() == size || size < SIZE_MIN);
                bytes.extend_from_slice(&behind);
                assert_eq!(form.find(&bytes, 0).map(|found| found.0), Some(stamp));
            }
        }
    }
}
