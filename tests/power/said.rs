//! What a writer says of its buffer and its state: what it asks for, and what it was promised.

use serde::{Deserialize, Serialize};

/// One line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Said {
    /// The buffer and the state are open.
    Opened { boot: u32, next_seq: u64 },
    /// A commit goes to the buffer: numbers by streams, and what is owed no more by debts.
    Asks {
        id: u64,
        next_seq: u64,
        stores: Vec<(usize, Vec<u64>)>,
        settles: Vec<(usize, Vec<(u64, u64)>)>,
    },
    /// The commit is durable.
    Has { id: u64 },
    /// The commit is not, or at least nobody relies on it.
    HasNot { id: u64, reason: String },
    /// Readings had to go.
    Gap {
        debt: usize,
        first: u64,
        last: u64,
        reason: String,
    },
    /// Values go to the state.
    Saves { id: u64, names: Vec<String> },
    /// They are durable.
    Saved { id: u64 },
    /// They are not.
    SavedNot { id: u64, reason: String },
}

impl Said {
    /// Reads a line; none where it is something else, such as the words of a panic.
    pub(crate) fn read(line: &str) -> Option<Self> {
        serde_json::from_str(line).ok()
    }

    pub(crate) fn to_line(&self) -> String {
        serde_json::to_string(self).expect("it is made of numbers and text")
    }
}
