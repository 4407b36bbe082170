//! Figures over the time of a run: panels below each other with one axis of time.

use super::axis::{Axis, Scale};
use super::canvas::{Canvas, Frame, HEAD, NORMAL, SMALL, Side};

const WIDTH: f64 = 960.0;
const PANEL_HEIGHT: f64 = 170.0;
const PANEL_GAP: f64 = 38.0;

/// Several figures over the same seconds.
#[derive(Debug, Clone, Default)]
pub struct Course {
    /// What it is about.
    pub title: String,
    /// The circumstances, in two lines at most.
    pub below: String,
    /// One below the other.
    pub panels: Vec<Panel>,
}

/// One figure over time.
#[derive(Debug, Clone, Default)]
pub struct Panel {
    /// Its name with its unit.
    pub name: String,
    /// Seconds since the start, and the value.
    pub points: Vec<(f64, f64)>,
}

impl Course {
    /// The plot.
    #[must_use]
    pub fn svg(&self) -> String {
        let body = self.panels.len() as f64 * (PANEL_HEIGHT + PANEL_GAP);
        let mut canvas = Canvas::new(WIDTH, HEAD + body + 40.0, &self.title, &self.below);
        let seconds = self.panels.iter().flat_map(|panel| &panel.points).map(|point| point.0);
        let (left, right) = (76.0, WIDTH - 40.0);
        let x = Axis { scale: Scale::linear(seconds), from: left, to: right };
        let mut top = HEAD + PANEL_GAP / 2.0;
        for (series, panel) in self.panels.iter().enumerate() {
            let frame = Frame { left, top, right, bottom: top + PANEL_HEIGHT };
            draw(&mut canvas, frame, &x, panel, series);
            top = frame.bottom + PANEL_GAP;
        }
        // The time is named once, below all panels.
        for (value, name) in x.scale.named() {
            let at = (x.at(value), top - PANEL_GAP + 17.0);
            canvas.write(at, &name, Side::Middle, SMALL);
        }
        let below = (top - PANEL_GAP + 40.0).max(100.0);
        canvas.write(
            ((left + right) / 2.0, below),
            "seconds since the start",
            Side::Middle,
            NORMAL,
        );
        canvas.finish()
    }
}

fn draw(canvas: &mut Canvas, frame: Frame, x: &Axis, panel: &Panel, series: usize) {
    let values = panel.points.iter().map(|point| point.1);
    let y = Axis { scale: Scale::linear(values), from: frame.bottom, to: frame.top };
    canvas.write_in_colour((frame.left, frame.top - 8.0), &panel.name, Side::Right, series);
    for (value, name) in y.scale.named() {
        canvas.grid((frame.left, y.at(value)), (frame.right, y.at(value)));
        canvas.write((frame.left - 8.0, y.at(value) + 4.0), &name, Side::Left, SMALL);
    }
    for (value, _) in x.scale.named() {
        canvas.grid((x.at(value), frame.top), (x.at(value), frame.bottom));
    }
    canvas.axis((frame.left, frame.bottom), (frame.right, frame.bottom));
    canvas.axis((frame.left, frame.top), (frame.left, frame.bottom));
    let points: Vec<_> = panel.points.iter().map(|(at, value)| (x.at(*at), y.at(*value))).collect();
    canvas.line(&points, series);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_panel_has_its_name_and_its_line() {
        let panel = |name: &str| Panel {
            name: name.to_owned(),
            points: (0..60).map(|second| (f64::from(second), f64::from(second % 7))).collect(),
        };
        let course = Course {
            title: "Soak".to_owned(),
            below: String::new(),
            panels: vec![panel("deliveries/s"), panel("P99, ms")],
        };
        let svg = course.svg();
        assert_eq!(svg.matches("<polyline").count(), 2);
        for text in ["deliveries/s", "P99, ms", "seconds since the start"] {
            assert!(svg.contains(text), "{text}");
        }
    }
}
