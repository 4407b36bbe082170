//! Numbers as people read them: three digits that count, always with their unit.

use std::time::Duration;

/// With a comma after each three digits.
#[must_use]
pub fn count(value: u64) -> String {
    let digits = value.to_string();
    let first = digits.len() % 3;
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place != 0 && place % 3 == first {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A number: whole and with commas from 100 on, with three digits below.
#[must_use]
pub fn number(value: f64) -> String {
    match value.abs() {
        size if !size.is_finite() => "-".to_owned(),
        size if size >= 99.95 => {
            let whole = format!("{:.0}", size);
            let text = whole.parse().map_or(whole, count);
            if value < 0.0 { format!("-{text}") } else { text }
        }
        size if size >= 9.995 => format!("{value:.1}"),
        size if size >= 0.0995 || size == 0.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

/// A time in the unit that suits it.
#[must_use]
pub fn time(time: Duration) -> String {
    let seconds = time.as_secs_f64();
    match time.as_nanos() {
        0 => "0 ms".to_owned(),
        1..100_000 => format!("{} us", number(seconds * 1e6)),
        100_000..10_000_000_000 => format!("{} ms", number(seconds * 1e3)),
        _ => format!("{} s", number(seconds)),
    }
}

/// A size in the unit that suits it.
#[must_use]
pub fn size(bytes: f64) -> String {
    const KIB: f64 = 1024.0;
    match bytes.abs() {
        size if size < KIB => format!("{} B", number(bytes)),
        size if size < KIB * KIB => format!("{} KiB", number(bytes / KIB)),
        size if size < KIB * KIB * KIB => format!("{} MiB", number(bytes / KIB / KIB)),
        _ => format!("{} GiB", number(bytes / KIB / KIB / KIB)),
    }
}

/// A figure by the unit in its name: the name without the unit, and the value with it. The unit is
/// a word of the name, mostly the last one; without one the value is a count or a ratio.
#[must_use]
pub fn figure(name: &str, value: f64) -> (String, String) {
    for (unit, read) in READINGS {
        let found = format!("_{name}_").find(&format!("_{unit}_"));
        if let Some(at) = found {
            let (before, behind) = (name.get(..at), name.get(at + unit.len()..));
            let rest = format!("{}{}", before.unwrap_or_default(), behind.unwrap_or_default());
            let rest = rest.replace('_', " ");
            return (rest.split_whitespace().collect::<Vec<_>>().join(" "), read(value));
        }
    }
    (name.replace('_', " "), number(value))
}

/// How the values of a unit read.
type Reading = (&'static str, fn(f64) -> String);

/// Longer ones first, for they have shorter ones in them.
const READINGS: [Reading; 9] = [
    ("per_second", |value| format!("{}/s", number(value))),
    ("cpu_seconds", |value| format!("{} s of CPU", number(value))),
    ("bytes", size),
    ("seconds", |value| time(Duration::try_from_secs_f64(value).unwrap_or_default())),
    ("ms", |value| format!("{} ms", number(value))),
    ("us", |value| format!("{} us", number(value))),
    ("share", |value| format!("{} %", number(value * 100.0))),
    ("ratio", |value| format!("{} x", number(value))),
    ("count", |value| format!("{value:.0}")),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_commas_and_three_digits() {
        let counts = [(0, "0"), (999, "999"), (1_000, "1,000"), (1_234_567, "1,234,567")];
        for (value, text) in counts {
            assert_eq!(count(value), text);
        }
        let numbers = [
            (0.0, "0.00"),
            (0.0123, "0.012"),
            (4.806, "4.81"),
            (33.04, "33.0"),
            (50_012.4, "50,012"),
        ];
        for (value, text) in numbers {
            assert_eq!(number(value), text);
        }
        assert_eq!(number(f64::NAN), "-");
    }

    #[test]
    fn times_and_sizes_have_the_unit_that_suits_them() {
        assert_eq!(time(Duration::from_micros(41)), "41.0 us");
        assert_eq!(time(Duration::from_micros(410)), "0.41 ms");
        assert_eq!(time(Duration::from_millis(1_234)), "1,234 ms");
        assert_eq!(time(Duration::from_secs(75)), "75.0 s");
        assert_eq!(time(Duration::ZERO), "0 ms");
        assert_eq!(size(512.0), "512 B");
        assert_eq!(size(2_560.0), "2.50 KiB");
        assert_eq!(size(80_530_636.8), "76.8 MiB");
    }

    #[test]
    fn the_name_of_a_figure_says_its_unit() {
        let read = |name, value| {
            let (name, value) = figure(name, value);
            format!("{name}: {value}")
        };
        assert_eq!(read("handshakes_per_second", 3436.2), "handshakes: 3,436/s");
        assert_eq!(read("taken_by_others_share", 0.125), "taken by others: 12.5 %");
        assert_eq!(read("tcp_buffer_bytes", 4096.0), "tcp buffer: 4.00 KiB");
        assert_eq!(read("services_cpu_seconds", 1.5), "services: 1.50 s of CPU");
        assert_eq!(
            read("idle_cpu_us_per_connection_second", 0.2),
            "idle cpu per connection second: 0.20 us"
        );
        assert_eq!(read("rss_bytes_most", 2048.0), "rss most: 2.00 KiB");
        assert_eq!(read("storm_seconds_until_last", 9.5), "storm until last: 9,500 ms");
        assert_eq!(read("resumptions_per_query", 50.0), "resumptions per query: 50.0");
    }
}
