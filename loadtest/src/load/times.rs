//! Histograms of times that add up, and travel as text.
//!
//! Nanoseconds up to a minute with three digits, in the layout of `HdrHistogram`: two of them made
//! apart and added are the same as one. On the way between processes and in reports they are its
//! V2 format, deflated, in base64, which every tool for such logs reads.

use std::fmt;
use std::io::Cursor;
use std::time::Duration;

use anyhow::{Context as _, Result};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::{Deserializer, Serializer as _, V2DeflateSerializer};
use serde::{Deserialize, Deserializer as Source, Serialize, Serializer as Sink};

/// The longest time that is told apart: longer ones count as this.
pub const LONGEST: Duration = Duration::from_secs(60);

/// Digits of a time.
const DIGITS: u8 = 3;

/// Times, counted.
#[derive(Clone, PartialEq)]
pub struct Times(Histogram<u64>);

impl Default for Times {
    fn default() -> Self {
        let longest = super::clock::nanos(LONGEST);
        Self(Histogram::new_with_bounds(1, longest, DIGITS).expect("the bounds are in order"))
    }
}

impl fmt::Debug for Times {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [middle, late] = [0.5, 0.99].map(|quantile| self.at(quantile));
        write!(f, "Times({} with P50 {middle:?}, P99 {late:?})", self.count())
    }
}

impl Times {
    /// Counts a time in nanoseconds.
    pub fn record(&mut self, nanos: u64) {
        self.0.saturating_record(nanos);
    }

    /// Adds all of another.
    pub fn add(&mut self, other: &Self) {
        self.0.add(&other.0).expect("all histograms have the same bounds");
    }

    /// Begins anew.
    pub fn clear(&mut self) {
        self.0.reset();
    }

    /// How many times were counted.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.len()
    }

    /// The time that so much of all does not exceed; zero when there is none.
    #[must_use]
    pub fn at(&self, quantile: f64) -> Duration {
        Duration::from_nanos(self.0.value_at_quantile(quantile))
    }

    /// The longest.
    #[must_use]
    pub fn max(&self) -> Duration {
        Duration::from_nanos(self.0.max())
    }

    /// The mean.
    #[must_use]
    pub fn mean(&self) -> Duration {
        Duration::try_from_secs_f64(self.0.mean() / 1e9).unwrap_or_default()
    }

    /// For plots: each step of the curve, as a time and the part of all that does not exceed it.
    pub fn steps(&self) -> impl Iterator<Item = (Duration, f64)> {
        let steps = self.0.iter_recorded();
        steps.map(|step| (Duration::from_nanos(step.value_iterated_to()), step.quantile()))
    }

    fn to_text(&self) -> Result<String> {
        let mut bytes = Vec::new();
        V2DeflateSerializer::new().serialize(&self.0, &mut bytes)?;
        Ok(STANDARD.encode(bytes))
    }

    fn of_text(text: &str) -> Result<Self> {
        let bytes = STANDARD.decode(text).context("no base64")?;
        let read = Deserializer::new().deserialize(&mut Cursor::new(bytes));
        let mut times = Self::default();
        // What was made with other bounds is brought into ours.
        times.0.add(&read.context("no histogram")?).context("times that are too long")?;
        Ok(times)
    }
}

impl Serialize for Times {
    fn serialize<S: Sink>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.to_text().map_err(serde::ser::Error::custom)?)
    }
}

impl<'de> Deserialize<'de> for Times {
    fn deserialize<D: Source<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::of_text(&text).map_err(|error| serde::de::Error::custom(format!("{error:#}")))
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::proptest;

    use super::*;

    #[test]
    fn a_time_over_a_minute_counts_as_the_longest() {
        let mut times = Times::default();
        times.record(3_600_000_000_000);
        assert!(times.max() >= LONGEST && times.max() < LONGEST * 2, "{times:?}");
    }

    proptest! {
        #[test]
        fn what_travels_arrives_and_parts_add_up_to_the_whole(
            times in vec(0_u64..100_000_000_000, 0..200),
            cut in 0_usize..200,
        ) {
            let of = |times: &[u64]| {
                let mut all = Times::default();
                times.iter().for_each(|time| all.record(*time));
                all
            };
            let (one, other) = times.split_at(cut.min(times.len()));
            let mut sum = of(one);
            sum.add(&of(other));
            assert_eq!(sum, of(&times));
            let text = serde_json::to_string(&sum).unwrap();
            assert_eq!(serde_json::from_str::<Times>(&text).unwrap(), sum);
        }
    }
}
