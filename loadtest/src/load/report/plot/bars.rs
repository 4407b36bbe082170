//! One figure for each server: bars that begin at zero, with their values written at their ends.

use super::axis::{Axis, Scale, measured};
use super::canvas::{Canvas, Frame, HEAD, NORMAL, SMALL, Side, width};

const WIDTH: f64 = 960.0;
const BAR_HEIGHT: f64 = 26.0;
const BAR_GAP: f64 = 12.0;
const GROUP_GAP: f64 = 44.0;

/// Figures of several servers, in groups with an axis each.
#[derive(Debug, Clone, Default)]
pub struct Bars {
    /// What it is about.
    pub title: String,
    /// The circumstances, in two lines at most.
    pub below: String,
    /// Each with its own scale: a name with its unit, and the bars.
    pub groups: Vec<(String, Vec<Bar>)>,
}

/// The figure of one server.
#[derive(Debug, Clone, Default)]
pub struct Bar {
    /// Whose it is.
    pub name: String,
    /// In the middle of all turns; `None` is drawn as a blank.
    pub value: Option<f64>,
    /// The least and the greatest of all turns.
    pub range: Option<(f64, f64)>,
}

impl Bars {
    /// The plot.
    #[must_use]
    pub fn svg(&self) -> String {
        let height = |bars: &[Bar]| bars.len() as f64 * (BAR_HEIGHT + BAR_GAP) + BAR_GAP;
        let body: f64 = self.groups.iter().map(|(_, bars)| height(bars) + GROUP_GAP + 30.0).sum();
        let mut canvas = Canvas::new(WIDTH, HEAD + body + 10.0, &self.title, &self.below);
        let all = || self.groups.iter().flat_map(|(_, bars)| bars);
        let left = all().map(|bar| width(&bar.name, NORMAL)).fold(60.0, f64::max) + 32.0;
        let mut top = HEAD;
        for (title, bars) in &self.groups {
            let frame = Frame {
                left,
                top: top + 26.0,
                right: WIDTH - 110.0,
                bottom: top + 26.0 + height(bars),
            };
            group(&mut canvas, frame, title, bars);
            top = frame.bottom + GROUP_GAP + 4.0;
        }
        canvas.finish()
    }
}

fn group(canvas: &mut Canvas, frame: Frame, title: &str, bars: &[Bar]) {
    canvas.write((frame.left, frame.top - 8.0), title, Side::Right, NORMAL);
    let tops = bars.iter().filter_map(|bar| Some(bar.range.map_or(bar.value?, |range| range.1)));
    let x = Axis { scale: Scale::linear(tops), from: frame.left, to: frame.right };
    for (value, name) in x.scale.named() {
        canvas.grid((x.at(value), frame.top), (x.at(value), frame.bottom));
        canvas.write((x.at(value), frame.bottom + 17.0), &name, Side::Middle, SMALL);
    }
    canvas.axis((frame.left, frame.top), (frame.left, frame.bottom));
    for (number, bar) in bars.iter().enumerate() {
        let top = frame.top + BAR_GAP + number as f64 * (BAR_HEIGHT + BAR_GAP);
        let middle = top + BAR_HEIGHT / 2.0;
        canvas.write((frame.left - 10.0, middle + 4.0), &bar.name, Side::Left, NORMAL);
        let Some(value) = bar.value else {
            canvas.write((frame.left + 8.0, middle + 4.0), "not measured", Side::Right, SMALL);
            continue;
        };
        let right = x.at(value);
        canvas.bar(Frame { left: frame.left, top, right, bottom: top + BAR_HEIGHT }, number);
        let mut end = right;
        if let Some((least, greatest)) = bar.range {
            let (from, to) = (x.at(least), x.at(greatest));
            canvas.axis((from, middle), (to, middle));
            canvas.axis((from, middle - 5.0), (from, middle + 5.0));
            canvas.axis((to, middle - 5.0), (to, middle + 5.0));
            end = end.max(to);
        }
        canvas.write((end + 8.0, middle + 4.0), &measured(value), Side::Right, NORMAL);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_was_not_there_has_a_blank_and_no_bar() {
        let bar = |name: &str, value| Bar { name: name.to_owned(), value, range: None };
        let bars = Bars {
            title: "CPU".to_owned(),
            below: String::new(),
            groups: vec![(
                "us per delivery".to_owned(),
                vec![bar("veza", Some(4.8)), bar("nchan", None)],
            )],
        };
        let svg = bars.svg();
        assert!(
            svg.contains(">4.80<")
                && svg.contains("not measured")
                && svg.contains("us per delivery")
        );
        // The background and one bar.
        assert_eq!(svg.matches("<rect").count(), 2, "{svg}");
    }
}
