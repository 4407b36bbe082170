//! The columns of the comparison: what everyone is asked to do, alike.

use serde::Serialize;

use crate::load::plan::Load;

/// Members of a small room.
const SMALL: usize = 100;

/// Small rooms: a thousand connections, which fit into every cache that matters.
const SMALL_ROOMS: usize = 10;

/// Members of the large room.
const LARGE: usize = 10_000;

/// Messages under way where nothing gathers: one is written while the next is read.
const CALM: u32 = 2;

/// Messages under way in a room where they gather, and what the floor writes with a call then.
const PRESSED: u32 = 16;

/// One column.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Cell {
    /// Rooms of 100, two messages under way over all of them: each is written alone.
    SmallCalm,
    /// Rooms of 100, sixteen messages under way in each: they can be written together.
    SmallPressed,
    /// One room of 10,000, two messages under way.
    LargeCalm,
    /// One room of 10,000, sixteen messages under way.
    LargePressed,
    /// Rooms of 100, 50,000 deliveries a second come what may.
    #[serde(rename = "open_50k")]
    #[value(name = "open-50k")]
    Open50k,
    /// Rooms of 100, 100,000 deliveries a second come what may.
    #[serde(rename = "open_100k")]
    #[value(name = "open-100k")]
    Open100k,
}

/// What a column asks for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Shape {
    /// Rooms.
    pub rooms: usize,
    /// Connections in each.
    pub members: usize,
    /// What is published.
    pub load: Load,
    /// Frames that the floor writes with a call.
    pub frames: u32,
}

impl Cell {
    /// All of them, in the order of the table.
    pub const ALL: [Self; 6] = [
        Self::SmallCalm,
        Self::SmallPressed,
        Self::LargeCalm,
        Self::LargePressed,
        Self::Open50k,
        Self::Open100k,
    ];

    /// The head of its column.
    #[must_use]
    pub const fn title(self) -> &'static str {
        match self {
            Self::SmallCalm => "rooms of 100, unbatched",
            Self::SmallPressed => "rooms of 100, batched",
            Self::LargeCalm => "room of 10,000, w2",
            Self::LargePressed => "room of 10,000, w16",
            Self::Open50k => "50k deliveries/s",
            Self::Open100k => "100k deliveries/s",
        }
    }

    /// What it asks for.
    #[must_use]
    pub fn shape(self) -> Shape {
        let small = |load, frames| Shape { rooms: SMALL_ROOMS, members: SMALL, load, frames };
        let large = |load, frames| Shape { rooms: 1, members: LARGE, load, frames };
        match self {
            Self::SmallCalm => small(Load::Turns(CALM), 1),
            Self::SmallPressed => small(Load::Window(PRESSED), PRESSED),
            Self::LargeCalm => large(Load::Window(CALM), 1),
            Self::LargePressed => large(Load::Window(PRESSED), PRESSED),
            Self::Open50k => small(Load::Rate(50_000.0 / SMALL as f64), 1),
            Self::Open100k => small(Load::Rate(100_000.0 / SMALL as f64), 1),
        }
    }

    /// Whether it asks how late messages are, rather than how many there can be.
    #[must_use]
    pub const fn is_open(self) -> bool {
        matches!(self, Self::Open50k | Self::Open100k)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_column_is_what_its_title_says() {
        for cell in Cell::ALL {
            let shape = cell.shape();
            let members = if shape.rooms == 1 { "10,000" } else { "100" };
            let asked = match shape.load {
                Load::Rate(rate) => {
                    let thousands = rate * shape.members as f64 / 1_000.0;
                    format!("{thousands}k deliveries/s")
                }
                Load::Window(window) if shape.rooms == 1 => format!("room of {members}, w{window}"),
                Load::Window(_) => format!("rooms of {members}, batched"),
                Load::Turns(_) => format!("rooms of {members}, unbatched"),
                Load::Nothing => String::new(),
            };
            assert_eq!(cell.title(), asked);
            assert_eq!(cell.is_open(), matches!(shape.load, Load::Rate(_)));
        }
    }
}
