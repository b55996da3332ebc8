//! What is observed, and the notifications that come of it (RFC 7641; LwM2M Core 1.1, section 6.4).

use std::collections::BTreeMap;
use std::net::SocketAddr;

use lwm2m_client::Path;
use ucifi_core::Now;

use super::coap::{Message, option};
use super::event::{Event, Origin, ReceivedValue};
use super::{LwM2mServer, receive};

/// One observation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Observation {
    pub(super) endpoint: String,
    pub(super) path: Path,
}

/// The observations of all clients, by the address and the token that notifications come with.
#[derive(Debug, Default)]
pub(super) struct Observations {
    by_token: BTreeMap<(SocketAddr, Vec<u8>), Observation>,
}

impl Observations {
    pub(super) fn insert(&mut self, peer: SocketAddr, token: Vec<u8>, endpoint: String, path: Path) {
        self.remove(&endpoint, path);
        self.by_token
            .insert((peer, token), Observation { endpoint, path });
    }

    pub(super) fn find(&self, peer: SocketAddr, token: &[u8]) -> Option<&Observation> {
        self.by_token.get(&(peer, token.to_vec()))
    }

    pub(super) fn token_of(&self, endpoint: &str, path: Path) -> Option<Vec<u8>> {
        let mut all = self.by_token.iter();
        let found = all.find(|(_, observation)| observation.endpoint == endpoint && observation.path == path);
        found.map(|((_, token), _)| token.clone())
    }

    pub(super) fn paths_of(&self, endpoint: &str) -> Vec<Path> {
        let of_endpoint = self
            .by_token
            .values()
            .filter(|observation| observation.endpoint == endpoint);
        let mut paths: Vec<Path> = of_endpoint.map(|observation| observation.path).collect();
        paths.sort_unstable();
        paths
    }

    pub(super) fn remove(&mut self, endpoint: &str, path: Path) {
        self.by_token
            .retain(|_, observation| observation.endpoint != endpoint || observation.path != path);
    }

    pub(super) fn remove_of(&mut self, endpoint: &str) {
        self.by_token
            .retain(|_, observation| observation.endpoint != endpoint);
    }

    /// Keeps the observations of a client whose address has changed.
    pub(super) fn moved(&mut self, endpoint: &str, to: SocketAddr) {
        let all = std::mem::take(&mut self.by_token).into_iter();
        self.by_token = all
            .map(|((from, token), observation)| {
                let address = if observation.endpoint == endpoint {
                    to
                } else {
                    from
                };
                ((address, token), observation)
            })
            .collect();
    }
}

/// Where the values of a notification belong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Notification {
    pub(super) path: Path,
    pub(super) confirmable: bool,
    pub(super) sequence: u32,
}

impl LwM2mServer {
    /// Takes a notification; one that comes in blocks is completed by reading the rest.
    pub(super) fn handle_notification(
        &mut self,
        from: SocketAddr,
        observation: Observation,
        message: Message,
        confirmable: bool,
        now: Now,
    ) {
        let Observation { endpoint, path } = observation;
        let code = message.response_code();
        if !code.is_success() {
            self.observations.remove(&endpoint, path);
            self.events
                .push_back(Event::ObservationEnded { endpoint, path, code });
            return;
        }
        let sequence = message.uint(option::OBSERVE).unwrap_or(0);
        let notification = Notification {
            path,
            confirmable,
            sequence,
        };
        if message.block(option::BLOCK2).is_some_and(|block| block.more) {
            self.fetch_rest(from, &endpoint, notification, message, now.instant);
        } else {
            self.receive_notification(
                &endpoint,
                notification,
                message.content_format(),
                &message.payload,
                now,
            );
        }
    }

    pub(super) fn receive_notification(
        &mut self,
        endpoint: &str,
        notification: Notification,
        format: Option<u16>,
        payload: &[u8],
        now: Now,
    ) {
        let Notification {
            path,
            confirmable,
            sequence,
        } = notification;
        self.receive(
            endpoint,
            path,
            Origin::Notification {
                path,
                confirmable,
                sequence,
            },
            format,
            payload,
            now,
        );
    }

    /// Decodes values and tells them; returns them, and why they could not be decoded.
    pub(super) fn receive(
        &mut self,
        endpoint: &str,
        base: Path,
        origin: Origin,
        format: Option<u16>,
        payload: &[u8],
        now: Now,
    ) -> (Vec<ReceivedValue>, Option<String>) {
        let endpoint = endpoint.to_owned();
        let unknown = receive::Definitions::new();
        let types = self
            .registrations
            .find(&endpoint)
            .map_or(&unknown, |registration| &registration.definitions);
        match receive::values(base, format, payload, types, now) {
            Ok(values) => {
                self.events.push_back(Event::Received {
                    endpoint,
                    origin,
                    values: values.clone(),
                    at: now,
                });
                (values, None)
            }
            Err(reason) => {
                self.events.push_back(Event::Undecodable {
                    endpoint,
                    origin,
                    reason: reason.clone(),
                });
                (Vec::new(), Some(reason))
            }
        }
    }
}
