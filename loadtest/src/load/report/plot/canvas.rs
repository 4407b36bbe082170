//! Shapes and text, written as SVG.

use std::fmt::Write as _;

/// Told apart by people who see no red or no green, and in grey (Okabe and Ito, 2008).
const COLOURS: [&str; 7] =
    ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#000000"];

/// The mark and the dashes of each series.
const MARKS: [Mark; 4] = [Mark::Disc, Mark::Square, Mark::Diamond, Mark::Ring];
const DASHES: [&str; 4] = ["", "7 4", "2 3", "10 3 2 3"];

const FONT: &str = "DejaVu Sans, Verdana, Helvetica, Arial, sans-serif";

/// Of text, in units of the plot.
pub(super) const SMALL: f64 = 12.0;
pub(super) const NORMAL: f64 = 13.0;
pub(super) const LARGE: f64 = 17.0;

/// Where the title and two lines of circumstances end.
pub(super) const HEAD: f64 = 86.0;

/// How wide a character is, at most, as a part of its height: enough to keep text apart.
const CHARACTER_WIDTH: f64 = 0.62;

/// Which way text runs from its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Right,
    Middle,
    Left,
    /// Around the middle, read from below.
    Upward,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mark {
    Disc,
    Square,
    Diamond,
    Ring,
}

/// A place.
pub(super) type Point = (f64, f64);

/// The part of the canvas that has the figures in it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Frame {
    pub(super) left: f64,
    pub(super) top: f64,
    pub(super) right: f64,
    pub(super) bottom: f64,
}

/// What is drawn so far.
#[derive(Debug)]
pub(super) struct Canvas {
    text: String,
}

impl Canvas {
    /// `below` are the circumstances, in two lines at most.
    pub(super) fn new(width: f64, height: f64, title: &str, below: &str) -> Self {
        let text = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" \
             width=\"{width}\" height=\"{height}\" font-family=\"{FONT}\" role=\"img\">\n\
             <title>{}</title>\n<rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n",
            escaped(title)
        );
        let mut canvas = Self { text };
        canvas.styled((24.0, 32.0), title, Side::Right, LARGE, "#111111", " font-weight=\"bold\"");
        for (line, at) in below.lines().zip([50.0, 66.0]) {
            canvas.write((24.0, at), line, Side::Right, SMALL);
        }
        canvas
    }

    /// The whole as text.
    pub(super) fn finish(mut self) -> String {
        self.text.push_str("</svg>\n");
        self.text
    }

    pub(super) fn write(&mut self, at: Point, text: &str, side: Side, size: f64) {
        self.styled(at, text, side, size, "#444444", "");
    }

    pub(super) fn write_in_colour(&mut self, at: Point, text: &str, side: Side, series: usize) {
        self.styled(at, text, side, NORMAL, colour(series), " font-weight=\"bold\"");
    }

    fn styled(&mut self, (x, y): Point, text: &str, side: Side, size: f64, fill: &str, more: &str) {
        let anchor = match side {
            Side::Right => "start",
            Side::Middle | Side::Upward => "middle",
            Side::Left => "end",
        };
        let turned = match side {
            Side::Upward => format!(" transform=\"rotate(-90 {x:.1} {y:.1})\""),
            _ => String::new(),
        };
        self.add(format_args!(
            "<text x=\"{x:.1}\" y=\"{y:.1}\" font-size=\"{size}\" text-anchor=\"{anchor}\" \
             fill=\"{fill}\"{more}{turned}>{}</text>",
            escaped(text)
        ));
    }

    /// A thin line behind the figures.
    pub(super) fn grid(&mut self, from: Point, to: Point) {
        self.stroke(from, to, "#dddddd", "1");
    }

    /// The line of an axis.
    pub(super) fn axis(&mut self, from: Point, to: Point) {
        self.stroke(from, to, "#444444", "1.2");
    }

    /// A bound that figures are held against, named at its end.
    pub(super) fn bound(&mut self, from: Point, to: Point, name: &str) {
        self.stroke(from, to, "#b00020", "1.4\" stroke-dasharray=\"6 4");
        self.styled((to.0 - 4.0, to.1 - 5.0), name, Side::Left, SMALL, "#b00020", "");
    }

    fn stroke(&mut self, (x1, y1): Point, (x2, y2): Point, colour: &str, width: &str) {
        self.add(format_args!(
            "<line x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\" \
             stroke=\"{colour}\" stroke-width=\"{width}\"/>"
        ));
    }

    /// A series as a line through its points.
    pub(super) fn line(&mut self, points: &[Point], series: usize) {
        let mut path = String::new();
        for (x, y) in points {
            // Writing to a string cannot fail.
            let _written = write!(path, "{x:.1},{y:.1} ").is_ok();
        }
        let dashes = DASHES[(series / COLOURS.len()) % DASHES.len()];
        self.add(format_args!(
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{}\" stroke-width=\"2\" \
             stroke-linejoin=\"round\" stroke-dasharray=\"{dashes}\"/>",
            path.trim_end(),
            colour(series)
        ));
    }

    /// A mark of a series.
    pub(super) fn mark(&mut self, (x, y): Point, series: usize) {
        let fill = colour(series);
        let (left, top) = (x - 4.0, y - 4.0);
        match MARKS[series % MARKS.len()] {
            Mark::Disc => {
                self.add(format_args!(
                    "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"4\" fill=\"{fill}\"/>"
                ));
            }
            Mark::Ring => self.add(format_args!(
                "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"4\" fill=\"#ffffff\" stroke=\"{fill}\" \
                 stroke-width=\"2\"/>"
            )),
            Mark::Square => self.add(format_args!(
                "<rect x=\"{left:.1}\" y=\"{top:.1}\" width=\"8\" height=\"8\" fill=\"{fill}\"/>"
            )),
            Mark::Diamond => self.add(format_args!(
                "<rect x=\"{left:.1}\" y=\"{top:.1}\" width=\"8\" height=\"8\" fill=\"{fill}\" \
                 transform=\"rotate(45 {x:.1} {y:.1})\"/>"
            )),
        }
    }

    /// A filled bar.
    pub(super) fn bar(&mut self, frame: Frame, series: usize) {
        let Frame { left, top, right, bottom } = frame;
        self.add(format_args!(
            "<rect x=\"{left:.1}\" y=\"{top:.1}\" width=\"{:.1}\" height=\"{:.1}\" fill=\"{}\"/>",
            right - left,
            (bottom - top).max(0.0),
            colour(series)
        ));
    }

    fn add(&mut self, shape: std::fmt::Arguments<'_>) {
        // Writing to a string cannot fail.
        let _written = writeln!(self.text, "{shape}").is_ok();
    }
}

/// How wide a text is at most.
pub(super) fn width(text: &str, size: f64) -> f64 {
    text.chars().count() as f64 * size * CHARACTER_WIDTH
}

fn colour(series: usize) -> &'static str {
    COLOURS[series % COLOURS.len()]
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_cannot_break_out_of_its_place() {
        let canvas = Canvas::new(100.0, 50.0, "a < b & \"c\"", "</svg><script>");
        let svg = canvas.finish();
        assert!(svg.contains("a &lt; b &amp; &quot;c&quot;"), "{svg}");
        assert!(!svg.contains("<script"), "{svg}");
    }

    #[test]
    fn neighbours_differ_in_colour_and_mark() {
        let drawn = |series| {
            let mut canvas = Canvas { text: String::new() };
            canvas.mark((1.0, 1.0), series);
            canvas.text
        };
        let all: std::collections::BTreeSet<String> = (0..COLOURS.len()).map(drawn).collect();
        assert_eq!(all.len(), COLOURS.len());
    }
}
