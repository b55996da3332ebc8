//! How late values are at the server.

use std::collections::BTreeMap;
use std::time::Duration;

use ucifi_sim::cabinet::{Cabinet, START};
use ucifi_sim::server::Origin;

/// The longest way of a value of each endpoint, from its measurement to the server, and how many came.
pub(crate) type Delays = BTreeMap<String, (Duration, usize)>;

pub(crate) fn delays(cabinet: &Cabinet) -> Delays {
    let mut delays = Delays::new();
    for (at, event) in cabinet.server_events() {
        let (Some(endpoint), Some((Origin::Send, values))) = (event.endpoint(), event.received()) else {
            continue;
        };
        for time in values.iter().filter_map(|value| value.time) {
            let measured =
                Duration::from_millis(u64::try_from(time.unix_ms() - START.unix_ms()).unwrap_or(0));
            let (longest, count) = delays.entry(endpoint.to_owned()).or_default();
            *longest = (*longest).max(at.saturating_sub(measured));
            *count += 1;
        }
    }
    delays
}
