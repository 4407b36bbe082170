//! Breaks what can be broken under load, and checks that nothing is lost.
//!
//! ```text
//! options   what a run is made of
//! run       its course: stage, cast, load, faults, judgement
//! stage     a store, a Redis, nodes behind proxies
//! faults    what is broken and when, drawn from a seed
//! client    hundreds of them by the real protocol, each with a record of what it saw
//! rooms, plain, presence   the verdicts on those records
//! figures   how long things took, in calm and in trouble
//! report    what a run is told as, for people and for programs
//! ```
//!
//! Verdicts are pure. [`rooms`] compares with the log, [`plain`] with what everyone else saw within
//! an epoch, [`presence`] with who was there. A verdict is a list of what is wrong, each entry with
//! channel, offset and client, and is empty when nothing is.

pub mod client;
pub mod faults;
pub mod figures;
pub mod options;
pub mod plain;
pub mod presence;
mod print;
pub mod report;
pub mod rooms;
pub mod run;
pub mod stage;
pub mod voice;
pub mod world;

pub use self::options::Options;
pub use self::print::{Glimpse, Name, print};
pub use self::report::Report;
pub use self::run::run;
