//! One connection: a task that polls rumqttc, and the way of requests to it.
//!
//! The task is never interrupted while it lives, since rumqttc loses what it was about to write when a poll is dropped.
//! A panic in it ends the connection only.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Display;
use std::future::Future;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;
use ucifi_core::field::{DownlinkId, Qos, Refusal};

use super::super::{Action, Message, limits};
use super::{Options, Version, v3, v5};

/// Requests that rumqttc may have before it: an acknowledgement of everything that can be under way, and some more.
pub(super) const REQUESTS: usize = limits::RECEIPTS + 64;
/// What the task may be ahead of the client.
const AHEAD: usize = 64;

pub(super) struct Connection {
    requests: Requests,
    received: mpsc::Receiver<FromConnection>,
    /// Ends the task when the connection is dropped.
    _task: JoinSet<()>,
    /// Publishes that rumqttc has given no packet identifier yet, in the order in which it will.
    unwritten: VecDeque<DownlinkId>,
    /// Publishes that the broker has not acknowledged yet, by packet identifier.
    unacknowledged: BTreeMap<u16, DownlinkId>,
}

/// What comes from the connection, in plain types.
#[derive(Debug)]
pub(super) enum FromConnection {
    Connected {
        is_session_present: bool,
    },
    Message(Message),
    /// The answer to the one SUBSCRIBE that is open.
    Subscribed(Vec<Result<(), String>>),
    /// The next publish is written, under a packet identifier where it is to be acknowledged, else 0.
    Written {
        packet_id: u16,
    },
    Published {
        packet_id: u16,
        outcome: Result<(), Refusal>,
    },
    Lost(String),
}

enum Requests {
    V3(rumqttc::AsyncClient),
    V5(rumqttc::v5::AsyncClient),
}

impl Connection {
    pub(super) fn open(options: &Options) -> Self {
        let (sender, received) = mpsc::channel(AHEAD);
        let mut task = JoinSet::new();
        // It has something to tell at each keep-alive at least.
        let patience = options.keep_alive() * 2;
        let requests = match options.version {
            Version::V3 => {
                let (client, mut events) = rumqttc::AsyncClient::new(v3::options(options), REQUESTS);
                task.spawn(async move {
                    let mut goes_on = true;
                    while goes_on {
                        let polled = within(patience, events.poll()).await;
                        goes_on = tell(polled, &mut events.state.events, v3::plain, &sender).await;
                    }
                });
                Requests::V3(client)
            }
            Version::V5 => {
                let (client, mut events) = rumqttc::v5::AsyncClient::new(v5::options(options), REQUESTS);
                task.spawn(async move {
                    let mut goes_on = true;
                    while goes_on {
                        let polled = within(patience, events.poll()).await;
                        goes_on = tell(polled, &mut events.state.events, v5::plain, &sender).await;
                    }
                });
                Requests::V5(client)
            }
        };
        Self {
            requests,
            received,
            _task: task,
            unwritten: VecDeque::new(),
            unacknowledged: BTreeMap::new(),
        }
    }

    pub(super) async fn receive(&mut self) -> FromConnection {
        let received = self.received.recv().await;
        received.unwrap_or_else(|| FromConnection::Lost("the connection ended unexpectedly".to_owned()))
    }

    /// Hands a request over to rumqttc.
    pub(super) fn send(&mut self, action: Action) -> Result<(), String> {
        match action {
            Action::Subscribe { filters } => self.requests.subscribe(filters),
            Action::Acknowledge { packet_id, qos } => self.requests.acknowledge(packet_id, qos),
            Action::Publish {
                id,
                topic,
                payload,
                qos,
                retain,
            } => {
                self.unwritten.push_back(id);
                self.requests.publish(topic, qos, retain, payload)
            }
            Action::Connect | Action::Disconnect { .. } => Ok(()),
        }
    }

    /// Takes note that the next publish is written; returns it where that is all there is to know.
    pub(super) fn written(&mut self, packet_id: u16) -> Option<DownlinkId> {
        let id = self.unwritten.pop_front()?;
        if packet_id == 0 {
            return Some(id);
        }
        self.unacknowledged.insert(packet_id, id);
        None
    }

    pub(super) fn acknowledged(&mut self, packet_id: u16) -> Option<DownlinkId> {
        self.unacknowledged.remove(&packet_id)
    }
}

impl Requests {
    fn subscribe(&self, filters: Vec<(String, Qos)>) -> Result<(), String> {
        match self {
            Self::V3(client) => told(client.try_subscribe_many(v3::filters(filters))),
            Self::V5(client) => told(client.try_subscribe_many(v5::filters(filters))),
        }
    }

    fn acknowledge(&self, packet_id: u16, qos: Qos) -> Result<(), String> {
        match self {
            Self::V3(client) => told(client.try_ack(&v3::received(packet_id, qos))),
            Self::V5(client) => told(client.try_ack(&v5::received(packet_id, qos))),
        }
    }

    fn publish(&self, topic: String, qos: Qos, retain: bool, payload: Vec<u8>) -> Result<(), String> {
        match self {
            Self::V3(client) => told(client.try_publish(topic, v3::qos(qos), retain, payload)),
            Self::V5(client) => told(client.try_publish(topic, v5::qos(qos), retain, payload)),
        }
    }
}

fn told<E: Display>(result: Result<(), E>) -> Result<(), String> {
    result.map_err(|error| format!("the connection takes no request: {error}"))
}

/// Returns what one poll brings, or why the connection is over.
async fn within<T, E: Display>(
    patience: Duration,
    poll: impl Future<Output = Result<T, E>>,
) -> Result<T, String> {
    match timeout(patience, poll).await {
        Ok(polled) => polled.map_err(|error| error.to_string()),
        Err(_) => Err("the connection takes and gives nothing".to_owned()),
    }
}

/// Tells what one poll brought; false when the connection is over. What a broker said just before it closed the connection
/// rumqttc has read and not given: that is `left`.
async fn tell<T>(
    polled: Result<T, String>,
    left: &mut VecDeque<T>,
    plain: fn(T) -> Option<FromConnection>,
    sender: &mpsc::Sender<FromConnection>,
) -> bool {
    let reason = match polled.map(plain) {
        Ok(Some(told)) => return sender.send(told).await.is_ok(),
        Ok(None) => return !sender.is_closed(),
        Err(reason) => reason,
    };
    let last = left.drain(..).filter_map(plain);
    for told in last.chain([FromConnection::Lost(reason)]) {
        if sender.send(told).await.is_err() {
            break;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(packet_id: u16) -> Option<FromConnection> {
        (packet_id > 0).then_some(FromConnection::Written { packet_id })
    }

    #[tokio::test]
    async fn what_a_broker_said_before_it_closed_the_connection_is_told_before_that() {
        let (sender, mut told) = mpsc::channel(AHEAD);
        let mut left = VecDeque::from([0, 7]);
        assert!(tell(Ok(6), &mut left, written, &sender).await);
        assert!(!tell(Err("closed".to_owned()), &mut left, written, &sender).await);
        drop(sender);
        for expected in [6, 7] {
            let told = told.recv().await;
            assert!(matches!(told, Some(FromConnection::Written { packet_id }) if packet_id == expected));
        }
        assert!(matches!(told.recv().await, Some(FromConnection::Lost(reason)) if reason == "closed"));
        assert!(told.recv().await.is_none());
    }
}
