//! What is told while a run goes on: lines, and on a terminal one that is written over.

#![expect(clippy::print_stdout, reason = "this is what the program is for")]

use std::io::{IsTerminal as _, Write as _};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// Between two lines of progress where they cannot be written over.
const PACE: Duration = Duration::from_secs(10);

/// Whoever tells.
#[derive(Debug)]
pub struct Voice {
    terminal: bool,
    // When progress was last told as a line of its own.
    last: Mutex<Option<Instant>>,
}

impl Voice {
    /// Tells on standard output.
    #[must_use]
    pub fn new() -> Self {
        Self { terminal: std::io::stdout().is_terminal(), last: Mutex::new(None) }
    }

    /// Tells what happens at a time of the run.
    pub fn say(&self, at: Duration, text: &str) {
        self.line(&format!("{:7.1} s  {text}", at.as_secs_f64()));
    }

    /// Tells anything.
    pub fn line(&self, text: &str) {
        if self.terminal {
            // The line of progress makes room.
            print!("\r\x1b[2K");
        }
        println!("{text}");
    }

    /// Tells how far it is.
    pub fn progress(&self, at: Duration, text: &str) {
        if self.terminal {
            print!("\r\x1b[2K{:7.1} s  {text}", at.as_secs_f64());
            // A terminal that is gone has nobody to tell.
            drop(std::io::stdout().flush());
            return;
        }
        let mut last = self.last.lock();
        if last.is_none_or(|last| last.elapsed() >= PACE) {
            *last = Some(Instant::now());
            drop(last);
            self.say(at, text);
        }
    }

    /// Ends the line of progress.
    pub fn rest(&self) {
        if self.terminal {
            print!("\r\x1b[2K");
        }
    }
}

impl Default for Voice {
    fn default() -> Self {
        Self::new()
    }
}
