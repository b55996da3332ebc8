//! Why a saved value says nothing.

/// A saved value that cannot be read: it is treated as if it had never been saved.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Damage(pub(crate) String);

impl From<minicbor::decode::Error> for Damage {
    fn from(error: minicbor::decode::Error) -> Self {
        Self(error.to_string())
    }
}
