//! `[lorawan]` and `[[uplink]]`: what holds for the device, and what it sends on which port.

use ucifi_core::field::{DeviceClass, LoRaWanTraits};

use super::payload::Context;
use super::{Draft, tables};
use crate::bytes::Endian;
use crate::document::Table;
use crate::expression::Scope;
use crate::limits::MAX_SOURCES;
use crate::payload::Payload;

const CLASSES: [(&str, DeviceClass); 2] = [("A", DeviceClass::A), ("C", DeviceClass::C)];

/// What holds for every uplink of the device.
pub(super) struct LoRaWan {
    pub(super) traits: LoRaWanTraits,
    endian: Option<Endian>,
}

impl LoRaWan {
    pub(super) fn endian(&self) -> Option<Endian> {
        self.endian
    }
}

impl Default for LoRaWan {
    fn default() -> Self {
        Self {
            traits: LoRaWanTraits {
                class: DeviceClass::A,
                rx2_data_rate: None,
                uplink_every_secs: 3600,
            },
            endian: None,
        }
    }
}

pub(super) fn read(table: &Table<'_>) -> LoRaWan {
    let default = LoRaWan::default();
    let class = table.require("class").and_then(|item| item.one_of(&CLASSES));
    let every = table.require("uplink_every_secs");
    let lorawan = LoRaWan {
        traits: LoRaWanTraits {
            class: class.unwrap_or(default.traits.class),
            rx2_data_rate: table.get("rx2_data_rate").and_then(|item| item.integer(0..=5)),
            uplink_every_secs: every
                .and_then(|item| item.integer(1..=31_622_400))
                .unwrap_or(default.traits.uplink_every_secs),
        },
        endian: table.get("endian").and_then(|item| item.one_of(&Endian::WORDS)),
    };
    table.finish();
    lorawan
}

impl<'d> Draft<'d> {
    /// Reads every `[[uplink]]` of a table.
    pub(super) fn read_uplinks(&mut self, table: &Table<'d>, scope: Scope) {
        for uplink in tables(table, "uplink") {
            if self.uplinks.len() >= MAX_SOURCES {
                uplink.error::<()>(format!("a profile has at most {MAX_SOURCES} uplinks"));
                return;
            }
            self.uplink(&uplink, scope);
        }
    }

    fn uplink(&mut self, table: &Table<'d>, scope: Scope) {
        let port_item = table.require("port");
        let port = port_item.and_then(|item| item.integer(1..=223_u8));
        let endian = match table.get("endian") {
            Some(item) => item.one_of(&Endian::WORDS),
            None => self.lorawan.endian,
        };
        let every_secs = table
            .get("every_secs")
            .and_then(|item| item.integer(0..=31_622_400))
            .unwrap_or(self.lorawan.traits.uplink_every_secs);
        let context = Context {
            scope,
            endian,
            every_ms: u64::from(every_secs) * 1000,
        };
        let payload = self.payload(table, context);
        table.finish();
        let (Some(item), Some(port)) = (port_item, port) else {
            return;
        };
        let takes_all = |known: &(u8, Payload)| {
            let (above, here) = (&known.1.bytes, &payload.bytes);
            let is_wider = above.start() <= here.start() && above.end() >= here.end();
            known.0 == port && known.1.when.is_none() && is_wider
        };
        if self.uplinks.iter().any(takes_all) {
            item.error_with_help::<()>(
                format!("an uplink above takes all that comes on port {port}"),
                "say when = { at = 0, equals = … } there, or say which lengths it has with min_bytes and max_bytes",
            );
            return;
        }
        self.uplinks.push((port, payload));
    }
}
