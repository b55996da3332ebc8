//! What happens in the core, as log lines for the person at the cabinet.

use std::collections::BTreeMap;
use std::sync::Arc;

use tracing::{debug, error, info, warn};
use ucifi_adapters::lorawan::{Event as RadioEvent, ForwarderId, Sender, WhyRefused};
use ucifi_core::buffer::{Gap, GapReason};
use ucifi_core::field::Link;
use ucifi_core::{CommandOrigin, CommandRecord, DropReason, EndpointId, EndpointStatus, Event, StateEvent};

/// What people call the endpoints: the server and the endpoint name.
pub(super) type Names = BTreeMap<EndpointId, (Arc<str>, Arc<str>)>;

/// Returns the names of endpoints.
pub(super) fn names_of(endpoints: &[EndpointStatus]) -> Names {
    endpoints
        .iter()
        .map(|e| (e.id, (e.account.clone(), e.name.clone())))
        .collect()
}

/// Logs an event.
pub(super) fn log(event: &Event, names: &Names) {
    match event {
        Event::Registered { endpoint, location } => {
            let (server, endpoint) = called(names, *endpoint);
            info!(server, endpoint, location, "registered");
        }
        Event::RegistrationFailed { endpoint, reason } => {
            let (server, endpoint) = called(names, *endpoint);
            warn!(server, endpoint, reason, "not registered, trying again");
        }
        Event::RegistrationLost { endpoint, reason } => {
            let (server, endpoint) = called(names, *endpoint);
            warn!(server, endpoint, reason, "registration lost, trying again");
        }
        Event::Deregistered { endpoint } => {
            let (server, endpoint) = called(names, *endpoint);
            info!(server, endpoint, "de-registered");
        }
        Event::ServerMessageRefused { endpoint, reason } => {
            let (server, endpoint) = called(names, *endpoint);
            debug!(server, endpoint, reason, "refused a message of the server");
        }
        Event::DeviceReachable { device } => info!(device = &**device, "answers"),
        Event::DeviceUnreachable { device, reason } => warn!(device = &**device, reason, "does not answer"),
        Event::FrameOfStranger { link } => debug!(%link, "frame of no configured device"),
        Event::FrameRefused { device, reason } => debug!(device = &**device, reason, "frame not understood"),
        Event::PointFault {
            device,
            point,
            reason,
        } => {
            info!(
                device = &**device,
                point = &**point,
                reason,
                "value that cannot be"
            );
        }
        Event::CommandFinished(record) => log_command(record),
        Event::Gap { endpoint, gap } => log_gap(names, *endpoint, gap),
        Event::BufferFailed { reason } => {
            error!(
                reason,
                "the buffer cannot be written: readings wait in memory only"
            );
        }
        Event::BufferWorks => info!("the buffer is written again"),
        Event::ReadingsDropped {
            endpoint,
            count,
            reason,
        } => {
            let (server, endpoint) = called(names, *endpoint);
            let reason = match reason {
                DropReason::QueueFull => "the queue is full",
                DropReason::Poison => "the server refuses them",
                DropReason::NotInModel => "the server's model has no place for them",
                DropReason::Command => "dropped by command",
            };
            error!(server, endpoint, count, reason, "readings dropped");
        }
        Event::StateFailed { reason } => error!(
            reason,
            "state not saved, trying again: while this lasts, message ids may be used again after a crash"
        ),
        Event::StateWorks => info!("state saved again"),
        Event::State(event) => log_state(event),
    }
}

/// Logs that a broker does not let the gateway hear a topic.
pub(super) fn log_refused_subscription(broker: &str, link: Option<&Link>, topic: &str, reason: &str) {
    match link {
        Some(link) => warn!(broker, %link, reason, "the broker does not let the gateway hear a device"),
        None => info!(
            broker,
            reason, "the broker does not let the gateway look for unknown devices"
        ),
    }
    debug!(broker, topic, "topic that is not heard");
}

/// Logs that a device was heard that is not configured.
pub(super) fn log_unknown_on_broker(broker: &str, device: &str, topic: &str) {
    info!(
        broker,
        device, "device that is not configured, see `ucifi-gateway devices --unknown`"
    );
    debug!(broker, device, topic, "heard under this topic");
}

/// Logs that a packet forwarder came or went.
pub(super) fn log_forwarder(forwarder: ForwarderId, is_there: bool) {
    if is_there {
        info!(%forwarder, "packet forwarder is there");
    } else {
        warn!(%forwarder, "packet forwarder is not heard any more");
    }
}

/// Logs that somebody was heard in the air whom nobody configured.
pub(super) fn log_unknown_sender(sender: Sender) {
    match sender {
        Sender::Joining { dev_eui, join_eui } => {
            info!(%dev_eui, %join_eui, "wants to join and is not configured, see `ucifi-gateway devices --unknown`");
        }
        // Networks beside this one are heard too.
        Sender::Address(dev_addr) => debug!(%dev_addr, "address of no session"),
        Sender::Device(dev_eui) => debug!(%dev_eui, "device that is not configured"),
    }
}

/// Logs what the radio network has to tell the person at the cabinet.
pub(super) fn log_radio(event: &RadioEvent) {
    match event {
        RadioEvent::Joined { dev_eui, dev_addr } => info!(%dev_eui, %dev_addr, "joined"),
        RadioEvent::Uncertain { dev_eui, f_cnt } => warn!(
            %dev_eui,
            f_cnt, "took a frame that may have been taken before the gateway was cut off, marked as old"
        ),
        RadioEvent::Refused { sender, why } => log_refused(*sender, *why),
        RadioEvent::Damaged { name, advice } => {
            error!(name, advice, "saved value of the radio network not readable")
        }
        RadioEvent::Uplink(_)
        | RadioEvent::Delivery { .. }
        | RadioEvent::Save(_)
        | RadioEvent::Reachability { .. }
        | RadioEvent::Unknown(_) => {}
    }
}

fn log_refused(sender: Sender, why: WhyRefused) {
    let (sender, why) = (format!("{sender:?}"), format!("{why:?}"));
    debug!(sender, why, "frame refused");
}

fn log_state(event: &StateEvent) {
    match event {
        StateEvent::Damaged { name, reason } => {
            warn!(name, reason, "saved value not readable, going on without it")
        }
        StateEvent::NotSaved { name, reason } => error!(
            name,
            reason, "one part of the state cannot be saved, everything else is; it is tried again"
        ),
        StateEvent::NameKept {
            device,
            name,
            derived,
        } => info!(
            device = &**device,
            endpoint = &**name,
            new_name = &**derived,
            "keeps its endpoint name, `endpoint` changes it"
        ),
        StateEvent::NameTaken {
            device,
            removed,
            name,
        } => warn!(
            device = &**device,
            removed = &**removed,
            endpoint = &**name,
            "has the endpoint name of a removed device"
        ),
        StateEvent::RemovedOwes { device, readings } => warn!(
            device = &**device,
            readings, "removed, stays registered until its readings are delivered or dropped"
        ),
        StateEvent::RemovedForgotten { device } => info!(device = &**device, "removed device forgotten"),
        StateEvent::ValueTooLong { device, path, bytes } => {
            warn!(device = &**device, %path, bytes, "value too long to be saved");
        }
    }
}

/// Logs the readings that servers have not got and that are in memory only, when that ends.
pub(super) fn log_left_behind(endpoints: &[EndpointStatus]) {
    for left in endpoints.iter().filter(|endpoint| endpoint.waiting > 0) {
        let (server, endpoint, count) = (&*left.account, &*left.name, left.waiting);
        let reason = "the gateway stops or starts anew";
        error!(server, endpoint, count, reason, "readings dropped");
    }
}

fn log_gap(names: &Names, endpoint: Option<EndpointId>, gap: &Gap) {
    let reason = match gap.reason {
        GapReason::Bound => "the buffer is full",
        GapReason::Age => "they are too old",
        GapReason::DiskFull => "the disk is full",
        GapReason::Corrupt => "the disk does not give them back",
        GapReason::Dropped => "dropped by command",
    };
    let (server, device) = (&*gap.debt.account, &*gap.debt.stream.device);
    let name = endpoint.map(|endpoint| called(names, endpoint).1);
    let (from, until) = match &gap.times {
        Some(times) => (Some(times.start().to_string()), Some(times.end().to_string())),
        None => (None, None),
    };
    let count = gap.count;
    error!(
        server,
        device,
        endpoint = name,
        count,
        from,
        until,
        reason,
        "readings of the buffer are gone"
    );
}

/// The line of the audit log.
fn log_command(record: &CommandRecord) {
    let origin = match &record.origin {
        CommandOrigin::Server { account } => account,
        CommandOrigin::Local => "local",
    };
    let writes: Vec<String> = record
        .writes
        .iter()
        .map(|(path, value)| format!("{path}={value}"))
        .collect();
    let (device, writes) = (&*record.device, writes.join(" "));
    if record.outcome.is_done() {
        info!(device, origin, writes, outcome = %record.outcome, "command");
    } else {
        warn!(device, origin, writes, outcome = %record.outcome, "command not done");
    }
}

fn called(names: &Names, id: EndpointId) -> (&str, &str) {
    names
        .get(&id)
        .map_or(("", ""), |(server, endpoint)| (&**server, &**endpoint))
}
