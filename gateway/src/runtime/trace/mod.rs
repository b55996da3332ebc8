//! `trace`: what becomes of the frames and commands of one device, step by step, for a person who watches.
//!
//! frame → readings → sent → acknowledged, and asked → downlink → delivery. Nothing is kept: who does not watch misses
//! it, and who watches too slowly is told how much he missed.

mod frame_text;
mod message_text;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use lwm2m_client::coap::{Kind, Message, Method};
use serde_json::{Value as Json, json};
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;
use ucifi_core::field::{Delivery, Downlink, DownlinkId, Link, ReceiptId};
use ucifi_core::{EndpointId, EndpointStatus, Event, Profile, Uplink};
use ucifi_profiles::CompiledProfile;

use super::clock::now;
use crate::config::Device;
use crate::limits::{TRACE_OPEN, TRACE_WATCHERS};

/// Everybody who watches.
#[derive(Default)]
pub(super) struct Traces {
    watchers: Vec<Watcher>,
}

/// One who watches a device.
struct Watcher {
    device: Arc<str>,
    /// How it is reached, and what its frames mean; none for the cabinet itself.
    kind: Option<(Link, Arc<CompiledProfile>)>,
    /// Under which server each of its endpoints is registered.
    servers: BTreeMap<EndpointId, Arc<str>>,
    /// What went out and was not answered yet, by message id.
    sent: BTreeMap<(EndpointId, u16), Instant>,
    /// Requests of its own whose answer comes apart from the acknowledgement.
    asked: BTreeMap<(EndpointId, Vec<u8>), Instant>,
    downlinks: BTreeSet<DownlinkId>,
    receipts: BTreeSet<ReceiptId>,
    lines: mpsc::Sender<Json>,
    skipped: u64,
}

impl Traces {
    /// Lets somebody watch a device; says whether there is room for him.
    pub(super) fn watch(
        &mut self,
        device: &str,
        configured: Option<&Device>,
        endpoints: &[EndpointStatus],
        lines: mpsc::Sender<Json>,
    ) -> bool {
        self.watchers.retain(|watcher| !watcher.lines.is_closed());
        if self.watchers.len() >= TRACE_WATCHERS {
            return false;
        }
        let own = endpoints.iter().filter(|endpoint| *endpoint.device == *device);
        self.watchers.push(Watcher {
            device: device.into(),
            kind: configured.map(|device| (device.link.clone(), device.profile.clone())),
            servers: own
                .map(|endpoint| (endpoint.id, endpoint.account.clone()))
                .collect(),
            sent: BTreeMap::new(),
            asked: BTreeMap::new(),
            downlinks: BTreeSet::new(),
            receipts: BTreeSet::new(),
            lines,
            skipped: 0,
        });
        true
    }

    /// Returns how many watch.
    pub(super) fn watchers(&self) -> usize {
        self.watchers
            .iter()
            .filter(|watcher| !watcher.lines.is_closed())
            .count()
    }

    /// Tells of a frame, and of what it says.
    pub(super) fn uplink(&mut self, uplink: &Uplink) {
        self.tell(|watcher| watcher.uplink(uplink));
    }

    /// Tells of a command on its way to the device.
    pub(super) fn downlink(&mut self, downlink: &Downlink) {
        self.tell(|watcher| watcher.downlink(downlink));
    }

    /// Tells what became of it.
    pub(super) fn delivery(&mut self, id: DownlinkId, delivery: &Delivery) {
        self.tell(|watcher| {
            if watcher.downlinks.contains(&id) {
                watcher.line("delivery", frame_text::delivery(delivery));
            }
        });
    }

    /// Tells that a frame may be acknowledged to who sent it.
    pub(super) fn settled(&mut self, receipt: ReceiptId) {
        self.tell(|watcher| {
            if watcher.receipts.remove(&receipt) {
                watcher.line(
                    "settled",
                    "the sender may forget the frame: its readings are delivered or on disk".to_owned(),
                );
            }
        });
    }

    /// Tells of a datagram to a server.
    pub(super) fn transmit(&mut self, endpoint: EndpointId, datagram: &[u8]) {
        self.tell(|watcher| watcher.transmit(endpoint, datagram));
    }

    /// Tells of a datagram from a server.
    pub(super) fn datagram(&mut self, endpoint: EndpointId, datagram: &[u8]) {
        self.tell(|watcher| watcher.datagram(endpoint, datagram));
    }

    /// Tells of what happened in the core.
    pub(super) fn event(&mut self, event: &Event) {
        self.tell(|watcher| watcher.event(event));
    }

    fn tell(&mut self, mut one: impl FnMut(&mut Watcher)) {
        if self.watchers.is_empty() {
            return;
        }
        self.watchers.iter_mut().for_each(&mut one);
        self.watchers.retain(|watcher| !watcher.lines.is_closed());
    }
}

impl Watcher {
    fn uplink(&mut self, uplink: &Uplink) {
        let Some((link, profile)) = self.kind.clone() else {
            return;
        };
        if link != uplink.link {
            return;
        }
        if let Some(receipt) = &uplink.receipt {
            keep(&mut self.receipts, receipt.id);
        }
        self.line("frame", frame_text::uplink(uplink, &profile));
        match profile.decode(&uplink.frame) {
            Ok(meaning) => {
                for sample in &meaning.samples {
                    self.line("reading", frame_text::sample(sample, &profile));
                }
                if let Some(is_online) = meaning.is_online {
                    let said = if is_online {
                        "the device is there"
                    } else {
                        "the device is gone"
                    };
                    self.line("online", said.to_owned());
                }
            }
            Err(error) => self.line("refused", error.to_string()),
        }
    }

    fn downlink(&mut self, downlink: &Downlink) {
        let Some((link, _)) = &self.kind else { return };
        if *link == downlink.link {
            keep(&mut self.downlinks, downlink.id);
            self.line("downlink", frame_text::downlink(downlink));
        }
    }

    fn transmit(&mut self, endpoint: EndpointId, datagram: &[u8]) {
        let Some(server) = self.servers.get(&endpoint).cloned() else {
            return;
        };
        let Ok(message) = Message::parse(datagram) else {
            return;
        };
        if message.kind == Kind::Confirmable && self.sent.contains_key(&(endpoint, message.id)) {
            return self.line("sent", format!("{server} again: {}", message_text::of(&message)));
        }
        if message.kind == Kind::Confirmable {
            bound(&mut self.sent);
            self.sent.insert((endpoint, message.id), Instant::now());
            if Method::from_code(message.code).is_some() {
                bound(&mut self.asked);
                self.asked
                    .insert((endpoint, message.token.clone()), Instant::now());
            }
        }
        self.line("sent", format!("{server} {}", message_text::of(&message)));
    }

    fn datagram(&mut self, endpoint: EndpointId, datagram: &[u8]) {
        let Some(server) = self.servers.get(&endpoint).cloned() else {
            return;
        };
        let Ok(message) = Message::parse(datagram) else {
            return self.line(
                "received",
                format!("{server} {} bytes that are no CoAP", datagram.len()),
            );
        };
        let since = match message.kind {
            Kind::Acknowledgement | Kind::Reset => self.sent.remove(&(endpoint, message.id)),
            Kind::Confirmable | Kind::NonConfirmable => self.asked.remove(&(endpoint, message.token.clone())),
        };
        if message.kind == Kind::Acknowledgement && !message.token.is_empty() {
            self.asked.remove(&(endpoint, message.token.clone()));
        }
        let text = message_text::of(&message);
        match since {
            Some(since) => {
                let ms = since.elapsed().as_millis();
                let step = if message.kind == Kind::Reset {
                    "reset"
                } else {
                    "acknowledged"
                };
                self.line(step, format!("{server} {text} after {ms} ms"));
            }
            None => self.line("asked", format!("{server} {text}")),
        }
    }

    fn event(&mut self, event: &Event) {
        match event {
            Event::CommandFinished(record) if record.device == self.device => {
                let writes: Vec<String> = record
                    .writes
                    .iter()
                    .map(|(path, value)| format!("{path}={value}"))
                    .collect();
                self.line("command", format!("{}: {}", writes.join(" "), record.outcome));
            }
            Event::DeviceReachable { device } if *device == self.device => {
                self.line("online", "the device answers".to_owned());
            }
            Event::DeviceUnreachable { device, reason } if *device == self.device => {
                self.line("online", format!("the device does not answer: {reason}"));
            }
            Event::FrameRefused { device, reason } if *device == self.device => {
                self.line("refused", reason.clone());
            }
            Event::PointFault {
                device,
                point,
                reason,
            } if *device == self.device => {
                self.line("fault", format!("{point}: {reason}"));
            }
            Event::Registered { endpoint, location } => self.registration(*endpoint, "registered", location),
            Event::RegistrationFailed { endpoint, reason } | Event::RegistrationLost { endpoint, reason } => {
                self.registration(*endpoint, "unregistered", reason);
            }
            Event::Deregistered { endpoint } => self.registration(*endpoint, "unregistered", "as was wanted"),
            Event::ServerMessageRefused { endpoint, reason } => {
                self.registration(*endpoint, "refused", reason)
            }
            // What concerns no device, or another one.
            Event::CommandFinished(_)
            | Event::DeviceReachable { .. }
            | Event::DeviceUnreachable { .. }
            | Event::FrameRefused { .. }
            | Event::PointFault { .. }
            | Event::FrameOfStranger { .. }
            | Event::Gap { .. }
            | Event::BufferFailed { .. }
            | Event::BufferWorks
            | Event::ReadingsDropped { .. }
            | Event::StateFailed { .. }
            | Event::StateWorks
            | Event::State(_) => {}
        }
    }

    fn registration(&mut self, endpoint: EndpointId, step: &str, text: &str) {
        if let Some(server) = self.servers.get(&endpoint).cloned() {
            self.line(step, format!("{server} {text}"));
        }
    }

    fn line(&mut self, step: &str, text: String) {
        let time_ms = now().wall.map(|wall| wall.unix_ms());
        let line = json!({ "time_ms": time_ms, "step": step, "text": text });
        if self.skipped > 0 {
            let text = format!("{} lines that came too fast", self.skipped);
            let skipped = json!({ "time_ms": time_ms, "step": "skipped", "text": text });
            if self.lines.try_send(skipped).is_ok() {
                self.skipped = 0;
            }
        }
        // Who has gone is forgotten by whoever asked for this.
        if let Err(TrySendError::Full(_)) = self.lines.try_send(line) {
            self.skipped += 1;
        }
    }
}

/// Keeps one more, and forgets the first where there is no room.
fn keep<T: Ord>(all: &mut BTreeSet<T>, one: T) {
    if all.len() >= TRACE_OPEN {
        all.pop_first();
    }
    all.insert(one);
}

/// Makes room for one more.
fn bound<K: Ord, V>(all: &mut BTreeMap<K, V>) {
    if all.len() >= TRACE_OPEN {
        all.pop_first();
    }
}
