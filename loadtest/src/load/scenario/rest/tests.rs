use super::*;

#[test]
fn what_would_not_end_or_fit_is_refused() {
    assert!(Options::default().check().is_ok());
    for wrong in [
        Options { clients: 0, ..Options::default() },
        Options { clients: CLIENTS_MAX + 1, ..Options::default() },
        Options { rate: f64::NAN, ..Options::default() },
        Options { rate: 1e9, ..Options::default() },
        Options { size: 100_000, ..Options::default() },
    ] {
        assert!(wrong.check().is_err(), "{wrong:?}");
    }
}
