//! The exit statuses of the program, in the one place that `--help` quotes.

use std::process::ExitCode;

/// What the program's exit status says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExitStatus {
    /// Everything asked for was done.
    Success,
    /// It was tried and did not work.
    Failed,
    /// The command line makes no sense.
    Usage,
    /// The configuration, a profile or an object file has errors.
    Invalid,
    /// No gateway answers on the control socket.
    NoGateway,
    /// The device, the site or the object definition refused a command.
    Refused,
    /// The device does not answer, or did not answer in time.
    Unreachable,
    /// There is no such device, point, resource, profile or object.
    NotFound,
}

impl ExitStatus {
    /// Every status, by number.
    pub const ALL: [Self; 8] = [
        Self::Success,
        Self::Failed,
        Self::Usage,
        Self::Invalid,
        Self::NoGateway,
        Self::Refused,
        Self::Unreachable,
        Self::NotFound,
    ];

    /// Returns the number that a shell sees.
    pub const fn code(self) -> u8 {
        match self {
            Self::Success => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Invalid => 3,
            Self::NoGateway => 4,
            Self::Refused => 5,
            Self::Unreachable => 6,
            Self::NotFound => 7,
        }
    }

    /// Returns the meaning in words.
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Success => "done",
            Self::Failed => "tried, and it did not work",
            Self::Usage => "the command line makes no sense",
            Self::Invalid => "the configuration, a profile or an object file has errors",
            Self::NoGateway => "no gateway answers on the control socket",
            Self::Refused => "refused by the device, the site or the object definition",
            Self::Unreachable => "the device does not answer, or did not confirm in time",
            Self::NotFound => "no such device, point, resource, profile or object",
        }
    }

    /// Returns the table of all statuses for `--help`.
    pub fn help() -> String {
        let rows = Self::ALL.map(|status| format!("  {}  {}", status.code(), status.meaning()));
        format!("Exit status:\n{}", rows.join("\n"))
    }
}

impl From<ExitStatus> for ExitCode {
    fn from(status: ExitStatus) -> Self {
        Self::from(status.code())
    }
}

/// Why a command ended without success.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// The exit status.
    pub status: ExitStatus,
    /// What to tell the person; empty where everything has been said already.
    pub message: String,
}

impl Failure {
    /// Returns a failure with a message.
    pub fn new(status: ExitStatus, message: impl Into<String>) -> Self {
        Self {
            status,
            message: message.into(),
        }
    }

    /// Returns the failure of something that was tried, with the reason.
    pub fn cannot(what: &str, error: &dyn std::fmt::Display) -> Self {
        Self::new(ExitStatus::Failed, format!("cannot {what}: {error}"))
    }

    /// Returns a failure whose reasons have been printed.
    pub const fn said(status: ExitStatus) -> Self {
        Self {
            status,
            message: String::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_count_up_from_zero_without_a_gap() {
        let codes = ExitStatus::ALL.map(ExitStatus::code);
        assert_eq!(codes, [0, 1, 2, 3, 4, 5, 6, 7]);
    }
}
