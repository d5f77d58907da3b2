//! What templates are made of: patterns, filters and texts with placeholders. All pure.

pub mod field;
pub mod filter;
pub mod text;

use filter::Filter;
use std::fmt;
use text::Text;

/// Most probes that one template makes unless it says otherwise.
pub const PROBES_DEFAULT: usize = 1000;

/// A `[[probe]]` or a `[[node]]` that stands for as many as there are endpoints.
#[derive(Clone)]
pub struct Template {
    /// Its line in the file.
    pub line: usize,
    /// The `[[discovery]]` whose endpoints it takes; it exists.
    pub discovery: String,
    /// Which of them.
    pub(super) filter: Filter,
    /// Most that are made of it.
    pub(super) most: usize,
    /// All that is the same for all of them, in TOML.
    pub(super) written: String,
    /// Keys, those of a table below with a point, and what they hold.
    pub(super) texts: Vec<(&'static str, Text)>,
}

impl fmt::Debug for Template {
    /// All that makes it another template, so not its line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { line: _, discovery, filter, most, written, texts } = self;
        f.debug_struct("Template")
            .field("discovery", discovery)
            .field("filter", filter)
            .field("most", most)
            .field("written", written)
            .field("texts", texts)
            .finish()
    }
}
