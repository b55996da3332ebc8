//! What outlives a restart beside the readings owed: small values under names, kept by whoever owns the disk.
//!
//! The gateway is given all of it at its start ([`Saved`]) and says what changes ([`SaveRequest`]). What the values mean
//! is the gateway's own business; whoever keeps them sees names and bytes.

mod damage;
mod names;
mod numbers;
mod restored;
pub(crate) mod values;

use std::collections::BTreeMap;

pub(crate) use damage::Damage;
pub(crate) use names::{Name, Owner};
pub(crate) use numbers::{Commands, Encoded, EndpointName, Stopped};
pub(crate) use restored::Restored;
pub(crate) use values::KeptValue;

use crate::buffer;

/// The largest value, in bytes: what a store may keep in one place (see the state store of the gateway).
pub const MAX_VALUE_BYTES: usize = 4096;

/// What was kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Saved {
    /// The values by their names.
    pub values: BTreeMap<String, Vec<u8>>,
    /// Whether the values come from a copy that may be minutes old: what must not be used twice is to be counted on
    /// from far ahead.
    pub may_be_old: bool,
}

/// What a gateway is given of its last run.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Kept {
    /// What it had saved.
    pub saved: Saved,
    /// The readings that it owed.
    pub contents: buffer::Contents,
}

/// A value that changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Its name.
    pub name: String,
    /// Its value, of at most [`MAX_VALUE_BYTES`]; none removes it.
    pub value: Option<Vec<u8>>,
}

/// Changes that are to be made durable together, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SaveRequest {
    /// Its name, for the answer.
    pub id: u64,
    /// The changes.
    pub changes: Vec<Change>,
    /// Whether with them everything is saved that must not be used twice: [`Saved::may_be_old`] ends with that.
    pub is_current: bool,
}
