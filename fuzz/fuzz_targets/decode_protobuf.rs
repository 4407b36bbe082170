//! A frame of Protobuf commands.

#![no_main]

use chat_server::protocol::Encoding;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| fuzz::frame(Encoding::Protobuf, bytes));
