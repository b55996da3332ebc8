//! One section of the configuration with its overrides: the same keys, looked up layer by layer.

use std::cell::RefCell;
use std::collections::BTreeSet;

use ucifi_profiles::document::{Item, Place, Table};

/// The options that readers have asked for, as `section.key`.
pub(super) type Options = RefCell<BTreeSet<String>>;

/// Tables of one section, the later ones overriding the earlier ones key by key.
#[derive(Debug)]
pub(super) struct Section<'d> {
    name: &'static str,
    layers: Vec<Table<'d>>,
    options: &'d Options,
}

impl<'d> Section<'d> {
    /// Lays tables over each other; the first is the one that errors about missing keys point at.
    pub(super) fn new(name: &'static str, layers: Vec<Table<'d>>, options: &'d Options) -> Self {
        Self {
            name,
            layers,
            options,
        }
    }

    /// Returns the value of an option from the last layer that has it.
    pub(super) fn get(&self, key: &str) -> Option<Item<'d>> {
        self.options.borrow_mut().insert(format!("{}.{key}", self.name));
        // Every layer is asked, so that none reports the key as unknown.
        let found: Vec<Item<'d>> = self.layers.iter().filter_map(|layer| layer.get(key)).collect();
        found.last().copied()
    }

    /// Returns the value of an option that must be there.
    pub(super) fn require(&self, key: &str) -> Option<Item<'d>> {
        let item = self.get(key);
        if item.is_none()
            && let Some(first) = self.layers.first()
        {
            first.error::<()>(format!("[[{}]] has no {key}", self.name));
        }
        item
    }

    /// Returns an integer option in a range, or its default.
    pub(super) fn integer<T>(&self, key: &str, range: std::ops::RangeInclusive<T>, default: T) -> T
    where
        T: TryFrom<i128> + PartialOrd + std::fmt::Display,
    {
        self.get(key)
            .and_then(|item| item.integer(range))
            .unwrap_or(default)
    }

    /// Returns a true-or-false option, or its default.
    pub(super) fn boolean(&self, key: &str, default: bool) -> bool {
        self.get(key).and_then(|item| item.boolean()).unwrap_or(default)
    }

    /// Returns whether anything may be written, which it may not unless somebody says so.
    pub(super) fn writes(&self) -> bool {
        self.get("writes")
            .and_then(|item| item.one_of(&[("deny", false), ("allow", true)]))
            .unwrap_or(false)
    }

    /// Returns where the section begins.
    pub(super) fn place(&self) -> Option<Place> {
        self.layers.first().map(Table::place)
    }

    /// Reports every key that no reader has asked for.
    pub(super) fn finish(&self) {
        for layer in &self.layers {
            layer.finish();
        }
    }
}

/// Returns a short name made of letters, digits, `-`, `_` and `.`, as it goes into endpoint names and file names.
pub(super) fn name_of(item: Item<'_>) -> Option<std::sync::Arc<str>> {
    let text = item.string()?;
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if (1..=64).contains(&text.len()) && text.chars().all(plain) {
        return Some(text.into());
    }
    item.error_with_help(
        format!("{} cannot be {text:?}", item.key()),
        "1 to 64 letters, digits, dashes, dots and underscores",
    )
}
