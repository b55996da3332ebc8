//! `[gateway]`: the gateway itself.

use std::path::PathBuf;
use std::sync::Arc;

use ucifi_profiles::document::Item;

use super::device::endpoint_of;
use super::section::{Section, name_of};
use super::{DEFAULT_SOCKET, DEFAULT_STATE_DIR};

/// The options of the gateway itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GatewayOptions {
    /// Its name, the first part of the endpoint names of its devices.
    pub name: Arc<str>,
    /// The endpoint name of the cabinet itself, where it is not to be its name.
    pub endpoint: Option<Arc<str>>,
    /// How long a server waits for the outcome of a command before it is told that it is queued.
    pub answer_within_ms: u64,
    /// What becomes of the registrations at a stop.
    pub on_stop: OnStop,
    /// Where the control socket is made.
    pub control_socket: PathBuf,
    /// The folder of everything that outlives the gateway.
    pub state_dir: PathBuf,
}

/// What becomes of the registrations when the gateway stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnStop {
    /// They stay until their lifetime ends: a restart goes on with them.
    Keep,
    /// Every server is told goodbye.
    Deregister,
}

pub(super) fn read(section: &Section<'_>) -> Option<GatewayOptions> {
    let name = section.require("name").and_then(name_of);
    let endpoint = section.get("endpoint").and_then(endpoint_of);
    let answer_within_ms = section.integer("answer_within_ms", 100..=60_000, 4_000);
    let on_stop = section
        .get("on_stop")
        .and_then(|item| item.one_of(&[("keep", OnStop::Keep), ("deregister", OnStop::Deregister)]))
        .unwrap_or(OnStop::Keep);
    let control_socket = section.get("control_socket").and_then(|item| item.string());
    let state_dir = section.get("state_dir").and_then(absolute);
    section.finish();
    Some(GatewayOptions {
        name: name?,
        endpoint: endpoint.map(Into::into),
        answer_within_ms,
        on_stop,
        control_socket: control_socket.unwrap_or(DEFAULT_SOCKET).into(),
        state_dir: state_dir.unwrap_or(DEFAULT_STATE_DIR).into(),
    })
}

fn absolute(item: Item<'_>) -> Option<&str> {
    let path = item.string()?;
    if path.starts_with('/') {
        return Some(path);
    }
    item.error_with_help(
        format!("state_dir {path:?} is no absolute path"),
        format!("as in state_dir = {DEFAULT_STATE_DIR:?}"),
    )
}
