//! What an error of either database means for the store as a whole.

use chassis::postgres;
use sqlx::Error;

/// What an error means; the words are the reasons of [`super::Error::Unavailable`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::store) enum Verdict {
    /// Nothing can be written, this error proves it.
    Down(&'static str),
    /// Perhaps nothing can: the probe finds out, now.
    Suspect(&'static str),
    /// This once it was not to be; the same again may succeed.
    Busy(&'static str),
    /// It is about the statement, not about the store.
    Statement,
}

/// Judges an error by its code: those of PostgreSQL have five characters, those of SQLite are
/// numbers of up to four digits.
pub(in crate::store) fn verdict(error: &Error) -> Verdict {
    match error {
        // Every connection is in use, or none can be had.
        Error::PoolTimedOut => return Verdict::Suspect("store_busy"),
        Error::PoolClosed | Error::WorkerCrashed => return Verdict::Suspect("store_down"),
        _ => {}
    }
    match postgres::sqlstate(error) {
        Some(code) if code.len() < 5 => code.parse().map_or(Verdict::Statement, sqlite),
        code => sqlstate(error, code.as_deref().unwrap_or_default()),
    }
}

fn sqlstate(error: &Error, code: &str) -> Verdict {
    if postgres::is_read_only(error) {
        return Verdict::Suspect("store_read_only");
    }
    // 28 and 3D: it does not let us in any more.
    if postgres::is_connection_lost(error) || code.starts_with("28") || code.starts_with("3D") {
        return Verdict::Suspect("store_down");
    }
    match code {
        // 53100: the disk is full.
        "53100" => Verdict::Down("store_full"),
        // 57014: a statement took longer than it may.
        "57014" => Verdict::Busy("store_timeout"),
        // 53200 out of memory, 53300 too many connections, 53400 a limit of the configuration.
        "53200" | "53300" | "53400" => Verdict::Busy("store_busy"),
        _ if postgres::is_transient(error) => Verdict::Busy("store_busy"),
        // 58: an error outside of the database, such as its disk.
        _ if code.starts_with("58") => Verdict::Suspect("store_down"),
        _ => Verdict::Statement,
    }
}

/// Result codes (<https://sqlite.org/rescode.html>); the lowest byte says which, the rest how.
fn sqlite(code: u32) -> Verdict {
    match code & 0xff {
        // BUSY, LOCKED, PROTOCOL: after waiting for as long as a command may take.
        5 | 6 | 15 => Verdict::Down("store_locked"),
        // READONLY.
        8 => Verdict::Down("store_read_only"),
        // FULL.
        13 => Verdict::Down("store_full"),
        // IOERR, CORRUPT, CANTOPEN, NOTADB.
        10 | 11 | 14 | 26 => Verdict::Down("store_down"),
        // NOMEM, INTERRUPT.
        7 | 9 => Verdict::Busy("store_busy"),
        _ => Verdict::Statement,
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use chassis::testing::database_error;

    use super::Verdict::{Busy, Down, Statement, Suspect};
    use super::*;

    #[test]
    fn every_code_of_postgresql_gets_its_reason() {
        for (code, wanted) in [
            ("25006", Suspect("store_read_only")),
            ("57P01", Suspect("store_down")),
            ("57P03", Suspect("store_down")),
            ("08006", Suspect("store_down")),
            ("28P01", Suspect("store_down")),
            ("3D000", Suspect("store_down")),
            ("58030", Suspect("store_down")),
            ("53100", Down("store_full")),
            ("53300", Busy("store_busy")),
            ("57014", Busy("store_timeout")),
            ("40P01", Busy("store_busy")),
            ("55P03", Busy("store_busy")),
            ("23505", Statement),
            ("42P01", Statement),
        ] {
            assert_eq!(verdict(&database_error(code)), wanted, "{code}");
        }
    }

    #[test]
    fn every_code_of_sqlite_gets_its_reason_extended_or_not() {
        for (code, wanted) in [
            ("5", Down("store_locked")),
            ("517", Down("store_locked")),
            ("6", Down("store_locked")),
            ("8", Down("store_read_only")),
            ("1032", Down("store_read_only")),
            ("13", Down("store_full")),
            ("10", Down("store_down")),
            ("778", Down("store_down")),
            ("11", Down("store_down")),
            ("14", Down("store_down")),
            ("26", Down("store_down")),
            ("1", Statement),
            ("2067", Statement),
            ("1555", Statement),
        ] {
            assert_eq!(verdict(&database_error(code)), wanted, "{code}");
        }
    }

    #[test]
    fn without_a_connection_the_probe_is_asked() {
        assert_eq!(verdict(&Error::PoolTimedOut), Suspect("store_busy"));
        assert_eq!(verdict(&Error::PoolClosed), Suspect("store_down"));
        let broken = Error::Io(io::ErrorKind::BrokenPipe.into());
        assert_eq!(verdict(&broken), Suspect("store_down"));
        assert_eq!(verdict(&Error::RowNotFound), Statement);
    }
}
