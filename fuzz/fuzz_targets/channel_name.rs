//! A text is a channel name or it is not; a name is what was given, short and visible.
#![no_main]

use chat_server::channel::{ChannelName, NAME_BYTES_MAX, Place};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let Ok(name) = ChannelName::parse(text) else { return };
    assert_eq!(name.to_string(), text);
    assert!(!text.contains(char::is_control));
    // A feed is called after its user, whose id has rules of its own.
    if !matches!(name.place(), Place::User(_)) {
        assert!(text.len() <= NAME_BYTES_MAX);
        assert!(!text.contains(char::is_whitespace));
    }
});
