//! A clock that can be set, for one node: the wall clock alone.
//!
//! A few lines of C, compiled here and preloaded into the server, add a number of seconds that
//! stands in a file. libfaketime does the same for most programs; with an allocator that asks for
//! the time before it is there, as the servers have, it never comes to an end.

use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, ensure};

/// What is preloaded.
const SOURCE: &str = include_str!("clock.c");

/// A clock.
#[derive(Debug)]
pub struct Clock {
    library: PathBuf,
    /// How far ahead it is; the server has it in its memory.
    file: PathBuf,
}

impl Clock {
    /// Whether this machine can make one.
    #[must_use]
    pub fn can_be_made() -> bool {
        cfg!(target_os = "linux") && Command::new("cc").arg("--version").output().is_ok()
    }

    /// One that goes right.
    ///
    /// # Errors
    /// When it cannot be compiled or written.
    pub fn make(folder: &Path) -> Result<Self> {
        let source = folder.join("clock.c");
        let clock = Self { library: folder.join("clock.so"), file: folder.join("clock") };
        fs::write(&source, SOURCE)?;
        fs::write(&clock.file, 0_i64.to_ne_bytes())?;
        let mut compile = Command::new("cc");
        compile.args(["-O2", "-Wall", "-shared", "-fPIC", "-o"]).arg(&clock.library).arg(&source);
        let compiled = compile.output()?;
        ensure!(compiled.status.success(), "cc: {}", String::from_utf8_lossy(&compiled.stderr));
        Ok(clock)
    }

    /// What a program needs in its environment to go by it.
    #[must_use]
    pub fn variables(&self) -> [(&'static str, String); 2] {
        let shown = |path: &Path| path.display().to_string();
        [("LD_PRELOAD", shown(&self.library)), ("VEZA_CLOCK", shown(&self.file))]
    }

    /// Sets it so many seconds ahead of what is right, or behind.
    ///
    /// # Errors
    /// When its file cannot be written.
    pub fn set(&self, seconds: i64) -> Result<()> {
        // In place: the server looks at this very file.
        Ok(File::options().write(true).open(&self.file)?.write_all_at(&seconds.to_ne_bytes(), 0)?)
    }
}

#[cfg(test)]
mod tests {
    use std::time::{SystemTime, UNIX_EPOCH};

    use super::*;

    fn seconds() -> u64 {
        SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
    }

    #[test]
    fn a_program_that_goes_by_it_is_as_far_ahead_as_it_is_set() {
        if !Clock::can_be_made() {
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        let clock = Clock::make(folder.path()).unwrap();
        for ahead in [0, 3_600, -3_600] {
            clock.set(ahead).unwrap();
            let before = seconds();
            let told = Command::new("date").arg("+%s").envs(clock.variables()).output().unwrap();
            let told: u64 = String::from_utf8(told.stdout).unwrap().trim().parse().unwrap();
            let (least, most) = (before, seconds());
            let right = told.checked_add_signed(-ahead).unwrap();
            assert!((least..=most).contains(&right), "{told} is {ahead} ahead of {right}");
        }
    }
}
