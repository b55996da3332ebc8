//! The whole gateway in simulated time, between a server and devices played by hand.

mod books;
mod bridge;
mod buffer;
mod commands;
mod configuration;
mod dated;
mod downlinks;
mod hostile;
mod losses;
mod notifications;
mod radio;
mod readings;
mod receipts;
mod removed;
mod repeats;
mod restarts;
mod saving;
mod servers;

use lwm2m_client::object::Model;

use crate::Config;
use crate::testing::{Meter, Relay, device, one_server};

/// The endpoint of the cabinet itself.
const CABINET: u32 = 0;
/// The endpoint of the meter, on unit 1.
const METER: u32 = 1;
/// The endpoint of the relay, on unit 2.
const RELAY: u32 = 2;

fn meter_and_relay(model: Model) -> Config {
    one_server(
        model,
        vec![
            device("meter-1", 1, Meter::new()),
            device("relay-1", 2, Relay::new()),
        ],
    )
}
