//! The stamp that Redis puts before a publication that gets its offset there. Sans IO.
//!
//! ```text
//! 1 byte  1, which no envelope begins with
//! 1 byte  length of the epoch
//! n bytes epoch
//! 8 bytes offset, big-endian
//! ..      the envelope of a `Publication` as its node encoded it, without epoch and offset
//! ```
//! A publication is encoded before it is known which offset it gets. The script that gives it one
//! (nodes/log/append.lua) puts the stamp around the bytes it stores and never looks into them.

use std::sync::Arc;

use bytes::{Buf, Bytes};

use super::message::{Malformed, known};
use crate::channel::epoch;

/// What a stamped message begins with: the tag of a field with the number 0, which there is not.
const MARK: u8 = 1;

/// Where a publication stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stamp {
    pub(super) epoch: Arc<str>,
    pub(super) offset: u64,
}

/// The stamp and the envelope behind it; `None` for a message without one.
pub(super) fn split(mut bytes: Bytes) -> Result<(Option<Stamp>, Bytes), Malformed> {
    if bytes.first() != Some(&MARK) {
        return Ok((None, bytes));
    }
    bytes.advance(1);
    let short = Malformed::Field("stamp");
    let length = usize::from(bytes.try_get_u8().map_err(|_short| short.clone())?);
    if bytes.len() < length {
        return Err(short);
    }
    let epoch = bytes.split_to(length);
    let epoch = std::str::from_utf8(&epoch).ok().filter(|epoch| epoch::is_one(epoch));
    let epoch = epoch.ok_or(Malformed::Field("epoch"))?.into();
    let offset = known(bytes.try_get_u64().map_err(|_short| short)?, "offset")?;
    Ok((Some(Stamp { epoch, offset }), bytes))
}

#[cfg(test)]
mod tests {
    use bytes::BufMut;
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;
    use crate::fanout::bus::{Crowd, Message, decode, encode};
    use crate::protocol::{Json, Publication};

    fn stamped(epoch: &str, offset: u64, envelope: &[u8]) -> Bytes {
        let mut bytes = vec![MARK, u8::try_from(epoch.len()).unwrap()];
        bytes.extend_from_slice(epoch.as_bytes());
        bytes.put_u64(offset);
        bytes.extend_from_slice(envelope);
        bytes.into()
    }

    fn said(offset: u64) -> Message {
        let publication = Publication::new(Json::parse(b"{\"a\":1}").unwrap());
        let epoch = if offset > 0 { "life" } else { "" };
        Message::Publication {
            epoch: epoch.into(),
            publication: Publication { offset, ..publication },
        }
    }

    #[test]
    fn a_stamp_says_where_a_publication_stands() {
        let node = Uuid::new_v4();
        let bytes = stamped("life", 7, &encode(node, &said(0)));
        assert_eq!(decode(bytes), Ok((node, Some(said(7)))));
    }

    #[test]
    fn a_stamp_on_anything_else_or_a_broken_one_is_refused() {
        let envelope = encode(Uuid::new_v4(), &said(0));
        let other = encode(Uuid::new_v4(), &Message::Crowd(Crowd { clients: 1, users: 1 }));
        assert_eq!(decode(stamped("life", 1, &other)), Err(Malformed::Field("stamp")));
        assert_eq!(decode(stamped("life", 0, &envelope)), Err(Malformed::Field("offset")));
        assert_eq!(decode(stamped("li fe", 1, &envelope)), Err(Malformed::Field("epoch")));
        assert_eq!(decode(stamped("", 1, &envelope)), Err(Malformed::Field("epoch")));
        let whole = stamped("life", 7, &envelope);
        for length in 1..14 {
            assert!(decode(whole.slice(..length)).is_err(), "{length} bytes");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_taken_or_refused(mut bytes in any::<Vec<u8>>()) {
            bytes.insert(0, MARK);
            let _taken = decode(bytes.into()).is_ok();
        }
    }
}
