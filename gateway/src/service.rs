//! What the service manager is told (sd_notify(3)): that the gateway is ready, reloads, stops and gets on with its work.
//!
//! Nothing is told where no service manager listens.

use std::env;
use std::time::Duration;

use sd_notify::NotifyState;
use tracing::debug;

use crate::runtime::ProgressWatch;

/// How often the service manager is told how the gateway is, unless it wants a sign of life more often.
const TOLD_EVERY: Duration = Duration::from_secs(10);

/// How many signs of life are given in the time within which the service manager wants one.
const SIGNS_IN_TIME: u32 = 4;

/// Says that the gateway is ready when every part has answered once, and from then on how it is, as long as every part
/// gets on with its work: the service manager makes an end of a gateway that hangs.
pub(crate) async fn tell(progress: ProgressWatch) {
    if env::var_os("NOTIFY_SOCKET").is_none() {
        return;
    }
    let limit = sd_notify::watchdog_enabled();
    let every = limit.map_or(TOLD_EVERY, |limit| TOLD_EVERY.min(limit / SIGNS_IN_TIME));
    let mut is_ready = false;
    loop {
        if let Some(progress) = progress.check().await {
            if !is_ready {
                say_ready();
                is_ready = true;
            }
            say(&[NotifyState::Watchdog, NotifyState::Status(&progress.to_string())]);
        }
        tokio::time::sleep(every).await;
    }
}

/// Says that the gateway is ready, at the start or after a reload.
pub(crate) fn say_ready() {
    say(&[NotifyState::Ready]);
}

/// Says that the configuration is read again.
pub(crate) fn say_reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(time) => say(&[NotifyState::Reloading, time]),
        Err(error) => debug!(%error, "no monotonic time for the service manager"),
    }
}

/// Says that the gateway stops.
pub(crate) fn say_stopping() {
    say(&[NotifyState::Stopping]);
}

fn say(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        debug!(%error, "the service manager does not listen");
    }
}
