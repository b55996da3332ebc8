//! Gadgets as they are bought: a plug with Tasmota, a lamp behind zigbee2mqtt.

mod lamp;
mod plug;

pub use lamp::Zigbee2MqttLamp;
pub use plug::TasmotaPlug;
