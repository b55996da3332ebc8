//! An MQTT 3.1.1 broker and gadgets at it.
//!
//! [`Broker`] keeps sessions, queues, retained messages and wills, and sends again what was not acknowledged; packets
//! are coded by `rumqttc::mqttbytes`. It delivers at QoS 1 at most. [`tcp`] runs it on a socket, [`Link`] connects the
//! gateway's engine to it without one. [`remote`] takes a gadget to a broker that is not ours.

mod broker;
pub mod gadgets;
mod link;
pub mod remote;
mod session;
pub mod tcp;
#[cfg(test)]
mod tests;

pub use broker::{Acknowledged, Broker, ConnectionId, Output};
pub use link::Link;

use rumqttc::mqttbytes::QoS;

/// A message as it is published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publication {
    /// The topic.
    pub topic: String,
    /// The payload.
    pub payload: Vec<u8>,
    /// How it is delivered at best.
    pub qos: QoS,
    /// Whether it is kept for whoever subscribes later.
    pub retain: bool,
}

impl Publication {
    /// Returns a message of QoS 1 that is not kept.
    pub fn new(topic: impl Into<String>, payload: impl Into<Vec<u8>>) -> Self {
        Self {
            topic: topic.into(),
            payload: payload.into(),
            qos: QoS::AtLeastOnce,
            retain: false,
        }
    }

    /// Returns it as one that is kept.
    #[must_use]
    pub fn retained(mut self) -> Self {
        self.retain = true;
        self
    }
}

/// Something with a microcontroller that speaks MQTT; times count from when it was switched on.
pub trait Gadget: Send {
    /// Returns the topics that it listens to.
    fn listens(&self) -> Vec<String>;

    /// Returns what it says when it is switched on.
    fn begin(&mut self) -> Vec<Publication>;

    /// Returns what the broker says for it when it is gone; without a topic it says nothing.
    fn will(&self) -> Publication;

    /// Takes a message and returns what it says to that.
    fn handle_message(
        &mut self,
        topic: &str,
        payload: &[u8],
        elapsed: std::time::Duration,
    ) -> Vec<Publication>;

    /// Returns when it speaks next by itself.
    fn due(&self) -> std::time::Duration;

    /// Returns what it says by itself.
    fn handle_timeout(&mut self, elapsed: std::time::Duration) -> Vec<Publication>;
}
