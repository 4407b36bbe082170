//! Generated messages of `veza/bus/v1/bus.proto`, and the `Debug` of those with secrets.

use std::fmt;

#[expect(clippy::doc_markdown, reason = "the comments are written for .proto readers")]
mod generated {
    include!(concat!(env!("OUT_DIR"), "/veza.bus.v1.rs"));
}

pub use self::generated::*;

impl fmt::Debug for Commands {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Commands").field("question", &self.question).finish_non_exhaustive()
    }
}
