//! A text is a channel name or it is not; a name is what was given, short and visible.
#![no_main]

use chat_server::channel::{ChannelName, NAME_BYTES_MAX};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let Ok(name) = ChannelName::parse(text) else { return };
    assert_eq!(name.to_string(), text);
    assert!(text.len() <= NAME_BYTES_MAX);
    assert!(!text.contains(char::is_control) && !text.contains(char::is_whitespace));
    let _place = name.place();
});
