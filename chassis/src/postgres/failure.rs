//! What an error of PostgreSQL means for whoever wants to go on.
//!
//! The five characters are SQLSTATE codes (PostgreSQL manual, appendix A).

use sqlx::Error;

/// The code of an error that the server reported.
#[must_use]
pub fn sqlstate(error: &Error) -> Option<String> {
    Some(error.as_database_error()?.code()?.into_owned())
}

/// The connection is of no use any more: it broke, or the server ended it or is going.
///
/// Whether what was sent last was done is not known.
#[must_use]
pub fn is_connection_lost(error: &Error) -> bool {
    match error {
        Error::Io(_) | Error::Tls(_) | Error::Protocol(_) => true,
        // 57P01 administrator, 57P02 crash, 57P03 starting or stopping, 57P04 database dropped,
        // 57P05 and 25P03 idle for too long; class 08 is what proxies say.
        _ => sqlstate(error)
            .is_some_and(|code| code.starts_with("57P") || code == "25P03" || is_class_08(&code)),
    }
}

/// The server takes no writes: a standby, or a primary that is one no longer (25006).
#[must_use]
pub fn is_read_only(error: &Error) -> bool {
    sqlstate(error).is_some_and(|code| code == "25006")
}

/// The same again may succeed: a serialization failure (40001), a deadlock (40P01), a lock that
/// was not available (55P03), a statement that took too long (57014). Nothing was done.
#[must_use]
pub fn is_transient(error: &Error) -> bool {
    let codes = ["40001", "40P01", "55P03", "57014"];
    sqlstate(error).is_some_and(|code| codes.contains(&code.as_str()))
}

fn is_class_08(code: &str) -> bool {
    code.starts_with("08")
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;
    use crate::testing::database_error as coded;

    /// Lost, read-only, transient.
    fn verdicts(error: &Error) -> (bool, bool, bool) {
        (is_connection_lost(error), is_read_only(error), is_transient(error))
    }

    #[test]
    fn a_connection_is_lost_when_it_breaks_or_the_server_goes() {
        for code in ["57P01", "57P02", "57P03", "57P04", "57P05", "25P03", "08006", "08P01"] {
            assert_eq!(verdicts(&coded(code)), (true, false, false), "{code}");
        }
        let broken = Error::Io(io::ErrorKind::ConnectionReset.into());
        assert_eq!(verdicts(&broken), (true, false, false));
        assert!(is_connection_lost(&Error::Protocol("unexpected".to_owned())));
    }

    #[test]
    fn a_server_that_only_reads_is_told_from_one_that_is_gone() {
        assert_eq!(verdicts(&coded("25006")), (false, true, false));
    }

    #[test]
    fn what_may_succeed_again_is_known() {
        for code in ["40001", "40P01", "55P03", "57014"] {
            assert_eq!(verdicts(&coded(code)), (false, false, true), "{code}");
        }
    }

    #[test]
    fn mistakes_and_conflicts_are_none_of_these() {
        for code in ["23505", "42P01", "22P02", "53300", "28P01", "25001"] {
            assert_eq!(verdicts(&coded(code)), (false, false, false), "{code}");
        }
        for error in [Error::RowNotFound, Error::PoolTimedOut, Error::PoolClosed] {
            assert_eq!(verdicts(&error), (false, false, false), "{error}");
        }
    }
}
