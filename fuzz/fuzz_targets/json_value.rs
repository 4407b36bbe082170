//! One JSON value: what is taken is one line, and checking it again changes nothing.

#![no_main]

use chat_server::protocol::Json;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(json) = Json::parse(bytes) {
        assert_eq!(Json::parse(json.as_bytes()).as_ref(), Ok(&json));
        fuzz::publication("channel", json);
    }
});
