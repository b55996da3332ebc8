//! Commands for scripted devices with a radio, each a number that was never given before, and what became of them.
//!
//! A command that is durably queued is told to its device whatever happens to the gateway, or a later one is.

use std::collections::BTreeMap;

use lwm2m_client::{Path, Value};
use ucifi_core::field::{Delivery, DownlinkId, LoRaWanCommand};
use ucifi_core::{CommandError, CommandId, Downlink, Frame, Link};

use super::Cabinet;
use super::scripted::{MARK, place_of};

/// The resource that is commanded: Set Point Value of the object Set Point.
pub(super) const SET_POINT: Path = Path::resource(3308, 0, 5900);

/// The port that a command goes to.
const F_PORT: u8 = 2;

/// What became of the commands.
#[derive(Debug, Default)]
pub(super) struct Orders {
    /// The number that was given last.
    number: u64,
    /// Those that the present start of the gateway has under way.
    under_way: BTreeMap<DownlinkId, (usize, u64)>,
    /// The last one of each device that was durably queued, and in which start that was.
    queued: BTreeMap<usize, (u64, u32)>,
    counters: OrderCounters,
}

/// What became of commands for devices with a radio.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OrderCounters {
    /// Those that were durably queued.
    pub queued: u64,
    /// Those that a device was told.
    pub told: u64,
    /// Those of them that an earlier start of the gateway had queued.
    pub told_after_restart: u64,
}

impl Orders {
    /// Takes note of a downlink that goes to the network server.
    pub(super) fn note(&mut self, downlink: &Downlink) {
        let (Link::LoRaWan { dev_eui }, Frame::LoRaWanCommand(command)) = (&downlink.link, &downlink.frame)
        else {
            return;
        };
        if let Some(number) = number_of(&command.payload) {
            let order = (place_of(dev_eui.0), number);
            self.under_way.insert(downlink.id, order);
        }
    }

    /// Takes note of what became of one.
    pub(super) fn handle_delivery(&mut self, id: DownlinkId, delivery: &Delivery, start: u32) {
        let Some((place, number)) = self.under_way.get(&id).copied() else {
            return;
        };
        if *delivery == Delivery::Queued {
            self.counters.queued += 1;
            self.queued.insert(place, (number, start));
        } else {
            self.under_way.remove(&id);
        }
    }

    /// Takes note of what a device was told.
    pub(super) fn handle_told(&mut self, place: usize, payload: &[u8], start: u32) {
        let Some(number) = number_of(payload) else { return };
        self.counters.told += 1;
        let queued = self.queued.get(&place);
        if let Some((_, of_start)) = queued.filter(|(queued, _)| *queued <= number).copied() {
            self.counters.told_after_restart += u64::from(of_start < start);
            self.queued.remove(&place);
        }
    }

    /// The gateway is gone, and with it the names of what was under way.
    pub(super) fn go_down(&mut self) {
        self.under_way.clear();
    }
}

/// Returns the frame that tells a device a number.
pub(super) fn command(number: f64) -> LoRaWanCommand {
    LoRaWanCommand {
        f_port: F_PORT,
        payload: [&MARK[..], &number.to_be_bytes()].concat(),
        confirmed: true,
    }
}

fn number_of(payload: &[u8]) -> Option<u64> {
    let number = payload.strip_prefix(&MARK)?.try_into().ok()?;
    Some(f64::from_be_bytes(number) as u64)
}

impl Cabinet {
    /// Tells a scripted device with a radio a number, as a person at the cabinet does.
    ///
    /// # Errors
    /// When it cannot be begun.
    pub fn order(&mut self, device: &str) -> Result<CommandId, CommandError> {
        self.orders.number += 1;
        let number = self.orders.number;
        self.command(device, SET_POINT, Value::Float(number as f64))
    }

    /// Returns what became of such commands.
    pub const fn order_counters(&self) -> OrderCounters {
        self.orders.counters
    }

    /// Returns how many devices were not told what is durably queued for them, nor anything later.
    pub fn untold_orders(&self) -> usize {
        self.orders.queued.len()
    }
}
