//! What is known of a device's radio by how it is heard: object 3412, LPWAN Communication.
//!
//! It can always be read and observed. As readings the facts go once in a while, because the air is never the same twice;
//! whether the device is heard at all goes at once.

use std::time::Instant;

use lwm2m_client::{InstanceId, ObjectId, ResourceId, Value};

use super::{Device, NewValue, News};
use crate::Now;
use crate::field::{DevEui, Link, Radio};
use crate::limits;
use crate::profile::PointClass;
use crate::reading::Quality;
use crate::tree::Key;

const OBJECT: ObjectId = ObjectId(3412);
const NETWORK_TYPE: Key = in_link(1);
const MAC_ADDRESS: Key = in_link(6);
const DATA_RATE: Key = in_link(10);
const FREQUENCY: Key = in_link(12);
const SIGNAL_TO_NOISE: Key = in_link(18);
const FAILURE: Key = in_link(19);
const SIGNAL_STRENGTH: Key = in_link(20);

/// What DR0 to DR7 of EU868 carry, in bytes a second: the indicative physical bit rates of LoRaWAN Regional Parameters
/// (RP002-1.0.4, EU863-870 data rates), 250 bit/s to 50 kbit/s.
const EU868_BYTES_PER_SEC: [i64; 8] = [31, 55, 122, 220, 391, 684, 1_375, 6_250];

/// When the facts last went as readings, and at which data rate.
pub(super) type Told = (Instant, u8);

/// Returns what is the same for good.
pub(super) fn constants(dev_eui: DevEui) -> [(Key, Value); 2] {
    [
        (NETWORK_TYPE, Value::String("LoRaWAN".to_owned())),
        (MAC_ADDRESS, Value::String(dev_eui.to_string())),
    ]
}

/// Says whether a resource is one of these facts.
pub(super) fn is_fact((object, ..): Key) -> bool {
    object == OBJECT
}

impl Device {
    /// Takes how a frame came through the air.
    pub(crate) fn handle_radio(&mut self, radio: &Radio, at: Now, news: &mut News) {
        let data_rate = EU868_BYTES_PER_SEC.get(usize::from(radio.data_rate)).copied();
        let facts = [
            (SIGNAL_STRENGTH, Some(Value::Float(radio.rssi_dbm))),
            (SIGNAL_TO_NOISE, Some(Value::Float(radio.snr_db))),
            (DATA_RATE, data_rate.map(Value::Integer)),
            (FREQUENCY, Some(Value::Float(f64::from(radio.frequency_hz)))),
        ];
        let is_told = self.radio_told.is_some_and(|(told, data_rate)| {
            data_rate == radio.data_rate
                && at.instant.saturating_duration_since(told) < limits::RADIO_TOLD_EVERY
        });
        if !is_told {
            self.radio_told = Some((at.instant, radio.data_rate));
        }
        for (key, value) in facts {
            // What the device measures of it by itself is better.
            let Some(value) = value.filter(|_| !self.points.iter().any(|point| point.key == key)) else {
                continue;
            };
            self.hold(key, value.clone(), Quality::Good, at.wall, at);
            if is_told {
                news.unowed.insert(key);
            } else {
                news.values.push(NewValue {
                    key,
                    value,
                    time: at.wall,
                    class: PointClass::Diagnostic,
                });
            }
        }
    }

    /// Notes whether a device on the radio is heard.
    pub(super) fn note_failure(&mut self, is_failing: bool, at: Now, news: &mut News) {
        if !matches!(self.link, Some(Link::LoRaWan { .. })) {
            return;
        }
        let before = self.tree.get(FAILURE).map(|held| held.value.clone());
        let value = Value::Boolean(is_failing);
        // That a device is heard for the first time is nothing to act upon.
        let class = match before {
            None if !is_failing => PointClass::Diagnostic,
            None | Some(_) => PointClass::Alarm,
        };
        self.hold(FAILURE, value.clone(), Quality::Good, at.wall, at);
        if before.as_ref() != Some(&value) {
            news.values.push(NewValue {
                key: FAILURE,
                value,
                time: at.wall,
                class,
            });
        }
    }
}

const fn in_link(resource: u16) -> Key {
    (OBJECT, InstanceId(0), ResourceId(resource), None)
}
