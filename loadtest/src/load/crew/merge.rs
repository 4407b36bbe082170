//! Samples of all workers, put together: workers take them at the same times, and a moment of the
//! run is whole when each has given its own.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::load::scenario::Moment;
use crate::load::worker::word::Sample;

/// Samples that are not whole yet.
#[derive(Debug)]
pub(super) struct Merge {
    workers: usize,
    parts: BTreeMap<u32, (usize, Sample)>,
}

impl Merge {
    pub(super) const fn new(workers: usize) -> Self {
        Self { workers, parts: BTreeMap::new() }
    }

    /// Adds a worker's; gives the sum when it was the last.
    pub(super) fn add(&mut self, sample: Sample) -> Option<Sample> {
        let number = sample.number;
        let (count, sum) = self.parts.entry(number).or_default();
        *count += 1;
        sum.number = number;
        sum.add(&sample);
        if *count < self.workers {
            return None;
        }
        // Each worker gives them in order, so those before are whole as well.
        self.parts.remove(&number).map(|(_, sum)| sum)
    }
}

/// What a whole sample says of the run.
pub(super) fn moment(sample: &Sample, at: Duration) -> Moment {
    let Sample { connections, received, .. } = sample;
    Moment {
        second: at.as_secs_f64(),
        present: sample.present,
        gone: connections.failed + connections.ended,
        sent: sample.published.sent,
        expected: received.expected,
        delivered: received.delivered,
        wrong: received.doubled + received.swapped + received.misplaced,
        latency: sample.latency.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_whole_when_every_worker_has_given_it() {
        let sample = |number, delivered, busy| {
            let mut sample = Sample { number, busy, present: 5, ..Sample::default() };
            sample.received.delivered = delivered;
            sample.latency.record(delivered);
            sample
        };
        let mut merge = Merge::new(2);
        assert_eq!(merge.add(sample(1, 10, true)), None);
        assert_eq!(merge.add(sample(2, 30, false)), None);
        let whole = merge.add(sample(1, 20, false)).unwrap();
        assert_eq!((whole.received.delivered, whole.busy, whole.present), (30, true, 10));
        let moment = moment(&whole, Duration::from_secs(1));
        assert_eq!((moment.latency.count(), moment.delivered), (2, 30));
        let whole = merge.add(sample(2, 40, false)).unwrap();
        assert_eq!((whole.number, whole.received.delivered, whole.busy), (2, 70, false));
    }
}
