//! Frames that a device's profile cannot read go on as they are: object 3414, the uCIFI data bridge.

use std::collections::BTreeSet;
use std::sync::Arc;

use lwm2m_client::{InstanceId, ObjectId, ResourceId, Value};

use super::{Device, NewValue, News};
use crate::field::{Frame, Freshness, Link, Uplink};
use crate::limits;
use crate::output::Event;
use crate::profile::{DecodeError, PointClass};
use crate::tree::Key;

const OBJECT: ObjectId = ObjectId(3414);
const PAYLOAD: Key = in_bridge(1);
const DESCRIPTION: Key = in_bridge(9);

/// Returns the object that such frames of a device go to, if it may send any.
pub(super) fn object(link: Option<&Link>) -> Option<ObjectId> {
    match link? {
        Link::LoRaWan { .. } | Link::Mqtt { .. } => Some(OBJECT),
        // What a bus gives was asked for.
        Link::Modbus { .. } => None,
    }
}

/// Says whether a resource is filled by such a frame.
pub(super) fn is_bridged(key: Key) -> bool {
    [PAYLOAD, DESCRIPTION].contains(&key)
}

impl Device {
    /// Takes a frame that its profile cannot read: it is owed as it came, with where it came from.
    pub(crate) fn handle_unread(&mut self, error: &DecodeError, uplink: &Uplink) -> News {
        self.traffic.refused += 1;
        let mut news = News::default();
        news.events.push(Event::FrameRefused {
            device: Arc::clone(&self.id),
            reason: error.to_string(),
        });
        let bridged = self
            .bridged(uplink)
            .filter(|_| uplink.freshness == Freshness::Fresh);
        if let Some((payload, description)) = bridged {
            let at = uplink.received;
            let before = self.qualities([PAYLOAD].into_iter());
            for (key, value) in [(PAYLOAD, payload), (DESCRIPTION, description)] {
                self.hold(key, value.clone(), uplink.quality, at.wall, at);
                news.values.push(NewValue {
                    key,
                    value,
                    time: at.wall,
                    class: PointClass::Diagnostic,
                });
            }
            self.requalify(BTreeSet::from([PAYLOAD]), &before, at, &mut news);
        }
        news
    }

    /// Returns a frame's payload and where it came from, unless it is too long to go on.
    fn bridged(&self, uplink: &Uplink) -> Option<(Value, Value)> {
        let (payload, description) = match &uplink.frame {
            Frame::LoRaWanData(data) => (&data.payload, format!("LoRaWAN port {}", data.f_port)),
            Frame::MqttMessage(message) => {
                let subscription = self.profile.topics().get(usize::from(message.topic.0))?;
                let Link::Mqtt { device, .. } = &uplink.link else {
                    return None;
                };
                (
                    &message.payload,
                    format!("MQTT topic {}", subscription.topic.of(device)),
                )
            }
            Frame::ModbusBlock(_)
            | Frame::ModbusWrite(_)
            | Frame::LoRaWanCommand(_)
            | Frame::MqttPublish(_) => return None,
        };
        let fits = payload.len() <= limits::MAX_BRIDGED_BYTES;
        fits.then(|| (Value::Opaque(payload.clone()), Value::String(description)))
    }
}

const fn in_bridge(resource: u16) -> Key {
    (OBJECT, InstanceId(0), ResourceId(resource), None)
}
