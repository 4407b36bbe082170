//! What callgrind wrote: how much was executed, and how often a function was called.
//!
//! Reads the little of the format that is needed (the manual calls it "Callgrind Format
//! Specification"): the summary, and the calls with the names of what is called. A name stands in
//! full once and behind its number later on.

use std::collections::HashMap;

use anyhow::Context;

/// The functions through which memory is asked for; one that grows a block counts too.
const ALLOCATORS: [&str; 6] =
    ["malloc", "calloc", "realloc", "mallocx", "rallocx", "posix_memalign"];

/// What was executed between two moments.
#[derive(Debug)]
pub(crate) struct Profile {
    instructions: u64,
    calls: HashMap<String, u64>,
}

impl Profile {
    pub(crate) fn parse(text: &str) -> anyhow::Result<Self> {
        let mut names = HashMap::new();
        let mut calls = HashMap::<String, u64>::new();
        let (mut instructions, mut called) = (None, String::new());
        for line in text.lines() {
            let Some((key, value)) = line.split_once(['=', ':']) else { continue };
            match key {
                "summary" => instructions = Some(value.trim().parse()?),
                // Both define names; only the second says what the next line counts.
                "fn" => _ = name(&mut names, value),
                "cfn" => called = name(&mut names, value),
                "calls" => {
                    let count = value.split(' ').next().context("calls without a number")?;
                    *calls.entry(called.clone()).or_default() += count.parse::<u64>()?;
                }
                _ => {}
            }
        }
        Ok(Self { instructions: instructions.context("no summary")?, calls })
    }

    pub(crate) fn instructions(&self) -> f64 {
        self.instructions as f64
    }

    pub(crate) fn allocations(&self) -> f64 {
        self.calls_of(&ALLOCATORS)
    }

    /// Calls that hand bytes to a socket.
    pub(crate) fn sends(&self) -> f64 {
        self.calls_of(&["send", "writev", "sendmsg"])
    }

    fn calls_of(&self, functions: &[&str]) -> f64 {
        functions.iter().filter_map(|function| self.calls.get(*function)).sum::<u64>() as f64
    }
}

/// Without what a C library adds to a name, its version among others, and callgrind for recursion.
fn plain(name: &str) -> &str {
    let end = name.find(['@', '\'']).unwrap_or(name.len());
    name.split_at(end).0.trim_start_matches("__")
}

/// `(7) send` the first time, `(7)` from then on.
fn name(names: &mut HashMap<String, String>, value: &str) -> String {
    let (number, name) = value.split_once(' ').unwrap_or((value, ""));
    if !name.is_empty() {
        names.insert(number.to_owned(), plain(name).to_owned());
    }
    names.get(number).cloned().unwrap_or_default()
}
