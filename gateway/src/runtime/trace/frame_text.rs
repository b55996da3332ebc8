//! Frames, readings and deliveries as lines for people.

use ucifi_core::field::{BlockContent, Delivery, Downlink, Frame, Freshness, Link, Table, WriteFunction};
use ucifi_core::profile::{Decoded, Sample};
use ucifi_core::{Profile, Uplink};
use ucifi_profiles::CompiledProfile;

/// The longest part of a payload that is shown.
const SHOWN_BYTES: usize = 512;

/// Returns a frame as people read it: the words of its protocol, the payload as text or as hex digits.
pub(super) fn uplink(uplink: &Uplink, profile: &CompiledProfile) -> String {
    let text = frame(&uplink.frame, &uplink.link, profile);
    let retained = match uplink.freshness {
        Freshness::Fresh => "",
        Freshness::Retained => " (retained: nobody knows since when)",
    };
    let radio = uplink.radio.as_ref().map_or_else(String::new, |radio| {
        let mhz = f64::from(radio.frequency_hz) / 1e6;
        let (rssi, snr) = (radio.rssi_dbm, radio.snr_db);
        let (data_rate, counter) = (radio.data_rate, radio.f_cnt_up);
        format!(", counter {counter}, {rssi} dBm, SNR {snr} dB, DR{data_rate}, {mhz} MHz")
    });
    format!("{text}{radio}{retained}")
}

/// Returns a reading: the name of the point, its resource and the value.
pub(super) fn sample(sample: &Sample, profile: &CompiledProfile) -> String {
    let Some(point) = profile.points().get(usize::from(sample.point.0)) else {
        return "a point that the profile does not have".to_owned();
    };
    let value = match &sample.decoded {
        Decoded::Value(value) => format!("{value} {}", point.unit),
        Decoded::Absent => "the device has no value".to_owned(),
        Decoded::Fault(reason) => format!("cannot be: {reason}"),
    };
    let at = sample
        .measured
        .map_or_else(String::new, |time| format!(", measured {time}"));
    format!("{} {} = {}{at}", point.path, point.name, value.trim_end())
}

/// Returns a command as it goes to the device.
pub(super) fn downlink(downlink: &Downlink) -> String {
    let text = match &downlink.frame {
        Frame::ModbusWrite(write) => {
            let function = match write.function {
                WriteFunction::SingleCoil | WriteFunction::MultipleCoils => "coils",
                WriteFunction::SingleRegister | WriteFunction::MultipleRegisters => "registers",
            };
            format!(
                "write {function} from {}: {}",
                write.address,
                content(&write.content)
            )
        }
        Frame::LoRaWanCommand(command) => {
            let confirmed = if command.confirmed {
                ", to be confirmed"
            } else {
                ""
            };
            format!(
                "port {}, {}{confirmed}",
                command.f_port,
                payload(&command.payload)
            )
        }
        Frame::MqttPublish(publish) => {
            let topic = match &downlink.link {
                Link::Mqtt { device, .. } => publish.topic.of(device),
                Link::Modbus { .. } | Link::LoRaWan { .. } => publish.topic.text(),
            };
            format!("{topic} {}", payload(&publish.payload))
        }
        Frame::ModbusBlock(_) | Frame::LoRaWanData(_) | Frame::MqttMessage(_) => "no command".to_owned(),
    };
    format!("{} by {text}", downlink.path)
}

/// Returns what became of it.
pub(super) fn delivery(delivery: &Delivery) -> String {
    match delivery {
        Delivery::Sent => "sent".to_owned(),
        Delivery::Confirmed(_) => "confirmed by the device".to_owned(),
        Delivery::Queued => "queued until the device listens".to_owned(),
        Delivery::Refused(refusal) => format!("refused: {} ({})", refusal.text, refusal.code),
        Delivery::Unconfirmed(why) => format!("not confirmed: {why}"),
        Delivery::Unreachable { retry_after_secs } => {
            format!("not sent, the device does not answer: tried again in {retry_after_secs} s")
        }
        Delivery::Denied => "not sent: writes = \"deny\"".to_owned(),
        Delivery::Expired => "not sent: it waited too long".to_owned(),
        Delivery::Superseded => "not sent: a later one took its place".to_owned(),
    }
}

fn frame(frame: &Frame, link: &Link, profile: &CompiledProfile) -> String {
    match frame {
        Frame::ModbusBlock(block) => {
            let table = match block.table {
                Table::Coils => "coils",
                Table::DiscreteInputs => "discrete inputs",
                Table::HoldingRegisters => "holding registers",
                Table::InputRegisters => "input registers",
            };
            format!("{table} from {}: {}", block.address, content(&block.content))
        }
        Frame::LoRaWanData(data) => format!("port {}, {}", data.f_port, payload(&data.payload)),
        Frame::MqttMessage(message) => {
            let topic = profile
                .topics()
                .get(usize::from(message.topic.0))
                .map(|subscription| &subscription.topic);
            let name = match (topic, link) {
                (Some(topic), Link::Mqtt { device, .. }) => topic.of(device),
                (Some(topic), Link::Modbus { .. } | Link::LoRaWan { .. }) => topic.text(),
                (None, _) => "unknown topic".to_owned(),
            };
            format!("{name} {}", payload(&message.payload))
        }
        Frame::ModbusWrite(_) | Frame::LoRaWanCommand(_) | Frame::MqttPublish(_) => "no uplink".to_owned(),
    }
}

fn content(content: &BlockContent) -> String {
    let parts: Vec<String> = match content {
        BlockContent::Bits(bits) => bits.iter().map(|bit| u8::from(*bit).to_string()).collect(),
        BlockContent::Words(words) => words.iter().map(|word| format!("{word:04x}")).collect(),
    };
    parts.join(" ")
}

/// Text where it is printable, else hex digits.
fn payload(bytes: &[u8]) -> String {
    let (shown, more) = match bytes.get(..SHOWN_BYTES) {
        Some(shown) => (shown, "..."),
        None => (bytes, ""),
    };
    match std::str::from_utf8(shown) {
        Ok(text) if !text.is_empty() && !text.contains(char::is_control) => format!("{text}{more}"),
        Ok(_) | Err(_) => {
            let digits: String = shown.iter().map(|byte| format!("{byte:02x}")).collect();
            format!("{} bytes {digits}{more}", bytes.len())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_is_shown_as_text_or_as_hex_and_never_without_end() {
        assert_eq!(payload(b"{\"a\":1}"), "{\"a\":1}");
        assert_eq!(payload(&[0x01, 0xff]), "2 bytes 01ff");
        assert_eq!(payload(b"a\x1b[2J"), "5 bytes 611b5b324a");
        let long = payload(&[b'x'; SHOWN_BYTES + 1]);
        assert_eq!(long.len(), SHOWN_BYTES + 3);
        assert!(long.ends_with("..."));
    }
}
