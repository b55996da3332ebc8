//! Where the buffer's log is and how it is kept: the same to the gateway and to who looks at it from outside.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use ucifi_core::buffer::{AccountBound, Options};

use crate::config::{BufferBound, Configuration};

const MIB: u64 = 1 << 20;
const DAY_MS: u64 = 24 * 60 * 60 * 1000;

/// Returns the folder of the buffer.
pub fn buffer_folder(state_dir: &Path) -> PathBuf {
    state_dir.join("buffer")
}

/// Returns how the log is to be kept.
pub fn log_options(configuration: &Configuration) -> Options {
    let bound = |bound: &BufferBound| AccountBound {
        max_bytes: u64::from(bound.max_mb) * MIB,
        max_age_ms: bound.max_age_days.map(|days| u64::from(days) * DAY_MS),
    };
    let servers = configuration.servers.iter();
    Options {
        max_bytes: u64::from(configuration.buffer.max_mb) * MIB,
        accounts: servers
            .map(|server| (Arc::clone(&server.name), bound(&server.buffer)))
            .collect(),
        ..Options::default()
    }
}
