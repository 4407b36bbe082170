//! Appends JSON objects to a byte buffer, with no tree in between.
//!
//! Keys are ours and need no escaping; values of others go through `serde_json` or are checked
//! [`Json`]. An object closes when it is dropped, so none stays open.

use std::fmt::Display;
use std::io::Write;

use crate::protocol::Json;

/// An open JSON object at the end of a buffer.
pub(super) struct Object<'a> {
    out: &'a mut Vec<u8>,
    is_empty: bool,
}

impl<'a> Object<'a> {
    pub(super) fn open(out: &'a mut Vec<u8>) -> Self {
        out.push(b'{');
        Self { out, is_empty: true }
    }

    /// A key of ours: a plain word.
    fn key(&mut self, key: &'static str) -> &mut Vec<u8> {
        self.separate();
        self.out.push(b'"');
        self.out.extend_from_slice(key.as_bytes());
        self.out.extend_from_slice(b"\":");
        self.out
    }

    fn separate(&mut self) {
        if !self.is_empty {
            self.out.push(b',');
        }
        self.is_empty = false;
    }

    pub(super) fn text(&mut self, key: &'static str, value: &str) {
        escape(value, self.key(key));
    }

    pub(super) fn text_if_any(&mut self, key: &'static str, value: &str) {
        if !value.is_empty() {
            self.text(key, value);
        }
    }

    pub(super) fn number(&mut self, key: &'static str, value: impl Display) {
        write!(self.key(key), "{value}").expect("a Vec takes every write");
    }

    pub(super) fn number_if_any<T: Display + Default + PartialEq>(
        &mut self,
        key: &'static str,
        value: T,
    ) {
        if value != T::default() {
            self.number(key, value);
        }
    }

    pub(super) fn flag_if_set(&mut self, key: &'static str, value: bool) {
        if value {
            self.key(key).extend_from_slice(b"true");
        }
    }

    pub(super) fn json(&mut self, key: &'static str, value: &Json) {
        self.key(key).extend_from_slice(value.as_bytes());
    }

    pub(super) fn json_if_any(&mut self, key: &'static str, value: Option<&Json>) {
        if let Some(value) = value {
            self.json(key, value);
        }
    }

    /// Opens an object under a key of ours.
    pub(super) fn object(&mut self, key: &'static str) -> Object<'_> {
        Object::open(self.key(key))
    }

    /// Opens an object under a key of others.
    pub(super) fn entry(&mut self, key: &str) -> Object<'_> {
        self.separate();
        escape(key, self.out);
        self.out.push(b':');
        Object::open(self.out)
    }

    /// Text under a key of others.
    pub(super) fn text_entry(&mut self, key: &str, value: &str) {
        self.separate();
        escape(key, self.out);
        self.out.push(b':');
        escape(value, self.out);
    }

    /// An array of objects, left out when it is empty.
    pub(super) fn list_if_any<T>(
        &mut self,
        key: &'static str,
        items: &[T],
        write: impl Fn(&T, Object<'_>),
    ) {
        if items.is_empty() {
            return;
        }
        let out = self.key(key);
        for (index, item) in items.iter().enumerate() {
            out.push(if index == 0 { b'[' } else { b',' });
            write(item, Object::open(out));
        }
        out.push(b']');
    }
}

impl Drop for Object<'_> {
    fn drop(&mut self) {
        self.out.push(b'}');
    }
}

fn escape(text: &str, out: &mut Vec<u8>) {
    serde_json::to_writer(out, text).expect("text is always written to a Vec");
}
