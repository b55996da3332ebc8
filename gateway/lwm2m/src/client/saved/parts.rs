//! [`Saved`] in parts of a bounded size, and back.

use minicbor::Encode;

use super::{Content, Counters, Saved, SavedEntry};
use crate::client::limits;

/// The version that is written, and the only one that is read.
const VERSION: u8 = 1;
/// What a part needs beside its list: the map, the version, the head of the list.
const OVERHEAD_BYTES: usize = 16;

/// No count of notifications gets there; so sums with it do not overflow.
const LARGEST_SEQUENCE: u64 = 1 << 60;

/// Why bytes are not what a client saved.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SavedError {
    /// They cannot be read.
    #[error("the saved state of a client cannot be read: {0}")]
    Malformed(String),
    /// They come from a later version.
    #[error("the saved state of a client has version {0}, {VERSION} is the latest one known")]
    Version(u8),
    /// There is more of it than a client has.
    #[error("the saved state of a client has too many {0}")]
    TooMany(&'static str),
    /// The counters are missing or cannot be right.
    #[error("the saved state of a client has no valid counters")]
    Counters,
}

impl Saved {
    /// Returns the bytes, in parts of at most [`limits::SAVED_PART_BYTES`] with names that stay the same. They
    /// belong together: a part of an earlier save that is not among them is to be removed.
    pub fn parts(&self) -> Vec<(String, Vec<u8>)> {
        let content = &self.content;
        let counters = Content {
            counters: content.counters,
            ..Content::default()
        };
        let registration = Content {
            account: content.account,
            registration: content.registration.clone(),
            server: content.server.clone(),
            ..Content::default()
        };
        let mut parts = vec![
            ("counters".to_owned(), bytes(counters)),
            ("registration".to_owned(), bytes(registration)),
        ];
        let observations = chunks(content.observations.as_deref().unwrap_or_default());
        parts.extend(observations.into_iter().enumerate().map(|(number, some)| {
            let part = Content {
                observations: Some(some),
                ..Content::default()
            };
            (format!("observations.{number}"), bytes(part))
        }));
        let attributes = chunks(content.attributes.as_deref().unwrap_or_default());
        parts.extend(attributes.into_iter().enumerate().map(|(number, some)| {
            let part = Content {
                attributes: Some(some),
                ..Content::default()
            };
            (format!("attributes.{number}"), bytes(part))
        }));
        parts
    }

    /// Reads the parts, in any order.
    pub fn from_parts<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> Result<Self, SavedError> {
        let mut whole = Content::default();
        for (number, bytes) in parts.into_iter().enumerate() {
            if number >= limits::SAVED_PARTS || bytes.len() > limits::SAVED_PART_BYTES {
                return Err(SavedError::TooMany("parts or bytes"));
            }
            whole.merge(read(bytes)?);
        }
        whole.check()?;
        Ok(Self {
            content: whole,
            revision: 0,
        })
    }
}

fn read(bytes: &[u8]) -> Result<Content, SavedError> {
    let part: Content = minicbor::decode(bytes).map_err(|e| SavedError::Malformed(e.to_string()))?;
    match part.version {
        Some(VERSION) => Ok(part),
        Some(other) => Err(SavedError::Version(other)),
        None => Err(SavedError::Malformed("the version is missing".to_owned())),
    }
}

fn bytes(part: Content) -> Vec<u8> {
    let version = Some(VERSION);
    encoded(&Content { version, ..part })
}

fn encoded(value: &impl Encode<()>) -> Vec<u8> {
    minicbor::to_vec(value).expect("a Vec takes all that is written to it")
}

impl SavedEntry {
    /// Returns how many bytes it takes.
    pub(in crate::client) fn size(&self) -> usize {
        encoded(self).len()
    }
}

impl Counters {
    fn are_possible(&self) -> bool {
        self.ids().is_possible() && self.sequence_end <= LARGEST_SEQUENCE
    }
}

/// Splits a list so that each piece fits into a part.
fn chunks<T: Encode<()> + Clone>(list: &[T]) -> Vec<Vec<T>> {
    let mut chunks: Vec<Vec<T>> = Vec::new();
    let mut room = 0;
    for item in list {
        let size = encoded(item).len();
        if size > room {
            chunks.push(Vec::new());
            room = limits::SAVED_PART_BYTES - OVERHEAD_BYTES;
        }
        room = room.saturating_sub(size);
        if let Some(last) = chunks.last_mut() {
            last.push(item.clone());
        }
    }
    chunks
}

impl Content {
    fn merge(&mut self, part: Self) {
        self.counters = part.counters.or(self.counters);
        self.account = part.account.or(self.account);
        self.registration = part.registration.or(self.registration.take());
        self.server = part.server.or(self.server.take());
        let observations = self.observations.get_or_insert_default();
        observations.extend(part.observations.into_iter().flatten());
        let attributes = self.attributes.get_or_insert_default();
        attributes.extend(part.attributes.into_iter().flatten());
    }

    fn check(&self) -> Result<(), SavedError> {
        let counters = self.counters.filter(|c| c.are_possible());
        if counters.is_none() {
            return Err(SavedError::Counters);
        }
        if self
            .observations
            .as_ref()
            .is_some_and(|o| o.len() > limits::OBSERVATIONS)
        {
            return Err(SavedError::TooMany("observations"));
        }
        if self
            .attributes
            .as_ref()
            .is_some_and(|a| a.len() > limits::ATTRIBUTED_PATHS)
        {
            return Err(SavedError::TooMany("attributes"));
        }
        Ok(())
    }
}
