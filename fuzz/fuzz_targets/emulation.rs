//! The body of a POST to `/emulation`, and the frame within it.

#![no_main]

use chat_server::protocol::{Encoding, decode_emulation};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    for encoding in [Encoding::Json, Encoding::Protobuf] {
        if let Ok(request) = decode_emulation(encoding, bytes) {
            fuzz::frame(encoding, &request.data);
        }
    }
});
