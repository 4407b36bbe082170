//! Where a value stands, and which values are named.

use std::iter::successors;

/// The steps that people count in, of each power of ten.
const STEPS: [f64; 3] = [1.0, 2.0, 5.0];

/// So many values are named on an axis, at most.
const NAMED_MAX: f64 = 8.0;

/// Of so many powers of ten, the twos and fives are named as well.
const DECADES_MAX: f64 = 3.0;

/// What an axis is divided by.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Scale {
    /// From zero in equal steps.
    Linear { top: f64 },
    /// By powers of ten.
    Log { bottom: f64, top: f64 },
    /// By the nines of a percentile.
    Nines { count: f64 },
}

/// A scale that stretches over a part of the canvas.
#[derive(Debug, Clone, Copy)]
pub(super) struct Axis {
    pub(super) scale: Scale,
    /// Where the least value stands,
    pub(super) from: f64,
    /// and where the greatest.
    pub(super) to: f64,
}

impl Scale {
    /// From zero to a round number that is not below any value.
    pub(super) fn linear(values: impl Iterator<Item = f64>) -> Self {
        let greatest = greatest(values);
        let step = step(greatest);
        Self::Linear { top: (greatest / step).ceil().max(1.0) * step }
    }

    /// Between round numbers around all values.
    pub(super) fn log(values: impl Iterator<Item = f64> + Clone) -> Self {
        let above = values.clone().filter(|value| *value > 0.0 && value.is_finite());
        let least = above.fold(f64::INFINITY, f64::min);
        let least = if least.is_finite() { least } else { 0.1 };
        let greatest = greatest(values).max(least * 10.0);
        // Where all steps would be too many to name, the axis ends at powers of ten.
        let to = |value, to: fn(f64) -> f64| match (greatest / least).log10() <= DECADES_MAX {
            true => rounded(value, to),
            false => 10f64.powf(to(f64::log10(value))),
        };
        let (bottom, top) = (to(least, f64::floor), to(greatest, f64::ceil));
        Self::Log { bottom, top }
    }

    /// To as many nines as so many values can tell.
    pub(super) fn nines(values: u64) -> Self {
        Self::Nines { count: (values.max(10) as f64).log10() }
    }

    /// The values that are named, with their names.
    pub(super) fn named(self) -> Vec<(f64, String)> {
        match self {
            Self::Linear { top } => {
                let step = step(top);
                let steps = (0..=u8::MAX).map(|count| f64::from(count) * step);
                steps.take_while(|at| *at <= top * 1.001).map(|at| (at, name(at))).collect()
            }
            Self::Log { bottom, top } => {
                let decades = (top / bottom).log10();
                // Every step where there is room, only powers of ten where there is not.
                let steps = if decades <= DECADES_MAX + 1.0 { &STEPS[..] } else { &STEPS[..1] };
                let powers = successors(Some(power_below(bottom)), |power| Some(power * 10.0));
                let powers = powers.take_while(|power| *power <= top * 1.001);
                let all = powers.flat_map(|power| steps.iter().map(move |step| step * power));
                let within = all.filter(|at| *at >= bottom * 0.999 && *at <= top * 1.001);
                within.map(|at| (at, name(at))).collect()
            }
            Self::Nines { count } => {
                let nines = (1..=9).map(|nines| 1.0 - 10f64.powi(-nines));
                let quantiles = [0.0, 0.5].into_iter().chain(nines);
                let within = quantiles.filter(|quantile| beyond(*quantile) <= count + 1e-6);
                within.map(|quantile| (quantile, percentile(quantile))).collect()
            }
        }
    }

    /// The part of the axis below a value, from 0 to 1.
    fn part(self, value: f64) -> f64 {
        let part = match self {
            Self::Linear { top } => value / top,
            Self::Log { bottom, top } => (value.max(bottom) / bottom).ln() / (top / bottom).ln(),
            Self::Nines { count } => beyond(value) / count,
        };
        part.clamp(0.0, 1.0)
    }
}

impl Axis {
    /// Where a value stands; one outside stands at the end.
    pub(super) fn at(&self, value: f64) -> f64 {
        self.from + (self.to - self.from) * self.scale.part(value)
    }
}

/// A number for people: three digits that count, in thousands and millions where it is large.
pub(super) fn name(value: f64) -> String {
    let (value, unit) = match value.abs() {
        size if size >= 1e6 => (value / 1e6, "M"),
        size if size >= 1e4 => (value / 1e3, "k"),
        _ => (value, ""),
    };
    let digits = match value.abs() {
        size if size >= 99.95 || size == 0.0 => 0,
        size if size >= 9.995 => 1,
        size if size >= 0.9995 => 2,
        size if size >= 0.009_995 => 3,
        _ => 5,
    };
    let text = format!("{value:.digits$}");
    let text =
        if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    format!("{text}{unit}")
}

/// A measured value: as many digits as mean something, whatever they are.
pub(super) fn measured(value: f64) -> String {
    match value.abs() {
        size if size >= 1e4 => name(value),
        size if size >= 99.95 => format!("{value:.0}"),
        size if size >= 9.995 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

/// What a percentile is called.
fn percentile(quantile: f64) -> String {
    let percent = format!("{:.7}", quantile * 100.0);
    format!("{}%", percent.trim_end_matches('0').trim_end_matches('.'))
}

/// How many nines a quantile has: 0.9 has one, 0.99 has two.
fn beyond(quantile: f64) -> f64 {
    -(1.0 - quantile).max(1e-12).log10()
}

fn greatest(values: impl Iterator<Item = f64>) -> f64 {
    values.filter(|value| value.is_finite()).fold(0.0, f64::max)
}

/// The least round step that divides an axis into few enough parts.
fn step(top: f64) -> f64 {
    let least = (top / NAMED_MAX).max(1e-9);
    let power = power_below(least);
    let round = STEPS.into_iter().chain([10.0]).map(|step| step * power);
    round.into_iter().find(|step| *step >= least * 0.999).unwrap_or(power * 10.0)
}

/// The power of ten at or below a value.
fn power_below(value: f64) -> f64 {
    10f64.powf(value.log10().floor())
}

/// The next of the round numbers below or above.
fn rounded(value: f64, to: fn(f64) -> f64) -> f64 {
    let power = power_below(value);
    let down = to(0.5) == 0.0;
    let all = STEPS.into_iter().chain([10.0]).map(|step| step * power);
    let mut fitting =
        all.filter(|it| if down { *it <= value * 1.001 } else { *it >= value * 0.999 });
    let found = if down { fitting.next_back() } else { fitting.next() };
    found.unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(scale: Scale) -> Vec<String> {
        scale.named().into_iter().map(|(_, name)| name).collect()
    }

    #[test]
    fn a_linear_axis_begins_at_zero_and_ends_above_every_value() {
        let scale = Scale::linear([4.2, 5.6].into_iter());
        assert_eq!(scale, Scale::Linear { top: 6.0 });
        assert_eq!(names(scale), ["0", "1", "2", "3", "4", "5", "6"]);
        let scale = Scale::linear([216_000.0].into_iter());
        assert_eq!(names(scale), ["0", "50k", "100k", "150k", "200k", "250k"]);
        assert_eq!(names(Scale::linear([0.0].into_iter())).first().unwrap(), "0");
    }

    #[test]
    fn a_log_axis_ends_at_round_numbers_around_the_values() {
        let scale = Scale::log([0.41, 9.95].into_iter());
        assert_eq!(scale, Scale::Log { bottom: 0.2, top: 10.0 });
        assert_eq!(names(scale), ["0.2", "0.5", "1", "2", "5", "10"]);
        let axis = Axis { scale, from: 300.0, to: 100.0 };
        assert!((axis.at(0.2) - 300.0).abs() < 1e-6 && (axis.at(10.0) - 100.0).abs() < 1e-6);
        assert!((axis.at(2f64.sqrt()) - 200.0).abs() < 1e-6);
        assert!((axis.at(0.0) - 300.0).abs() < 1e-6, "what is below stands at the end");
    }

    #[test]
    fn a_long_log_axis_ends_at_powers_of_ten_and_names_them_alone() {
        let scale = Scale::log([0.3, 2500.0].into_iter());
        assert_eq!(names(scale), ["0.1", "1", "10", "100", "1000", "10k"]);
    }

    #[test]
    fn percentiles_go_as_far_as_there_are_values() {
        assert_eq!(names(Scale::nines(20_000)), ["0%", "50%", "90%", "99%", "99.9%", "99.99%"]);
        assert_eq!(names(Scale::nines(3)), ["0%", "50%", "90%"]);
        let axis = Axis { scale: Scale::nines(10_000), from: 0.0, to: 400.0 };
        assert!((axis.at(0.99) - 200.0).abs() < 1e-6);
        assert!((axis.at(1.0) - 400.0).abs() < 1e-6);
    }

    #[test]
    fn numbers_are_named_as_people_write_them() {
        let cases = [
            (0.0, "0"),
            (0.38, "0.38"),
            (4.567, "4.57"),
            (20.0, "20"),
            (131.0, "131"),
            (3436.0, "3436"),
            (216_400.0, "216k"),
            (1_200_000.0, "1.2M"),
        ];
        for (value, text) in cases {
            assert_eq!(name(value), text);
        }
    }
}
