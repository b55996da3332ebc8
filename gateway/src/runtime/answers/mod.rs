//! What people are told over the control socket.

mod status;
mod values;
mod writing;

use lwm2m_client::Timestamp;
use serde_json::{Value as Json, json};
use tokio::sync::{mpsc, oneshot};
use ucifi_adapters::lorawan::Sender;
use ucifi_adapters::mqtt::UnknownDevice;

use super::clock::now;
use super::engine::Engine;
use super::radio::Unknown;
use crate::control::{Call, Problem, ProblemKind, Reply, Request};
use crate::shell::quoted;
use crate::store::Health;
#[cfg(feature = "demo")]
pub(crate) use values::plain_json;

/// Answers a call, at once or when its command is finished.
pub(super) fn answer(engine: &mut Engine, call: Call) {
    let Call {
        request,
        reply,
        lines,
    } = call;
    let answered = match request {
        Request::Status {} => return status::status(engine, reply),
        Request::Devices {} => Ok(values::devices(engine)),
        Request::Unknown {} => return unknown(engine, reply),
        Request::Trace { device } => trace(engine, &device, lines),
        Request::Read { device, target } => values::read(engine, &device, target.as_deref()),
        Request::Write {
            device,
            target,
            value,
        } => match writing::write(engine, &device, &target, &value) {
            Ok(id) => return engine.commands.wait(id, reply),
            Err(problem) => Err(problem),
        },
        Request::Exec {
            device,
            target,
            arguments,
        } => match writing::exec(engine, &device, &target, &arguments) {
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
    values::values(engine, device)?;
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
    let (device, heard, add) = match sender {
        Sender::Joining { dev_eui, join_eui } => (
            dev_eui.to_string(),
            format!("join with JoinEUI {join_eui}"),
            Some(format!("--dev-eui {dev_eui} --join-eui {join_eui} --app-key -")),
        ),
        Sender::Address(dev_addr) => (
            dev_addr.to_string(),
            "uplink of a DevAddr without session".to_owned(),
            None,
        ),
        Sender::Device(dev_eui) => (dev_eui.to_string(), "uplink".to_owned(), None),
    };
    json!({
        "link": "lorawan",
        "device": device,
        "heard": heard,
        "add": add,
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
        "add": format!("--broker {broker} --topic {}", quoted(&device.device)),
        "count": device.messages,
        "age_ms": millis(age),
    })
}

fn deregister(engine: &mut Engine, device: Option<&str>) -> Result<Json, Problem> {
    if let Some(device) = device {
        values::values(engine, device)?;
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
