//! How far a reading, one measured value, can be trusted.

/// How far a value can be trusted: resources 6042 (indicator) and 6049 (level) in one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Quality {
    /// The device reported a fault or could not be read: 6042 = 1 (surely invalid), 6049 = 0.
    Fault,
    /// Older than twice the expected interval, or from before a restart: 6042 = 2, 6049 = 30.
    Stale,
    /// Derived or estimated: 6042 = 3, 6049 = 60.
    Derived,
    /// Fresh and in range: 6042 = 4, 6049 = 100.
    Good,
}

impl Quality {
    /// Returns the value of resource 6042, Measurement Quality Indicator.
    pub const fn indicator(self) -> i64 {
        match self {
            Self::Fault => 1,
            Self::Stale => 2,
            Self::Derived => 3,
            Self::Good => 4,
        }
    }

    /// Returns the value of resource 6049, Measurement Quality Level, in percent.
    pub const fn level(self) -> i64 {
        match self {
            Self::Fault => 0,
            Self::Stale => 30,
            Self::Derived => 60,
            Self::Good => 100,
        }
    }
}
