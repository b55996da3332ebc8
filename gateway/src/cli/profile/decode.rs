//! `profile decode`: what a frame says.

use serde_json::{Value as Json, json};
use ucifi_core::Profile;
use ucifi_core::field::{Frame, LoRaWanData, MqttMessage};
use ucifi_core::profile::{Decoded, Meaning, Sample};
use ucifi_profiles::{CompiledProfile, open_exchange};

use super::super::arguments::DecodeOptions;
use super::super::buffer::rfc3339;
use super::super::number;
use super::super::output::answer;
use super::super::table::{Align, Table};
use crate::exit::{ExitStatus, Failure};

pub(super) fn decode(profile: &CompiledProfile, options: &DecodeOptions) -> Result<(), Failure> {
    let frame = frame(profile, options)?;
    let meaning = profile.decode(&frame);
    let meaning = meaning.map_err(|e| Failure::new(ExitStatus::Failed, e.to_string()))?;
    let samples = meaning
        .samples
        .iter()
        .filter_map(|sample| json_of(profile, sample));
    let value = match meaning.is_online {
        Some(is_online) => json!({ "online": is_online, "values": samples.collect::<Vec<_>>() }),
        None => Json::Array(samples.collect()),
    };
    answer(options.options.json, &value, || text(profile, &meaning))
}

fn frame(profile: &CompiledProfile, options: &DecodeOptions) -> Result<Frame, Failure> {
    if let Some(f_port) = options.port {
        if profile.lorawan().is_none() {
            return Err(usage("this is no LoRaWAN device: leave --port out"));
        }
        let payload = hex(options)?;
        return Ok(Frame::LoRaWanData(LoRaWanData { f_port, payload }));
    }
    if let Some(topic) = &options.topic {
        let Some((topic, _)) = profile.topic(topic) else {
            let known: Vec<String> = profile.topics().iter().map(|known| known.topic.text()).collect();
            return Err(usage(&match known.as_slice() {
                [] => "this device has no topics: leave --topic out".to_owned(),
                known => format!("{topic} is none of its topics: {}", known.join(", ")),
            }));
        };
        let payload = options.content.join(" ").into_bytes();
        return Ok(Frame::MqttMessage(MqttMessage { topic, payload }));
    }
    if profile.lorawan().is_some() {
        return Err(usage("the port is missing: --port N"));
    }
    if !profile.topics().is_empty() {
        return Err(usage("the topic is missing: --topic TOPIC"));
    }
    exchange(&hex(options)?)
}

/// The request of a Modbus RTU read has 8 bytes, what follows is the response.
fn exchange(bytes: &[u8]) -> Result<Frame, Failure> {
    let (request, response) = bytes.split_at_checked(8).ok_or_else(|| {
        usage("fewer than 8 bytes: give the whole request and the whole response with their checksums")
    })?;
    open_exchange(request, response)
        .map(Frame::ModbusBlock)
        .map_err(|e| Failure::new(ExitStatus::Failed, e))
}

fn hex(options: &DecodeOptions) -> Result<Vec<u8>, Failure> {
    crate::hex::bytes(&options.content.concat()).ok_or_else(|| usage("not hex digits in pairs"))
}

fn usage(message: &str) -> Failure {
    Failure::new(ExitStatus::Usage, message.to_owned())
}

fn json_of(profile: &CompiledProfile, sample: &Sample) -> Option<Json> {
    let point = profile.points().get(usize::from(sample.point.0))?;
    let mut value = json!({
        "name": &*point.name,
        "path": point.path.to_string(),
        "value": shown(&sample.decoded),
        "unit": &*point.unit,
    });
    if let (Some(time), Some(value)) = (sample.measured, value.as_object_mut()) {
        value.insert("measured".to_owned(), rfc3339(time).into());
    }
    Some(value)
}

fn text(profile: &CompiledProfile, meaning: &Meaning) -> String {
    let is_dated = meaning.samples.iter().any(|sample| sample.measured.is_some());
    let mut columns = vec![
        ("name", Align::Left),
        ("path", Align::Left),
        ("value", Align::Right),
        ("unit", Align::Left),
    ];
    if is_dated {
        columns.push(("measured", Align::Left));
    }
    let mut table = Table::new(&columns);
    for sample in &meaning.samples {
        let Some(point) = profile.points().get(usize::from(sample.point.0)) else {
            continue;
        };
        let mut row = vec![
            point.name.to_string(),
            point.path.to_string(),
            shown(&sample.decoded),
            number::unit(&point.unit).to_owned(),
        ];
        if is_dated {
            row.push(sample.measured.map(rfc3339).unwrap_or_default());
        }
        table.row(row);
    }
    match meaning.is_online {
        Some(true) => "the device is there\n".to_owned(),
        Some(false) => "the device is gone\n".to_owned(),
        None => table.to_string(),
    }
}

fn shown(decoded: &Decoded) -> String {
    match decoded {
        Decoded::Value(value) => number::of_value(value),
        Decoded::Absent => "absent".to_owned(),
        Decoded::Fault(reason) => format!("fault: {reason}"),
    }
}
