//! Which server has which key.
//!
//! A key lies in one of 16384 slots, by a checksum of its name or of the part of it between the
//! first braces; a cluster shares the slots out. Source: the Redis Cluster specification.

use deadpool_redis::redis::{FromRedisValue, RedisError, Value, from_redis_value};

use super::location::Address;

/// Slots of a cluster.
const SLOTS: u16 = 16384;

/// The checksum of every byte: CRC-16/XMODEM.
const CHECKSUMS: [u16; 256] = checksums();

/// The servers that take commands, as far as is known.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Masters {
    addresses: Vec<Address>,
    /// Whose the slots are, in order; empty for one server, which has them all.
    ranges: Vec<Range>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Range {
    first: u16,
    last: u16,
    /// The place of the server.
    master: usize,
}

impl Masters {
    /// One server.
    pub(super) fn one(address: Address) -> Self {
        Self { addresses: vec![address], ranges: Vec::new() }
    }

    /// Out of the answer to `CLUSTER SLOTS` of the server `asked`.
    pub(super) fn of_slots(answer: Value, asked: &Address) -> Result<Self, RedisError> {
        let mut masters = Self::default();
        for range in Vec::<Value>::from_redis_value(answer)? {
            let mut parts = Vec::<Value>::from_redis_value(range)?.into_iter();
            let mut part = || parts.next().unwrap_or(Value::Nil);
            let (first, last): (u16, u16) = (from_redis_value(part())?, from_redis_value(part())?);
            let mut server = Vec::<Value>::from_redis_value(part())?.into_iter();
            let host: Option<String> = from_redis_value(server.next().unwrap_or(Value::Nil))?;
            let port: u16 = from_redis_value(server.next().unwrap_or(Value::Nil))?;
            // One that does not know its own name is reached by the name it was asked by.
            let host = host.filter(|host| !host.is_empty() && host != "?");
            let host = host.unwrap_or_else(|| asked.host.clone());
            let master = masters.place(Address { host, port });
            masters.ranges.push(Range { first, last, master });
        }
        masters.ranges.sort_unstable_by_key(|range| range.first);
        Ok(masters)
    }

    fn place(&mut self, address: Address) -> usize {
        let known = self.addresses.iter().position(|known| *known == address);
        known.unwrap_or_else(|| {
            self.addresses.push(address);
            self.addresses.len() - 1
        })
    }

    /// All of them; none before the first answer.
    #[must_use]
    pub fn addresses(&self) -> &[Address] {
        &self.addresses
    }

    /// True when they share the keys.
    #[must_use]
    pub fn is_cluster(&self) -> bool {
        !self.ranges.is_empty()
    }

    /// The place of the server that has a key; `None` while it is nobody's.
    #[must_use]
    pub fn place_of(&self, key: &[u8]) -> Option<usize> {
        if self.ranges.is_empty() {
            return (!self.addresses.is_empty()).then_some(0);
        }
        let slot = slot(key);
        let place = self.ranges.partition_point(|range| range.last < slot);
        self.ranges.get(place).filter(|range| range.first <= slot).map(|range| range.master)
    }

    /// The server that has a key.
    #[must_use]
    pub fn of(&self, key: &[u8]) -> Option<&Address> {
        self.place_of(key).map(|place| &self.addresses[place])
    }

    /// True when every slot is somebody's.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        let mut next = 0;
        for range in &self.ranges {
            if range.first != next {
                return false;
            }
            next = range.last + 1;
        }
        !self.addresses.is_empty() && (self.ranges.is_empty() || next == SLOTS)
    }
}

/// The slot of a key.
fn slot(key: &[u8]) -> u16 {
    let open = key.iter().position(|&byte| byte == b'{').map(|place| place + 1);
    let tag = open.and_then(|open| {
        let length = key[open..].iter().position(|&byte| byte == b'}')?;
        (length > 0).then(|| &key[open..open + length])
    });
    let add = |sum: u16, byte: &u8| {
        let [high, low] = sum.to_be_bytes();
        CHECKSUMS[usize::from(high ^ byte)] ^ u16::from_be_bytes([low, 0])
    };
    tag.unwrap_or(key).iter().fold(0, add) % SLOTS
}

const fn checksums() -> [u16; 256] {
    let mut table = [0; 256];
    let mut byte: u16 = 0;
    while byte < 256 {
        let mut sum = byte << 8;
        let mut bit = 0;
        while bit < 8 {
            sum = if sum & 0x8000 == 0 { sum << 1 } else { (sum << 1) ^ 0x1021 };
            bit += 1;
        }
        table[byte as usize] = sum;
        byte += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    use deadpool_redis::redis::cluster_routing::Slot;
    use proptest::prelude::*;

    use super::*;

    fn server(first: i64, last: i64, host: Option<&str>, port: i64) -> Value {
        let host = host.map_or(Value::Nil, |host| Value::BulkString(host.as_bytes().to_vec()));
        let server = Value::Array(vec![host, Value::Int(port), Value::BulkString(b"id".to_vec())]);
        Value::Array(vec![Value::Int(first), Value::Int(last), server])
    }

    fn asked() -> Address {
        Address { host: "asked".to_owned(), port: 1 }
    }

    #[test]
    fn every_slot_has_its_server() {
        let answer = vec![
            server(8192, 16383, Some("b"), 2),
            server(0, 99, Some("a"), 1),
            server(100, 8191, None, 3),
        ];
        let masters = Masters::of_slots(Value::Array(answer), &asked()).unwrap();
        assert!(masters.is_whole() && masters.is_cluster());
        // "foo" lies in slot 12182, "bar" in 5061, as the specification's tools say.
        assert_eq!(masters.of(b"foo").unwrap().to_string(), "b:2");
        assert_eq!(masters.of(b"bar").unwrap().to_string(), "asked:3");
        assert_eq!(masters.of(b"anything{bar}").unwrap().port, 3);
    }

    #[test]
    fn a_slot_may_be_nobodys() {
        let answer = Value::Array(vec![server(0, 12181, Some("a"), 1)]);
        let masters = Masters::of_slots(answer, &asked()).unwrap();
        assert!(!masters.is_whole());
        assert_eq!(masters.of(b"foo"), None);
        assert!(masters.of(b"bar").is_some());
        assert_eq!(Masters::default().of(b"foo"), None);
    }

    #[test]
    fn an_answer_that_is_none_is_an_error() {
        for answer in [Value::Okay, Value::Array(vec![Value::Int(1)])] {
            assert!(Masters::of_slots(answer, &asked()).is_err());
        }
    }

    proptest! {
        #[test]
        fn slots_are_those_of_the_client(key in "[a-z{}]{0,12}") {
            prop_assert_eq!(Slot::new(slot(key.as_bytes())), Some(Slot::for_key(&key)));
        }
    }
}
