//! Logs to standard error, where systemd's journal picks them up.
//!
//! INFO, WARN and ERROR are for the person at the cabinet, TRACE is one line a frame.

use std::io::{self, IsTerminal};

use tracing_subscriber::EnvFilter;

use crate::exit::{ExitStatus, Failure};

/// Starts logging with a filter such as `info` or `info,ucifi_adapters=trace`.
///
/// # Errors
/// When the filter cannot be read, or logging has been started before.
pub fn start(filter: &str) -> Result<(), Failure> {
    let usage = |reason: String| Failure::new(ExitStatus::Usage, format!("log filter {filter:?}: {reason}"));
    let directives = EnvFilter::try_new(filter).map_err(|error| usage(error.to_string()))?;
    tracing_subscriber::fmt()
        .with_env_filter(directives)
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .with_target(false)
        .try_init()
        .map_err(|error| usage(error.to_string()))
}
