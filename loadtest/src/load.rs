//! What a server takes, and how long it takes for it.
//!
//! ```text
//! alarm      a timer that has no grain
//! clock      one clock for every process of the machine
//! target     what is measured: servers started for it, or one that is named
//! plan       what one measurement is, and the part of it that a worker gets
//! dialect    how one speaks to a server: bytes in, bytes out, no socket
//! thread     what a client has of its room's messages: what is missing, doubled, swapped
//! worker     one process, one thread: thousands of clients that only parse frames
//! crew       the coordinator of the workers: starts them together, gathers, merges
//! peers      servers of others, and the raw loop that is the floor under all
//! times      histograms that add up and travel
//! meter      what processes use, and how busy their machine is
//! tally      what was counted and timed, in a form that adds up
//! report     what a run is told as: progress, tables, JSON, plots
//! scenario   the course of each measurement, and what comes out of it
//! verdict    target, figure, verdict
//! ```
//!
//! The load is open: a message is due at a time that nobody's slowness moves, and its delay counts
//! from then, so that a server which stands still for a second has a second in its figures for
//! every message that was due in it. Whoever measures shares the machine with what is measured:
//! the workers' own use of the processor is part of every outcome.

mod alarm;
pub mod clock;
pub mod crew;
pub mod dialect;
pub mod meter;
pub mod peers;
pub mod plan;
pub mod report;
pub mod scenario;
pub mod tally;
pub mod target;
pub mod thread;
pub mod times;
pub mod verdict;
pub mod worker;
