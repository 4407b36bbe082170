//! What people write into rooms is taken in one form or not at all: bodies, names, topics, emojis.
#![no_main]

use chat_server::protocol::Json;
use chat_server::room::{Body, Emoji, RoomName, Topic};
use libfuzzer_sys::fuzz_target;

const BODY_BYTES_MAX: usize = 512;

fuzz_target!(|text: &str| {
    if let Ok(body) = Body::parse(text, BODY_BYTES_MAX) {
        assert!(body.as_str().len() <= BODY_BYTES_MAX);
        assert!(!body.as_str().contains(|c: char| c.is_control() && c != '\n' && c != '\t'));
        assert_eq!(Body::parse(body.as_str(), BODY_BYTES_MAX).as_ref(), Ok(&body));
        assert!(Json::from_value(&body).is_ok());
    }
    if let Ok(name) = RoomName::parse(text) {
        let chars = name.as_str().chars().count();
        assert!((1..=100).contains(&chars) && !name.as_str().contains(char::is_control));
        assert_eq!(RoomName::parse(name.as_str()).as_ref(), Ok(&name));
    }
    if let Ok(topic) = Topic::parse(text) {
        assert!(topic.as_str().chars().count() <= 500);
        assert_eq!(Topic::parse(topic.as_str()).as_ref(), Ok(&topic));
    }
    if let Ok(emoji) = text.parse::<Emoji>() {
        assert_eq!(emoji.to_string().parse(), Ok(emoji));
    }
});
