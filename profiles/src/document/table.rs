//! A table of a document, asked for its keys.

use std::cell::RefCell;
use std::ops::Range;

use toml::de::DeTable;

use super::{Diagnostic, Document, Item, Place, nearest};

/// A table that remembers which keys it was asked for.
#[derive(Clone, Debug)]
pub struct Table<'d> {
    document: &'d Document<'d>,
    table: &'d DeTable<'d>,
    span: Range<usize>,
    asked: RefCell<Vec<String>>,
    /// Keys that have been complained of, or need not be read.
    settled: RefCell<Vec<String>>,
}

impl<'d> Table<'d> {
    pub(super) fn new(document: &'d Document<'d>, table: &'d DeTable<'d>, span: Range<usize>) -> Self {
        Self {
            document,
            table,
            span,
            asked: RefCell::default(),
            settled: RefCell::default(),
        }
    }

    /// Returns where the table begins.
    pub fn place(&self) -> Place {
        self.document.place(self.span.start)
    }

    /// Returns the value under a key, if it is there; the key counts as known from here on.
    pub fn get(&self, key: &str) -> Option<Item<'d>> {
        self.asked.borrow_mut().push(key.to_owned());
        let (key, value) = self.table.get_key_value(key)?;
        Some(Item::new(self.document, key.get_ref(), value))
    }

    /// Returns the value under a key; that it is missing is an error.
    pub fn require(&self, key: &str) -> Option<Item<'d>> {
        let item = self.get(key);
        if item.is_none() {
            let message = format!("{key} is missing");
            self.error::<()>(message);
        }
        item
    }

    /// Returns every entry in the order of the text; all keys count as known from here on.
    pub fn entries(&self) -> Vec<Item<'d>> {
        let mut entries: Vec<_> = self.table.iter().collect();
        entries.sort_by_key(|(key, _)| key.span().start);
        self.asked
            .borrow_mut()
            .extend(entries.iter().map(|(key, _)| key.get_ref().to_string()));
        entries
            .into_iter()
            .map(|(key, value)| Item::new(self.document, key.get_ref(), value))
            .collect()
    }

    /// Returns where a key stands, if it is there.
    pub fn key_place(&self, key: &str) -> Option<Place> {
        let (key, _) = self.table.get_key_value(key)?;
        Some(self.document.place(key.span().start))
    }

    /// Reports an error if a key is there, with what to write in its place: for words of other languages, or of older
    /// versions of this one.
    pub fn refuse(&self, key: &str, message: &str, help: &str) {
        if let Some(place) = self.key_place(key) {
            self.settled.borrow_mut().push(key.to_owned());
            self.document
                .report(Diagnostic::error(place, message).with_help(help));
        }
    }

    /// Takes keys as known without reading them, where a former mistake hides what they mean.
    pub fn accept(&self, keys: &[&str]) {
        self.asked
            .borrow_mut()
            .extend(keys.iter().map(|key| (*key).to_owned()));
    }

    /// Reports an error at the beginning of the table, and returns none.
    pub fn error<T>(&self, message: impl Into<String>) -> Option<T> {
        self.document.report(Diagnostic::error(self.place(), message));
        None
    }

    /// Reports an error at the beginning of the table with what to do about it, and returns none.
    pub fn error_with_help<T>(&self, message: impl Into<String>, help: impl Into<String>) -> Option<T> {
        self.document
            .report(Diagnostic::error(self.place(), message).with_help(help));
        None
    }

    /// Reports every key that nobody has asked for, with the nearest one that somebody has.
    pub fn finish(&self) {
        let (asked, settled) = (self.asked.borrow(), self.settled.borrow());
        for key in self.table.keys() {
            let name = key.get_ref().as_ref();
            if asked.iter().chain(settled.iter()).any(|known| known == name) {
                continue;
            }
            if self.document.is_full() {
                return;
            }
            let help = match nearest(name, asked.iter().map(String::as_str)) {
                Some(near) => Some(format!("did you mean {near:?}?")),
                None if asked.is_empty() => None,
                None => Some(format!("known here: {}", known_keys(&asked))),
            };
            self.document
                .report_at(&key.span(), format!("unknown key {name:?}"), help);
        }
    }
}

fn known_keys(asked: &[String]) -> String {
    let mut keys: Vec<&str> = asked.iter().map(String::as_str).collect();
    keys.sort_unstable();
    keys.dedup();
    keys.join(", ")
}
