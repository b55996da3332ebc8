//! The number of open files: each endpoint has a socket, and the usual limit of 1,024 is soon reached.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tracing::warn;

/// Files beside the sockets of endpoints: ports, control clients, logs.
const OTHERS: u64 = 64;

/// Raises the soft limit of open files where so many endpoints need it, as far as the system lets.
pub(super) fn allow(endpoints: usize) {
    let needed = endpoints as u64 + OTHERS;
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|current| current >= needed) {
        return;
    }
    let within = limit.maximum.map_or(needed, |maximum| maximum.min(needed));
    let raised = Rlimit {
        current: Some(within),
        maximum: limit.maximum,
    };
    if setrlimit(Resource::Nofile, raised).is_err() || within < needed {
        warn!(
            needed,
            "the system allows too few open files: set LimitNOFILE in the unit file"
        );
    }
}
