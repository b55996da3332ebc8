//! Reading TOML as a person wrote it: typed access with line and column, and every mistake reported at once.
//!
//! A [`Document`] is parsed once; [`Table`] and [`Item`] are views into it that can be asked for values. What is
//! wrong is noted in the document and reading goes on, so that a person sees all mistakes in one run. A key that
//! nobody asked for is a mistake too, reported by [`Table::finish`] with the nearest key that was asked for.
//!
//! ```
//! use ucifi_profiles::document::Document;
//!
//! let text = "name = \"cab-17\"\nport = 70000\nbuad = 9600\n";
//! let document = Document::parse("gateway.toml", text).unwrap();
//! let root = document.root();
//! let name = root.require("name").and_then(|item| item.string());
//! let port = root.get("port").and_then(|item| item.integer(1..=65_535));
//! let baud = root.get("baud").and_then(|item| item.integer(1200..=115_200)).unwrap_or(9600);
//! root.finish();
//! assert_eq!((name, port, baud), (Some("cab-17"), None, 9600));
//! let mistakes: Vec<String> = document.finish().unwrap_err().iter().map(|d| d.to_string()).collect();
//! assert_eq!(
//!     mistakes,
//!     [
//!         "gateway.toml:2:8: error: port is 70000, which is not between 1 and 65535",
//!         "gateway.toml:3:1: error: unknown key \"buad\"\n  help: did you mean \"baud\"?",
//!     ]
//! );
//! ```
//!
//! The module knows TOML; it knows nothing of profiles or of the gateway's configuration, opens no file, and reads
//! any bytes in bounded memory and stack.

mod diagnostic;
mod item;
mod nesting;
mod table;

pub use diagnostic::{Diagnostic, Place, Severity};
pub use item::Item;
pub use table::Table;

use std::cell::RefCell;
use std::ops::Range;
use std::sync::Arc;

use toml::Spanned;
use toml::de::DeTable;

use crate::limits::{MAX_DIAGNOSTICS, MAX_DOCUMENT_BYTES, MAX_DOCUMENT_NESTING};

/// A TOML text that is being read, with the mistakes found so far.
#[derive(Debug)]
pub struct Document<'t> {
    file: Arc<str>,
    text: &'t str,
    /// Where each line begins.
    lines: Vec<usize>,
    root: Spanned<DeTable<'t>>,
    diagnostics: RefCell<Vec<Diagnostic>>,
}

impl<'t> Document<'t> {
    /// Parses a text; `file` is the name that diagnostics show.
    ///
    /// # Errors
    /// Every syntax error, duplicate key included; or that the text is too long or too deeply nested.
    pub fn parse(file: &str, text: &'t str) -> Result<Self, Vec<Diagnostic>> {
        let file: Arc<str> = file.into();
        let lines = line_starts(text);
        let refuse = |offset: usize, message: String| {
            vec![Diagnostic::error(Place::of(&file, text, &lines, offset), message)]
        };
        if text.len() > MAX_DOCUMENT_BYTES {
            let message = format!("{} bytes are too many: at most {MAX_DOCUMENT_BYTES}", text.len());
            return Err(refuse(0, message));
        }
        if let Some(offset) = nesting::deeper_than(text, MAX_DOCUMENT_NESTING) {
            let message = format!("nested more than {MAX_DOCUMENT_NESTING} levels deep");
            return Err(refuse(offset, message));
        }
        let (root, errors) = DeTable::parse_recoverable(text);
        if !errors.is_empty() {
            let shown = errors.iter().take(MAX_DIAGNOSTICS).map(|error| {
                let offset = error.span().map_or(text.len(), |span| span.start);
                Diagnostic::error(Place::of(&file, text, &lines, offset), error.message())
            });
            return Err(shown.collect());
        }
        Ok(Self {
            file,
            text,
            lines,
            root,
            diagnostics: RefCell::default(),
        })
    }

    /// Returns the table that holds everything.
    pub fn root(&self) -> Table<'_> {
        Table::new(self, self.root.get_ref(), self.root.span())
    }

    /// Returns the place of a byte of the text.
    pub fn place(&self, offset: usize) -> Place {
        Place::of(&self.file, self.text, &self.lines, offset)
    }

    /// Notes a diagnostic, unless the same one has been noted already.
    pub fn report(&self, diagnostic: Diagnostic) {
        let mut all = self.diagnostics.borrow_mut();
        if all.len() < MAX_DIAGNOSTICS && !all.contains(&diagnostic) {
            all.push(diagnostic);
        }
    }

    /// Notes a diagnostic, unless its place has one already, for mistakes that repeat themselves from one line.
    pub fn report_once(&self, diagnostic: Diagnostic) {
        let known = |known: &Diagnostic| known.place() == diagnostic.place();
        if !self.diagnostics.borrow().iter().any(known) {
            self.report(diagnostic);
        }
    }

    /// Returns how many diagnostics have been noted.
    pub fn noted(&self) -> usize {
        self.diagnostics.borrow().len()
    }

    /// Says whether no more diagnostics are noted, so that looking for more is a waste.
    pub fn is_full(&self) -> bool {
        self.noted() >= MAX_DIAGNOSTICS
    }

    /// Says whether an error has been noted.
    pub fn has_errors(&self) -> bool {
        self.diagnostics.borrow().iter().any(Diagnostic::is_error)
    }

    /// Ends the reading.
    ///
    /// # Errors
    /// Everything that was noted, in the order of the text, if an error is among it; otherwise the warnings are
    /// returned.
    pub fn finish(self) -> Result<Vec<Diagnostic>, Vec<Diagnostic>> {
        let mut all = self.diagnostics.into_inner();
        all.sort_by_key(|d| (d.line, d.column));
        if all.iter().any(Diagnostic::is_error) {
            Err(all)
        } else {
            Ok(all)
        }
    }

    fn report_at(&self, span: &Range<usize>, message: String, help: Option<String>) {
        self.report(Diagnostic {
            help,
            ..Diagnostic::error(self.place(span.start), message)
        });
    }
}

fn line_starts(text: &str) -> Vec<usize> {
    let after_each = text
        .bytes()
        .enumerate()
        .filter(|(_, b)| *b == b'\n')
        .map(|(at, _)| at + 1);
    std::iter::once(0).chain(after_each).collect()
}

/// Returns the candidate that a person most likely meant by `word`.
pub fn nearest<'c>(word: &str, candidates: impl IntoIterator<Item = &'c str>) -> Option<&'c str> {
    let word = word.to_lowercase();
    candidates
        .into_iter()
        .map(|candidate| {
            let score = strsim::jaro_winkler(&word, &candidate.to_lowercase());
            (score, candidate)
        })
        .filter(|(score, _)| *score >= 0.75)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests;
