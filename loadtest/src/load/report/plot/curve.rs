//! Latency by percentile: the x axis gives each further nine as much room as the one before.

use super::axis::{Axis, Scale};
use super::canvas::{Canvas, Frame, HEAD, NORMAL, Point, SMALL, Side, width};

const WIDTH: f64 = 960.0;
const HEIGHT: f64 = 540.0;

/// Between the names of series at the right edge, so that they do not lie on each other.
const NAME_HEIGHT: f64 = 17.0;

/// Percentiles of one or several series.
#[derive(Debug, Clone, Default)]
pub struct Curve {
    /// What it is about.
    pub title: String,
    /// The circumstances, in two lines at most.
    pub below: String,
    /// What is compared.
    pub lines: Vec<Line>,
    /// What P99 is held against, in milliseconds.
    pub p99_bound_ms: Option<f64>,
}

/// The percentiles of one series.
#[derive(Debug, Clone, Default)]
pub struct Line {
    /// Whose they are.
    pub name: String,
    /// How many values there are.
    pub count: u64,
    /// Milliseconds at quantiles from 0 to 1, in order.
    pub points: Vec<(f64, f64)>,
}

impl Curve {
    /// The plot.
    #[must_use]
    pub fn svg(&self) -> String {
        let mut canvas = Canvas::new(WIDTH, HEIGHT, &self.title, &self.below);
        let longest = self.lines.iter().map(|line| width(&line.name, NORMAL)).fold(60.0, f64::max);
        let frame = Frame {
            left: 76.0,
            top: HEAD + 8.0,
            right: WIDTH - longest - 24.0,
            bottom: HEIGHT - 62.0,
        };
        let (x, y) = self.axes(frame);
        draw_axes(&mut canvas, frame, &x, &y);
        if let Some(bound) = self.p99_bound_ms {
            let name = format!("P99 below {} ms", super::axis::name(bound));
            let (from, to) = ((frame.left, y.at(bound)), (x.at(0.99), y.at(bound)));
            canvas.bound(from, to, &name);
        }
        let mut ends = Vec::new();
        for (series, line) in self.lines.iter().enumerate() {
            let points: Vec<Point> =
                line.points.iter().map(|(q, ms)| (x.at(*q), y.at(*ms))).collect();
            canvas.line(&points, series);
            for quantile in [0.5, 0.9, 0.99, 0.999, 0.9999] {
                if let Some((_, ms)) = line.points.iter().find(|(at, _)| *at >= quantile - 1e-9) {
                    canvas.mark((x.at(quantile), y.at(*ms)), series);
                }
            }
            if let Some((_, end)) = points.last() {
                ends.push((series, *end));
            }
        }
        for (series, at) in apart(ends, frame) {
            canvas.write_in_colour(
                (frame.right + 8.0, at + 4.0),
                &self.lines[series].name,
                Side::Right,
                series,
            );
        }
        canvas.finish()
    }

    fn axes(&self, frame: Frame) -> (Axis, Axis) {
        let count = self.lines.iter().map(|line| line.count).max().unwrap_or(0);
        let points = self.lines.iter().flat_map(|line| &line.points);
        let values = points.map(|(_, ms)| *ms).chain(self.p99_bound_ms);
        let x = Axis { scale: Scale::nines(count), from: frame.left, to: frame.right };
        let y = Axis { scale: Scale::log(values), from: frame.bottom, to: frame.top };
        (x, y)
    }
}

fn draw_axes(canvas: &mut Canvas, frame: Frame, x: &Axis, y: &Axis) {
    for (value, name) in y.scale.named() {
        canvas.grid((frame.left, y.at(value)), (frame.right, y.at(value)));
        canvas.write((frame.left - 8.0, y.at(value) + 4.0), &name, Side::Left, SMALL);
    }
    for (value, name) in x.scale.named() {
        canvas.grid((x.at(value), frame.top), (x.at(value), frame.bottom));
        canvas.write((x.at(value), frame.bottom + 18.0), &name, Side::Middle, SMALL);
    }
    canvas.axis((frame.left, frame.bottom), (frame.right, frame.bottom));
    canvas.axis((frame.left, frame.top), (frame.left, frame.bottom));
    let middle = ((frame.left + frame.right) / 2.0, (frame.top + frame.bottom) / 2.0);
    let below = "percentile of deliveries (each nine has the same width)";
    canvas.write((middle.0, frame.bottom + 44.0), below, Side::Middle, NORMAL);
    canvas.write((24.0, middle.1), "latency, ms (log scale)", Side::Upward, NORMAL);
}

/// Moves names apart that would lie on each other, in the order of where their lines end.
fn apart(mut ends: Vec<(usize, f64)>, frame: Frame) -> Vec<(usize, f64)> {
    ends.sort_by(|one, other| one.1.total_cmp(&other.1));
    let mut least = frame.top;
    for (_, at) in &mut ends {
        *at = at.max(least);
        least = *at + NAME_HEIGHT;
    }
    // Where that ran over the lower end, back upward.
    let mut most = frame.bottom;
    for (_, at) in ends.iter_mut().rev() {
        *at = at.min(most);
        most = *at - NAME_HEIGHT;
    }
    ends
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_series_and_axis_is_named() {
        let line = |name: &str, factor: f64| Line {
            name: name.to_owned(),
            count: 100_000,
            points: vec![
                (0.0, 0.2 * factor),
                (0.5, 0.4 * factor),
                (0.99, factor),
                (1.0, 5.0 * factor),
            ],
        };
        let curve = Curve {
            title: "Latency".to_owned(),
            below: "rooms of 100".to_owned(),
            lines: vec![line("veza", 1.0), line("nchan", 9.0)],
            p99_bound_ms: Some(10.0),
        };
        let svg = curve.svg();
        for text in ["veza", "nchan", "99.99%", "latency, ms", "P99 below 10 ms", "percentile"] {
            assert!(svg.contains(text), "{text}: {svg}");
        }
        assert_eq!(svg.matches("<polyline").count(), 2);
    }

    #[test]
    fn names_at_the_edge_keep_their_distance() {
        let frame = Frame { left: 0.0, top: 50.0, right: 100.0, bottom: 200.0 };
        let named = apart(vec![(0, 198.0), (1, 199.0), (2, 60.0), (3, 200.0)], frame);
        assert_eq!(named.iter().map(|(series, _)| *series).collect::<Vec<_>>(), [2, 0, 1, 3]);
        assert!(named.windows(2).all(|two| two[1].1 - two[0].1 >= NAME_HEIGHT), "{named:?}");
        assert!(named.iter().all(|(_, at)| (50.0..=200.0).contains(at)), "{named:?}");
    }
}
