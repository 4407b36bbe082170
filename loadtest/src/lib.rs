//! Proves on running servers that nothing is lost, and measures them meanwhile.
//!
//! ```text
//! cli       the program: arguments, exit code
//! options   what a run is made of
//! run       its course: stage, cast, load, faults, judgement
//! stage     a store, a Redis, nodes behind proxies
//! faults    what is broken and when, drawn from a seed
//! client    hundreds of them by the real protocol, each with a record of what it saw
//! check     the verdicts on those records: pure
//! figures   how long things took, in calm and in trouble
//! report    what a run is told as, for people and for programs
//! ```

pub mod check;
pub mod cli;
pub mod client;
pub mod faults;
pub mod figures;
pub mod options;
pub mod report;
pub mod run;
pub mod stage;
pub mod voice;
pub mod world;

pub use self::options::Options;
pub use self::report::Report;
pub use self::run::run;
