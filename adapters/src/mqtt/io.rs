//! Runs a [`Client`] on a connection to a broker, MQTT 3.1.1 or 5, over TCP without TLS.
//!
//! Packets, keep-alive and packet identifiers are rumqttc's. It is used for one connection at a time: its own
//! reconnection would replay acknowledgements and publishes of the connection before, and a publish whose packet
//! identifier is taken stops it for good (CollisionTimeout). So every error drops its client and event loop, and the
//! next connection has new ones. What the broker keeps for a session is found again by the client identifier.
//!
//! QoS 2 is received and published as QoS 1: rumqttc forgets with each connection which packet identifiers are
//! half-way, and takes the broker's PUBREL for one of them as an error, for ever.

mod connection;
mod v3;
mod v5;

use std::collections::VecDeque;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tracing::{debug, info, warn};
use ucifi_core::Downlink;
use ucifi_core::field::ReceiptId;

use self::connection::{Connection, FromConnection};
use super::address::Address;
use super::{Action, Client, Event, Statistics, UnknownDevice};
use crate::clock::{now, until};

/// How the broker is spoken to.
#[derive(Clone, PartialEq, Eq)]
pub struct Options {
    /// Where it is.
    pub address: Address,
    /// The version of the protocol.
    pub version: Version,
    /// The client identifier, under which the broker keeps what comes while the gateway is away: always the same one,
    /// and of no other client.
    pub client_id: String,
    /// Who the gateway says it is; none where the broker asks nobody.
    pub credentials: Option<Credentials>,
    /// Seconds without a packet after which the broker is asked whether it is there; at least 5.
    pub keep_alive_secs: u16,
    /// How many messages MQTT 5 lets the broker have under way unacknowledged.
    pub receive_window: u16,
}

/// A version of MQTT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// 3.1.1
    V3,
    /// 5
    V5,
}

/// A user and a password.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The user.
    pub username: String,
    /// The password.
    pub password: String,
}

/// What is asked of a running broker.
#[derive(Debug)]
pub enum ToBroker {
    /// Send this.
    Downlink(Downlink),
    /// Nothing of this message can be lost any more.
    Settled(ReceiptId),
    /// Tell the counters.
    Statistics(oneshot::Sender<Statistics>),
    /// Tell which devices were heard that are not configured.
    UnknownDevices(oneshot::Sender<Vec<UnknownDevice>>),
}

/// What a running broker tells.
#[derive(Clone, Debug, PartialEq)]
pub enum FromBroker {
    /// Something the client had to tell.
    Event(Event),
    /// The broker has accepted the connection.
    Connected,
    /// It is gone or could not be made, for the reason given; it is tried again.
    Disconnected(String),
}

/// The shortest keep-alive, in seconds.
const KEEP_ALIVE_MIN_SECS: u16 = 5;

/// Runs the broker until nobody holds the other end of `commands` or of `events` any more.
pub async fn run(
    client: Client,
    options: Options,
    commands: mpsc::Receiver<ToBroker>,
    events: mpsc::Sender<FromBroker>,
) {
    let broker = Broker {
        client,
        options,
        connection: None,
        told: VecDeque::new(),
    };
    broker.serve(commands, events).await;
}

struct Broker {
    client: Client,
    options: Options,
    connection: Option<Connection>,
    /// What there was no room for yet: of the connection only the last word.
    told: VecDeque<FromBroker>,
}

impl Broker {
    async fn serve(mut self, mut commands: mpsc::Receiver<ToBroker>, events: mpsc::Sender<FromBroker>) {
        loop {
            self.act();
            if self.told.is_empty() {
                self.told.extend(self.client.poll_event().map(FromBroker::Event));
            }
            let is_readable = !self.client.is_clogged();
            let wake = self.client.poll_timeout();
            tokio::select! {
                permit = events.reserve(), if !self.told.is_empty() => match (permit, self.told.pop_front()) {
                    (Ok(permit), Some(told)) => permit.send(told),
                    (Err(_), _) | (_, None) => return,
                },
                command = commands.recv() => match command {
                    Some(command) => self.handle_command(command),
                    None => return,
                },
                received = receive(&mut self.connection), if is_readable => self.handle_received(received),
                () = until(wake) => self.client.handle_timeout(now().instant),
            }
        }
    }

    /// Does what the client wants done.
    fn act(&mut self) {
        while let Some(action) = self.client.poll_action() {
            match action {
                Action::Connect => {
                    debug!(
                        broker = self.client.name(),
                        host = self.options.address.host,
                        "connecting"
                    );
                    self.connection = Some(Connection::open(&self.options));
                }
                Action::Disconnect { reason } => self.lose(&reason),
                Action::Subscribe { .. } | Action::Acknowledge { .. } | Action::Publish { .. } => {
                    let sent = self.connection.as_mut().map(|connection| connection.send(action));
                    if let Some(Err(reason)) = sent {
                        self.lose(&reason);
                    }
                }
            }
        }
    }

    fn handle_command(&mut self, command: ToBroker) {
        match command {
            ToBroker::Downlink(downlink) => self.client.handle_downlink(downlink, now().instant),
            ToBroker::Settled(receipt) => self.client.handle_settled(receipt, now().instant),
            // Whoever asked may have gone: nothing is owed to him.
            ToBroker::Statistics(answer) => drop(answer.send(self.client.statistics())),
            ToBroker::UnknownDevices(answer) => {
                drop(answer.send(self.client.unknown_devices().cloned().collect()));
            }
        }
    }

    fn handle_received(&mut self, received: FromConnection) {
        let now = now();
        match received {
            FromConnection::Connected { is_session_present } => {
                info!(
                    broker = self.client.name(),
                    is_session_present, "broker is connected"
                );
                self.tell(FromBroker::Connected);
                self.client.handle_connected(is_session_present, now.instant);
            }
            FromConnection::Message(message) => self.client.handle_message(message, now),
            FromConnection::Subscribed(answers) => self.client.handle_subscribed(answers, now.instant),
            FromConnection::Written { packet_id } => {
                let written = self.connection.as_mut().and_then(|c| c.written(packet_id));
                if let Some(id) = written {
                    self.client.handle_published(id, Ok(()), now.instant);
                }
            }
            FromConnection::Published { packet_id, outcome } => {
                let acknowledged = self.connection.as_mut().and_then(|c| c.acknowledged(packet_id));
                if let Some(id) = acknowledged {
                    self.client.handle_published(id, outcome, now.instant);
                }
            }
            FromConnection::Lost(reason) => self.lose(&reason),
        }
    }

    fn lose(&mut self, reason: &str) {
        warn!(
            broker = self.client.name(),
            reason, "broker is not connected, trying again"
        );
        self.connection = None;
        self.tell(FromBroker::Disconnected(reason.to_owned()));
        self.client.handle_disconnected(reason, now().instant);
    }

    fn tell(&mut self, news: FromBroker) {
        self.told.retain(|told| matches!(told, FromBroker::Event(_)));
        self.told.push_back(news);
    }
}

async fn receive(connection: &mut Option<Connection>) -> FromConnection {
    match connection {
        Some(connection) => connection.receive().await,
        None => std::future::pending().await,
    }
}

impl Options {
    fn keep_alive(&self) -> Duration {
        Duration::from_secs(self.keep_alive_secs.max(KEEP_ALIVE_MIN_SECS).into())
    }
}
