//! A message between nodes, which anybody may publish who reaches Redis.

#![no_main]

use chat_server::fanout::bus::{decode, encode};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok((node, Some(message))) = decode(bytes.to_vec().into()) {
        // What is understood can be said again, and means the same.
        let again = decode(encode(node, &message)).expect("what was understood is well formed");
        assert_eq!(again, (node, Some(message)));
    }
});
