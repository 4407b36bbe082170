//! Plots, as SVG: what anyone can open, and what stands in a document as it is.
//!
//! ```text
//! axis      where a value stands, and which values are named
//! canvas    shapes and text
//! curve     latency by percentile, to as many nines as there are messages
//! bars      one figure for each server, side by side
//! course    figures over the time of a run
//! ```
//!
//! Pure: figures in, text out. Every axis is named with its unit, a bar begins at zero, a scale
//! that is logarithmic says so, and series are told apart by their marks as well as by colour.

mod axis;
mod bars;
mod canvas;
mod course;
mod curve;

pub use self::bars::{Bar, Bars};
pub use self::course::{Course, Panel};
pub use self::curve::{Curve, Line};
