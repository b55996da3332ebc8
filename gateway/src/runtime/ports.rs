//! The local ports of endpoints: each is allotted once, kept on disk, and given to nobody else.
//!
//! A server answers to the port that it knows, and may take another endpoint on it for the one before. So a port is
//! durable before the first datagram leaves from it, where the disk allows that at all.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

use tracing::warn;
use ucifi_core::EndpointId;
use ucifi_core::state::{Change, SaveRequest, Saved};

const PREFIX: &str = "gateway/port/";

/// Stands for the cabinet itself, whose name may change.
const CABINET: &str = "~";

/// Who has a port: a device at a server.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct PortName(String);

impl PortName {
    pub(super) fn new(server: &str, device: &str, cabinet: &str) -> Self {
        let device = if device == cabinet { CABINET } else { device };
        Self(format!("{PREFIX}{server}/{device}"))
    }
}

/// The ports that are given away, those of removed devices among them.
#[derive(Debug, Default)]
pub(super) struct Ports {
    kept: BTreeMap<PortName, u16>,
    taken: BTreeSet<u16>,
    /// What is to be saved next, and for whom.
    changes: Vec<(EndpointId, Change)>,
    /// Whose ports are being saved, by request.
    under_way: BTreeMap<u64, BTreeSet<EndpointId>>,
    next_request: u64,
}

impl Ports {
    /// Takes what it has saved out of what was saved.
    pub(super) fn take(saved: &mut Saved) -> Self {
        let mut ports = Self::default();
        saved.values.retain(|name, value| {
            let is_ours = name.starts_with(PREFIX);
            if let (true, Ok(bytes)) = (is_ours, value.as_slice().try_into()) {
                ports.insert(PortName(name.clone()), u16::from_be_bytes(bytes));
            }
            !is_ours
        });
        ports
    }

    /// Returns the ports to try: its own, then those of the range that nobody has.
    pub(super) fn candidates<'p>(
        &'p self,
        name: &PortName,
        range: Option<&RangeInclusive<u16>>,
    ) -> impl Iterator<Item = u16> + use<'p> {
        let own = self.kept.get(name).copied();
        let own = own.filter(|port| range.is_none_or(|range| range.contains(port)));
        let free = range.cloned().into_iter().flatten();
        own.into_iter()
            .chain(free.filter(|port| !self.taken.contains(port)))
    }

    /// Takes note of the port that an endpoint has got.
    pub(super) fn give(&mut self, endpoint: EndpointId, name: &PortName, port: u16) {
        if self.kept.get(name) == Some(&port) {
            return;
        }
        self.insert(name.clone(), port);
        let change = Change {
            name: name.0.clone(),
            value: Some(port.to_be_bytes().to_vec()),
        };
        self.changes.push((endpoint, change));
    }

    /// Says whether an endpoint may not send yet.
    pub(super) fn is_unsaved(&self, endpoint: EndpointId) -> bool {
        let waits = self.changes.iter().any(|(waiting, _)| *waiting == endpoint);
        waits || self.under_way.values().any(|all| all.contains(&endpoint))
    }

    /// Returns what is to be saved.
    pub(super) fn take_request(&mut self) -> Option<SaveRequest> {
        if self.changes.is_empty() {
            return None;
        }
        let id = self.next_request;
        self.next_request += 1;
        let (endpoints, changes) = std::mem::take(&mut self.changes).into_iter().unzip();
        self.under_way.insert(id, endpoints);
        Some(SaveRequest {
            id,
            changes,
            is_current: false,
        })
    }

    /// Takes what became of a request; returns who may send from here on. A disk that fails silences nobody.
    pub(super) fn handle_saved(&mut self, id: u64, result: Result<(), String>) -> BTreeSet<EndpointId> {
        if let Err(reason) = result {
            warn!(
                reason,
                "local ports are not saved: after a restart they may be others"
            );
        }
        let done = self.under_way.remove(&id).unwrap_or_default();
        done.into_iter()
            .filter(|endpoint| !self.is_unsaved(*endpoint))
            .collect()
    }

    /// Says whether somebody has a port.
    pub(super) fn is_taken(&self, port: u16) -> bool {
        self.taken.contains(&port)
    }

    fn insert(&mut self, name: PortName, port: u16) {
        if let Some(before) = self.kept.insert(name, port)
            && !self.kept.values().any(|kept| *kept == before)
        {
            self.taken.remove(&before);
        }
        self.taken.insert(port);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(device: &str) -> PortName {
        PortName::new("city", device, "cab-1")
    }

    fn candidates(ports: &Ports, device: &str, range: RangeInclusive<u16>) -> Vec<u16> {
        ports.candidates(&name(device), Some(&range)).collect()
    }

    #[test]
    fn a_port_of_the_range_is_given_once_and_stays_with_its_device() {
        let mut ports = Ports::default();
        ports.give(EndpointId(0), &name("a"), 5000);
        ports.give(EndpointId(1), &name("b"), 5001);
        let request = ports.take_request().unwrap();
        let mut saved = Saved::default();
        for change in request.changes {
            saved.values.insert(change.name, change.value.unwrap());
        }
        saved.values.insert("core/commands".to_owned(), vec![1]);
        saved.values.insert(format!("{PREFIX}city/broken"), vec![1]);
        let ports = Ports::take(&mut saved);
        assert_eq!(saved.values.into_keys().collect::<Vec<_>>(), ["core/commands"]);
        assert_eq!(candidates(&ports, "b", 5000..=5003), [5001, 5002, 5003]);
        assert_eq!(
            candidates(&ports, "c", 5000..=5003),
            [5002, 5003],
            "a may be removed, and keeps its port"
        );
        assert_eq!(
            candidates(&ports, "b", 5002..=5003),
            [5002, 5003],
            "its own is out of the range"
        );
        assert_eq!(ports.candidates(&name("b"), None).collect::<Vec<_>>(), [5001]);
        assert_eq!(ports.candidates(&name("c"), None).next(), None);
    }

    #[test]
    fn a_port_that_two_have_is_free_when_neither_has_it() {
        let mut ports = Ports::default();
        ports.give(EndpointId(0), &name("a"), 5000);
        ports.give(EndpointId(1), &name("b"), 5000);
        ports.give(EndpointId(1), &name("b"), 5001);
        assert!(ports.is_taken(5000) && ports.is_taken(5001));
        ports.give(EndpointId(0), &name("a"), 5002);
        assert!(!ports.is_taken(5000));
    }

    #[test]
    fn the_cabinet_keeps_its_port_under_another_name() {
        assert_eq!(
            PortName::new("city", "cab-1", "cab-1"),
            PortName::new("city", "cab-2", "cab-2")
        );
    }

    #[test]
    fn an_endpoint_may_send_when_its_last_port_is_saved_or_cannot_be() {
        let mut ports = Ports::default();
        let endpoint = EndpointId(3);
        assert!(!ports.is_unsaved(endpoint));
        ports.give(endpoint, &name("a"), 5000);
        let first = ports.take_request().unwrap().id;
        ports.give(endpoint, &name("a"), 5001);
        let second = ports.take_request().unwrap().id;
        assert_eq!(ports.take_request(), None);
        assert!(ports.handle_saved(first, Ok(())).is_empty());
        assert!(ports.is_unsaved(endpoint));
        let failed = Err("the disk is full".to_owned());
        assert_eq!(ports.handle_saved(second, failed), BTreeSet::from([endpoint]));
        assert!(!ports.is_unsaved(endpoint));
        ports.give(endpoint, &name("a"), 5001);
        assert_eq!(ports.take_request(), None, "it has it already");
    }
}
