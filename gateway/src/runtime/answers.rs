//! What people are told over the control socket.

use lwm2m_client::object::ResourceDefinition;
use lwm2m_client::{Path, Timestamp, Value, ValueType};
use serde_json::{Value as Json, json};
use tokio::sync::{mpsc, oneshot};
use ucifi_adapters::lorawan::forwarders::ForwarderStatistics;
use ucifi_adapters::lorawan::io::Statistics;
use ucifi_adapters::lorawan::{ForwarderId, Sender};
use ucifi_adapters::modbus::{Statistics as BusStatistics, UnitStatistics};
use ucifi_adapters::mqtt::UnknownDevice;
use ucifi_core::{CommandError, CommandId, DeviceStatus, EndpointStatus, PointValue, Quality, Totals};
use ucifi_profiles::document::nearest;

use super::brokers::BrokerStatus;
use super::buses::BusStatus;
use super::clock::now;
use super::commands;
use super::engine::Engine;
use super::field::FieldStatus;
use super::radio::{RadioStatus, SocketState, Unknown};
use crate::control::{Call, Problem, ProblemKind, Reply, Request};
use crate::store::Health;

/// Answers a call, at once or when its command is finished.
pub(super) fn answer(engine: &mut Engine, call: Call) {
    let Call {
        request,
        reply,
        lines,
    } = call;
    let answered = match request {
        Request::Status {} => return status(engine, reply),
        Request::Devices {} => Ok(devices(engine)),
        Request::Unknown {} => return unknown(engine, reply),
        Request::Trace { device } => trace(engine, &device, lines),
        Request::Read { device, target } => read(engine, &device, target.as_deref()),
        Request::Write {
            device,
            target,
            value,
        } => match write(engine, &device, &target, &value) {
            Ok(id) => return engine.commands.wait(id, reply),
            Err(problem) => Err(problem),
        },
        Request::Exec {
            device,
            target,
            arguments,
        } => match exec(engine, &device, &target, &arguments) {
            Ok(id) => return engine.commands.wait(id, reply),
            Err(problem) => Err(problem),
        },
        Request::Deregister { device } => deregister(engine, device.as_deref()),
        Request::DropOlder {
            before_unix_ms,
            server,
        } => return drop_older(engine, before_unix_ms, server.as_deref(), reply),
    };
    // Who asked may have gone away.
    reply.send(answered.map_or_else(Reply::Error, Reply::Ok)).ok();
}

/// Drops readings in memory at once, and answers when the disk has done so too; nothing while it cannot.
fn drop_older(engine: &mut Engine, before_unix_ms: i64, server: Option<&str>, reply: oneshot::Sender<Reply>) {
    if let Health {
        statistics: None,
        buffer_failure: Some(reason),
        ..
    } = engine.health.now()
    {
        let message = format!("the buffer cannot be opened, nothing is dropped: {reason}");
        let problem = Problem::new(ProblemKind::Refused, message);
        // Who asked may have gone away.
        reply.send(Reply::Error(problem)).ok();
        return;
    }
    let dropped = |engine: &Engine| -> u64 {
        let endpoints = engine.gateway.endpoints();
        endpoints.iter().map(|endpoint| endpoint.totals.dropped).sum()
    };
    let before = dropped(engine);
    let than = Timestamp::from_unix_ms(before_unix_ms);
    engine.gateway.drop_older(than, server, now());
    let count = dropped(engine).saturating_sub(before);
    engine.drops.wait(count, reply);
}

/// Lets whoever asks watch a device from here on.
fn trace(engine: &mut Engine, device: &str, lines: Option<mpsc::Sender<Json>>) -> Result<Json, Problem> {
    values(engine, device)?;
    let Some(lines) = lines else {
        return Err(Problem::new(ProblemKind::BadRequest, "nobody takes the lines"));
    };
    let endpoints = engine.gateway.endpoints();
    let configured = engine.configured(device).cloned();
    if !engine
        .traces
        .watch(device, configured.as_ref(), &endpoints, lines)
    {
        return Err(Problem::new(ProblemKind::Busy, "too many watch already"));
    }
    Ok(json!({ "device": device }))
}

/// What was heard is known to the tasks of the field side, so this is put together beside the event loop.
fn unknown(engine: &Engine, reply: oneshot::Sender<Reply>) {
    let brokers = engine.field.brokers.unknown();
    let mut heard: Vec<Json> = engine.field.radio.unknown().map(unknown_sender_json).collect();
    tokio::spawn(async move {
        for (broker, devices) in brokers {
            let devices = devices.await.unwrap_or_default();
            heard.extend(
                devices
                    .iter()
                    .map(|device| unknown_on_broker_json(&broker, device)),
            );
        }
        reply.send(Reply::Ok(json!({ "unknown": heard }))).ok();
    });
}

fn unknown_sender_json((sender, unknown): (&Sender, &Unknown)) -> Json {
    let age = now().instant.saturating_duration_since(unknown.heard.instant);
    let (device, heard) = match sender {
        Sender::Joining { dev_eui, join_eui } => {
            (dev_eui.to_string(), format!("join with JoinEUI {join_eui}"))
        }
        Sender::Address(dev_addr) => (
            dev_addr.to_string(),
            "uplink of a DevAddr without session".to_owned(),
        ),
        Sender::Device(dev_eui) => (dev_eui.to_string(), "uplink".to_owned()),
    };
    json!({
        "link": "lorawan",
        "device": device,
        "heard": heard,
        "count": unknown.minutes,
        "age_ms": millis(age),
    })
}

fn unknown_on_broker_json(broker: &str, device: &UnknownDevice) -> Json {
    let age = now().instant.saturating_duration_since(device.heard.instant);
    json!({
        "link": format!("broker {broker}"),
        "device": &*device.device,
        "heard": device.topic,
        "count": device.messages,
        "age_ms": millis(age),
    })
}

/// Buses and brokers tell their counters by themselves, so this reply is put together beside the event loop.
fn status(engine: &Engine, reply: oneshot::Sender<Reply>) {
    let now = now();
    let endpoints: Vec<Json> = engine.gateway.endpoints().iter().map(endpoint_json).collect();
    let mut status = json!({
        "name": &**engine.gateway.name(),
        "version": env!("CARGO_PKG_VERSION"),
        "uptime_ms": millis(now.instant.saturating_duration_since(engine.started)),
        "clock_set": now.wall.is_some(),
        "endpoints": endpoints,
        "disk": health_json(&engine.health.now()),
        "watchers": engine.traces.watchers(),
    });
    let FieldStatus {
        buses,
        brokers,
        radio,
    } = engine.field.status();
    tokio::spawn(async move {
        let (mut of_buses, mut of_brokers) = (Vec::new(), Vec::new());
        for bus in buses {
            of_buses.push(bus_json(bus).await);
        }
        for broker in brokers {
            of_brokers.push(broker_json(broker).await);
        }
        status["buses"] = Json::Array(of_buses);
        status["brokers"] = Json::Array(of_brokers);
        status["lorawan"] = match radio {
            Some(radio) => radio_json(radio).await,
            None => Json::Null,
        };
        reply.send(Reply::Ok(status)).ok();
    });
}

fn endpoint_json(endpoint: &EndpointStatus) -> Json {
    json!({
        "server": &*endpoint.account,
        "uri": &*endpoint.server_uri,
        "endpoint": &*endpoint.name,
        "device": &*endpoint.device,
        "state": endpoint.state.name(),
        "location": endpoint.location,
        "last_error": endpoint.last_error,
        "observations": endpoint.observations,
        "queued": endpoint.queued,
        "waiting": endpoint.waiting,
        "buffered": endpoint.buffered,
        "oldest": endpoint.oldest.map(|time| time.to_string()),
        "totals": totals_json(&endpoint.totals),
        "delivered": endpoint.delivered,
        "dropped": endpoint.dropped,
    })
}

fn totals_json(totals: &Totals) -> Json {
    json!({
        "produced": totals.produced,
        "delivered_live": totals.delivered_live,
        "stored": totals.stored,
        "delivered_late": totals.delivered_late,
        "dropped": totals.dropped,
    })
}

/// How well readings and state are kept on disk.
fn health_json(health: &Health) -> Json {
    let buffer = health.statistics.map(|statistics| {
        json!({
            "file_bytes": statistics.file_bytes,
            "live_bytes": statistics.live_bytes,
            "segments": statistics.segments,
            "commits": statistics.commits,
            "written_bytes": statistics.written_bytes,
        })
    });
    json!({
        "buffer": buffer,
        "buffer_failure": health.buffer_failure,
        "state_failure": health.state_failure,
    })
}

/// Waits for counters that are under way; none where nobody could be asked.
async fn counted<T>(under_way: Option<oneshot::Receiver<T>>) -> Option<T> {
    under_way?.await.ok()
}

async fn bus_json(bus: BusStatus) -> Json {
    let statistics = counted(bus.statistics).await;
    let mut told = json!({ "name": &*bus.name, "port": bus.port, "state": bus.state.describe() });
    if let (Some(statistics), Some(object)) = (statistics, told.as_object_mut()) {
        object.extend(statistics_json(&statistics));
    }
    told
}

async fn radio_json(radio: RadioStatus) -> Json {
    let statistics = counted(radio.statistics).await;
    let state = match radio.state {
        SocketState::Opening => "opening".to_owned(),
        SocketState::Open(address) => format!("listening on {address}"),
        SocketState::Closed(reason) => format!("closed: {reason}"),
    };
    let Some(Statistics {
        network, forwarders, ..
    }) = statistics
    else {
        return json!({ "state": state, "forwarders": [] });
    };
    let refused: u64 = network.refused.values().sum();
    let all = forwarders
        .forwarders
        .iter()
        .map(forwarder_json)
        .collect::<Vec<_>>();
    json!({
        "state": state,
        "forwarders": all,
        "frames": network.frames,
        "uplinks": network.uplinks,
        "repeats": network.repeats,
        "joins": network.joins,
        "unknown": network.unknown,
        "refused": refused,
        "answers": network.answers,
        "answers_missed": network.answers_missed,
        "commands": network.commands,
        "on_air": network.on_air,
        "not_sent": network.not_sent,
        "unwelcome": forwarders.unwelcome,
        "undecodable": forwarders.undecodable,
    })
}

fn forwarder_json((id, forwarder): (&ForwarderId, &ForwarderStatistics)) -> Json {
    json!({
        "eui": id.to_string(),
        "address": forwarder.address.map(|address| address.to_string()),
        "heard_age_ms": millis(forwarder.heard_ago),
        "frames": forwarder.counters.frames,
        "crc_errors": forwarder.counters.crc_errors,
        "sent": forwarder.counters.sent,
        "refused": forwarder.counters.refused,
        "unanswered": forwarder.counters.unanswered,
    })
}

async fn broker_json(broker: BrokerStatus) -> Json {
    let statistics = counted(broker.statistics).await;
    let told = statistics.map(|statistics| statistics.broker).unwrap_or_default();
    json!({
        "name": &*broker.name,
        "uri": broker.uri,
        "state": broker.state.describe(),
        "connections": told.connections,
        "sessions_resumed": told.sessions_resumed,
        "messages": told.messages,
        "acknowledged": told.acknowledged,
        "unsettled": told.unsettled,
        "repeated": told.repeated,
        "retained": told.retained,
        "unmatched": told.unmatched,
        "too_big": told.too_big,
        "dropped": told.dropped,
        "published": told.published,
        "publishes_refused": told.publishes_refused,
        "publishes_unconfirmed": told.publishes_unconfirmed,
        "subscriptions_refused": told.subscriptions_refused,
    })
}

fn statistics_json(statistics: &BusStatistics) -> serde_json::Map<String, Json> {
    let sum = |of: fn(&UnitStatistics) -> u64| statistics.units.values().map(of).sum::<u64>();
    let load: f64 = statistics
        .units
        .keys()
        .map(|unit| statistics.busy_share(*unit))
        .sum();
    let units: Vec<Json> = statistics
        .units
        .iter()
        .map(|(unit, s)| unit_json(*unit, s))
        .collect();
    let all = [
        ("load_percent", json!((load * 1_000.0).round() / 10.0)),
        ("requests", json!(sum(|s| s.requests))),
        ("ok", json!(sum(|s| s.ok))),
        ("timeouts", json!(sum(|s| s.timeouts))),
        ("crc_errors", json!(sum(|s| s.crc_errors))),
        ("exceptions", json!(sum(|s| s.exceptions))),
        ("late_discarded", json!(sum(|s| s.late_discarded))),
        ("foreign_frames", json!(statistics.bus.foreign_frames)),
        ("garbage_bytes", json!(statistics.bus.garbage_bytes)),
        ("connections", json!(statistics.bus.connections)),
        ("commands_dropped", json!(statistics.bus.commands_dropped)),
        ("units", Json::Array(units)),
    ];
    all.into_iter()
        .map(|(key, value)| (key.to_owned(), value))
        .collect()
}

fn unit_json(unit: u8, statistics: &UnitStatistics) -> Json {
    json!({
        "unit": unit,
        "requests": statistics.requests,
        "ok": statistics.ok,
        "timeouts": statistics.timeouts,
        "crc_errors": statistics.crc_errors,
        "exceptions": statistics.exceptions,
        "late_discarded": statistics.late_discarded,
        "turnaround_ms": millis(statistics.turnaround),
        "turnaround_max_ms": millis(statistics.turnaround_max),
    })
}

fn devices(engine: &Engine) -> Json {
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

fn read(engine: &Engine, device: &str, target: Option<&str>) -> Result<Json, Problem> {
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

fn values(engine: &Engine, device: &str) -> Result<Vec<PointValue>, Problem> {
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

fn no_value(device: &str, target: &str, values: &[PointValue]) -> Problem {
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

fn write(engine: &mut Engine, device: &str, target: &str, text: &str) -> Result<CommandId, Problem> {
    let path = commanded(engine, device, target)?;
    let definition = definition(engine, path)?;
    let value = parse(definition, path, text)?;
    definition
        .check(&value)
        .map_err(|reason| Problem::new(ProblemKind::Refused, reason))?;
    engine
        .gateway
        .command(device, path, value, now())
        .map_err(command_problem)
}

fn exec(engine: &mut Engine, device: &str, target: &str, arguments: &str) -> Result<CommandId, Problem> {
    let path = resource(engine, device, target)?;
    if !definition(engine, path)?.operations.execute {
        return Err(Problem::new(
            ProblemKind::Refused,
            format!("{path} cannot be executed"),
        ));
    }
    engine
        .gateway
        .execute(device, path, arguments, now())
        .map_err(command_problem)
}

fn command_problem(error: CommandError) -> Problem {
    match error {
        CommandError::UnknownDevice(_) | CommandError::UnknownResource(_) => {
            Problem::new(ProblemKind::NotFound, error.to_string())
        }
        CommandError::Refused(outcome) => Problem::new(
            commands::kind_of(&outcome).unwrap_or(ProblemKind::Refused),
            outcome.to_string(),
        ),
    }
}

/// Returns the resource to write: a path means itself; the name of a point that only shows what a command did, as the
/// state of a relay, means the one command beside it.
fn commanded(engine: &Engine, device: &str, target: &str) -> Result<Path, Problem> {
    let path = resource(engine, device, target)?;
    if target.starts_with('/') {
        return Ok(path);
    }
    let commands = engine.gateway.commanded_beside(device, path);
    match commands.as_slice() {
        [only] => Ok(*only),
        several if several.contains(&path) => Ok(path),
        [] => Ok(path),
        several => Err(ambiguous(device, target, several)),
    }
}

fn ambiguous(device: &str, target: &str, paths: &[Path]) -> Problem {
    let paths: Vec<String> = paths.iter().map(Path::to_string).collect();
    let message = format!(
        "{target:?} of {device} may mean {}: name the path",
        paths.join(" or ")
    );
    Problem::new(ProblemKind::BadRequest, message)
}

/// Returns the resource that a path or the name of a point means.
fn resource(engine: &Engine, device: &str, target: &str) -> Result<Path, Problem> {
    let values = values(engine, device)?;
    let path = match target.parse::<Path>() {
        Ok(path) => path,
        Err(_) => named(device, target, &values)?,
    };
    if path.resource_id().is_none() {
        let message = format!("{path} is no resource: name one, as in /3416/0/1");
        return Err(Problem::new(ProblemKind::BadRequest, message));
    }
    Ok(path)
}

/// Returns the one resource of this name: points have names of their own, the registry's names may recur.
fn named(device: &str, name: &str, values: &[PointValue]) -> Result<Path, Problem> {
    let paths: Vec<Path> = values
        .iter()
        .filter(|value| *value.name == *name)
        .map(|value| value.path)
        .collect();
    match paths.as_slice() {
        [only] => Ok(*only),
        [] => Err(no_value(device, name, values)),
        several => Err(ambiguous(device, name, several)),
    }
}

fn definition(engine: &Engine, path: Path) -> Result<&ResourceDefinition, Problem> {
    let unknown = || {
        Problem::new(
            ProblemKind::NotFound,
            format!("no object has the resource {path}"),
        )
    };
    let (object, resource) = path.object_id().zip(path.resource_id()).ok_or_else(unknown)?;
    let object = engine.objects.latest(object).ok_or_else(unknown)?;
    object.resources.get(&resource).ok_or_else(unknown)
}

/// Reads a value as a person writes it: LwM2M's own text format, and the words and hex digits of people.
fn parse(definition: &ResourceDefinition, path: Path, text: &str) -> Result<Value, Problem> {
    let unfit = |expected: &str| {
        let message = format!(
            "{text:?} is no value for {path} ({}): {expected}",
            definition.name
        );
        Problem::new(ProblemKind::Refused, message)
    };
    let Some(value_type) = definition.value_type else {
        return Err(unfit("it has no value, it can only be executed"));
    };
    let value = match value_type {
        ValueType::Boolean => match text.to_lowercase().as_str() {
            "true" | "1" | "on" => Some(Value::Boolean(true)),
            "false" | "0" | "off" => Some(Value::Boolean(false)),
            _ => None,
        },
        ValueType::Integer => text.parse().ok().map(Value::Integer),
        ValueType::Unsigned => text.parse().ok().map(Value::Unsigned),
        ValueType::Float => text
            .parse()
            .ok()
            .filter(|v: &f64| v.is_finite())
            .map(Value::Float),
        ValueType::Time => text.parse().ok().map(Value::Time),
        ValueType::String => Some(Value::String(text.to_owned())),
        ValueType::Corelnk => Some(Value::Corelnk(text.to_owned())),
        ValueType::Opaque => crate::hex::bytes(text).map(Value::Opaque),
        ValueType::Objlnk => objlnk(text),
    };
    value.ok_or_else(|| unfit(&format!("expected {}", expected(value_type))))
}

fn objlnk(text: &str) -> Option<Value> {
    let (object, instance) = text.split_once(':')?;
    Some(Value::Objlnk(
        lwm2m_client::ObjectId(object.parse().ok()?),
        lwm2m_client::InstanceId(instance.parse().ok()?),
    ))
}

fn expected(value_type: ValueType) -> &'static str {
    match value_type {
        ValueType::Boolean => "true or false",
        ValueType::Integer => "an integer",
        ValueType::Unsigned => "an integer that is not negative",
        ValueType::Float => "a number",
        ValueType::Time => "seconds since 1970",
        ValueType::String | ValueType::Corelnk => "a text",
        ValueType::Opaque => "hex digits",
        ValueType::Objlnk => "object:instance",
    }
}

fn deregister(engine: &mut Engine, device: Option<&str>) -> Result<Json, Problem> {
    if let Some(device) = device {
        values(engine, device)?;
    }
    engine.gateway.deregister(None, device, now());
    let endpoints = engine.gateway.endpoints();
    let leaving = endpoints
        .iter()
        .filter(|endpoint| device.is_none_or(|device| *endpoint.device == *device));
    let names: Vec<&str> = leaving.map(|endpoint| &*endpoint.name).collect();
    Ok(json!({ "endpoints": names }))
}

fn millis(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
