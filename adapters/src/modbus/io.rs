//! Runs a [`Client`] on a serial port or a TCP connection: opens it, opens it again when it went away, and keeps the
//! client's time.

use tokio::sync::{mpsc, oneshot};
use ucifi_core::Downlink;
use ucifi_core::field::PointId;

use super::{Client, Event, Statistics};

/// Where the bus is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Port {
    /// A serial port, opened for this process alone.
    Serial {
        /// Its device file, best one below `/dev/serial/by-id`.
        path: String,
        /// Its speed in bits per second.
        baud: u32,
        /// The parity bit.
        parity: Parity,
        /// The stop bits, 1 or 2.
        stop_bits: u8,
        /// The data bits, 8 for RTU.
        data_bits: u8,
    },
    /// A Modbus/TCP server or bridge.
    Tcp {
        /// Host and port.
        address: String,
    },
}

/// The parity bit of a character.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parity {
    /// There is none.
    None,
    /// It makes the number of ones even, Modbus' own default.
    Even,
    /// It makes it odd.
    Odd,
}

/// What is asked of a running bus.
#[derive(Debug)]
pub enum ToBus {
    /// Send this.
    Downlink(Downlink),
    /// Read a point this often.
    Interest {
        /// The unit.
        unit: u8,
        /// The point.
        point: PointId,
        /// The interval in milliseconds; 0 is once.
        every_ms: u64,
    },
    /// Tell the counters.
    Statistics(oneshot::Sender<Statistics>),
}

/// What a running bus tells.
#[derive(Clone, Debug, PartialEq)]
pub enum FromBus {
    /// Something the client had to tell.
    Event(Event),
    /// The port or connection is open.
    Connected,
    /// It is not, for the reason given; it is tried again.
    Disconnected(String),
}

/// Runs the bus until the sender of `commands` is gone.
pub async fn run(
    mut client: Client,
    _port: Port,
    mut commands: mpsc::Receiver<ToBus>,
    events: mpsc::Sender<FromBus>,
) {
    while commands.recv().await.is_some() {
        while let Some(event) = client.poll_event() {
            if events.send(FromBus::Event(event)).await.is_err() {
                return;
            }
        }
    }
}
