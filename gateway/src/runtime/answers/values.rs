//! The devices and what they show.

use lwm2m_client::{Path, Value};
use serde_json::{Value as Json, json};
use ucifi_core::{DeviceStatus, PointValue, Quality};
use ucifi_profiles::document::nearest;

use super::super::clock::now;
use super::super::engine::Engine;
use crate::control::{Problem, ProblemKind};

/// Returns every device that is configured.
pub(super) fn devices(engine: &Engine) -> Json {
    let devices = engine.gateway.devices(now());
    let configured = devices.iter().filter(|device| engine.is_configured(&device.id));
    let devices: Vec<Json> = configured.map(device_json).collect();
    json!({ "devices": devices })
}

fn device_json(device: &DeviceStatus) -> Json {
    let instances: Vec<String> = device.instances.iter().map(Path::to_string).collect();
    let state = match device.reachable {
        Some(true) => "answers",
        Some(false) => "does not answer",
        None => "unknown",
    };
    json!({
        "id": &*device.id,
        "label": &*device.label,
        "profile": &*device.profile,
        "link": device.link.as_ref().map(ToString::to_string),
        "state": state,
        "unreachable_because": device.unreachable_because,
        "last_frame_age_ms": device.last_frame_age_ms,
        "frames": device.frames,
        "frames_retained": device.frames_retained,
        "frames_refused": device.frames_refused,
        "faults": device.faults,
        "instances": instances,
    })
}

/// Returns what a device shows, or the part of it that a path or the name of a point means.
pub(super) fn read(engine: &Engine, device: &str, target: Option<&str>) -> Result<Json, Problem> {
    let values = values(engine, device)?;
    let found: Vec<&PointValue> = match target {
        None => values.iter().collect(),
        Some(target) => match target.parse::<Path>() {
            Ok(path) => values.iter().filter(|value| path.contains(&value.path)).collect(),
            Err(_) => values.iter().filter(|value| *value.name == *target).collect(),
        },
    };
    if let (Some(target), true) = (target, found.is_empty()) {
        return Err(no_value(device, target, &values));
    }
    let values: Vec<Json> = found.into_iter().map(value_json).collect();
    Ok(json!({ "device": device, "values": values }))
}

/// Returns everything that a device shows.
pub(super) fn values(engine: &Engine, device: &str) -> Result<Vec<PointValue>, Problem> {
    if let Some(values) = engine.gateway.values(device, now()) {
        return Ok(values);
    }
    let devices = engine.gateway.devices(now());
    let known = devices.iter().map(|known| &*known.id);
    let message = match nearest(device, known) {
        Some(near) => format!("there is no device {device:?}, did you mean {near:?}?"),
        None => format!("there is no device {device:?}: see `ucifi-gateway devices`"),
    };
    Err(Problem::new(ProblemKind::NotFound, message))
}

/// Says that a device has nothing of this path or name.
pub(super) fn no_value(device: &str, target: &str, values: &[PointValue]) -> Problem {
    let message = match nearest(target, values.iter().map(|value| &*value.name)) {
        Some(near) if !target.starts_with('/') => {
            format!("{device} has no point {target:?}, did you mean {near:?}?")
        }
        Some(_) | None => format!("{device} has nothing at {target}: see `ucifi-gateway read {device}`"),
    };
    Problem::new(ProblemKind::NotFound, message)
}

fn value_json(value: &PointValue) -> Json {
    json!({
        "name": &*value.name,
        "path": value.path.to_string(),
        "value": value.value.as_ref().map(plain_json),
        "unit": &*value.unit,
        "time": value.time.map(|time| time.unix_ms() as f64 / 1_000.0),
        "age_ms": value.age_ms,
        "quality": value.quality.map(quality_name),
    })
}

fn quality_name(quality: Quality) -> &'static str {
    match quality {
        Quality::Fault => "fault",
        Quality::Stale => "stale",
        Quality::Derived => "derived",
        Quality::Good => "good",
    }
}

/// Returns a value as JSON has it; bytes as hex, links as text.
pub(crate) fn plain_json(value: &Value) -> Json {
    match value {
        Value::Integer(v) | Value::Time(v) => json!(v),
        Value::Unsigned(v) => json!(v),
        Value::Float(v) => json!(v),
        Value::Boolean(v) => json!(v),
        Value::String(v) | Value::Corelnk(v) => json!(v),
        Value::Opaque(_) | Value::Objlnk(..) => json!(value.to_string()),
    }
}
