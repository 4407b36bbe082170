//! `loadtest verdict`: what the files of a folder say of the targets.

#![expect(clippy::print_stdout, reason = "the table is what it is for")]

use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, Result};

use crate::load::verdict::Table;

#[derive(Debug, clap::Args)]
pub(super) struct Verdict {
    /// Where runs left their reports, as --report wrote them.
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    /// A file for the table as Markdown.
    #[arg(long, value_name = "FILE")]
    markdown: Option<PathBuf>,
}

impl Verdict {
    /// Whether nothing that was measured fails.
    pub(super) fn run(&self) -> Result<bool> {
        let table = Table::of(&self.folder)?;
        println!("{table}");
        if let Some(file) = &self.markdown {
            fs::write(file, table.to_markdown()).with_context(|| file.display().to_string())?;
        }
        Ok(table.is_good())
    }
}
