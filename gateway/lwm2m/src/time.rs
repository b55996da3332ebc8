//! Wall time as LwM2M speaks of it: seconds since 1970, kept here in whole milliseconds.

use std::fmt;

/// A point in wall time: milliseconds since 1970-01-01T00:00:00Z, leap seconds not counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct Timestamp(i64);

impl Timestamp {
    /// Returns the point `unix_ms` milliseconds after 1970.
    pub const fn from_unix_ms(unix_ms: i64) -> Self {
        Self(unix_ms)
    }

    /// Returns the milliseconds since 1970.
    pub const fn unix_ms(self) -> i64 {
        self.0
    }

    /// Returns the whole seconds since 1970, rounded down: what resource 5518 carries.
    pub const fn unix_secs(self) -> i64 {
        self.0.div_euclid(1000)
    }

    /// Returns the fraction of the second, 0 to 999 ms: what resource 6050 carries, there in seconds.
    pub const fn subsec_ms(self) -> i64 {
        self.0.rem_euclid(1000)
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:03}", self.unix_secs(), self.subsec_ms())
    }
}
