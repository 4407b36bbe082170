//! The name of a channel as the hash tag of its keys and of its topic.
//!
//! A Redis Cluster keeps in one slot what has the same text in the first braces of its name, so
//! that one script may touch the keys of a channel and speak on its topic. Names may have braces
//! of their own: in a tag they are written `%7B` and `%7D`, and `%` is `%25`. Pure and reversible.

use std::borrow::Cow;

/// The characters that a tag writes in another way.
const ESCAPED: [(char, &str); 3] = [('%', "%25"), ('{', "%7B"), ('}', "%7D")];

/// Where nodes say what happens in a channel.
#[must_use]
pub(crate) fn topic(prefix: &str, channel: &str) -> String {
    format!("{prefix}:c:{{{}}}", of_channel(channel))
}

/// What stands in the braces for a channel.
#[must_use]
pub(crate) fn of_channel(channel: &str) -> Cow<'_, str> {
    let is_escaped = |c: char| ESCAPED.iter().any(|(escaped, _)| *escaped == c);
    if !channel.contains(is_escaped) {
        return channel.into();
    }
    let mut tag = String::with_capacity(channel.len() + 8);
    for c in channel.chars() {
        match ESCAPED.iter().find(|(escaped, _)| *escaped == c) {
            Some((_, written)) => tag.push_str(written),
            None => tag.push(c),
        }
    }
    tag.into()
}

/// The channel that a tag stands for; `None` for what no node of ours writes.
#[must_use]
pub(crate) fn channel(tag: &str) -> Option<Cow<'_, str>> {
    if tag.contains(['{', '}']) {
        return None;
    }
    let mut parts = tag.split('%');
    let first = parts.next()?;
    if first.len() == tag.len() {
        return Some(tag.into());
    }
    let mut channel = first.to_owned();
    for part in parts {
        let (c, rest) = ESCAPED.iter().find_map(|(c, written)| {
            Some((*c, part.strip_prefix(written.trim_start_matches('%'))?))
        })?;
        channel.push(c);
        channel.push_str(rest);
    }
    Some(channel.into())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_tag_has_no_braces_and_says_which_channel_it_is() {
        assert_eq!(of_channel("news:today"), "news:today");
        assert_eq!(of_channel("a{b}c%7B"), "a%7Bb%7Dc%257B");
        assert_eq!(channel("a%7Bb%7Dc%257B").as_deref(), Some("a{b}c%7B"));
        for foreign in ["a{b", "}", "%", "a%7", "%7b", "%41"] {
            assert_eq!(channel(foreign), None, "{foreign}");
        }
    }

    proptest! {
        #[test]
        fn every_name_comes_back(name in any::<String>()) {
            let tag = of_channel(&name);
            let has_braces = tag.contains(['{', '}']);
            prop_assert!(!has_braces);
            let back = channel(&tag);
            prop_assert_eq!(back.as_deref(), Some(name.as_str()));
        }

        #[test]
        fn no_tag_stands_for_two_channels(tag in ".*") {
            if let Some(channel) = channel(&tag) {
                prop_assert_eq!(&*of_channel(&channel), tag.as_str());
            }
        }
    }
}
