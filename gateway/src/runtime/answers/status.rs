//! How the gateway does: its endpoints, links and disk, with their counters.

use serde_json::{Value as Json, json};
use tokio::sync::oneshot;
use ucifi_adapters::lorawan::ForwarderId;
use ucifi_adapters::lorawan::forwarders::ForwarderStatistics;
use ucifi_adapters::lorawan::io::Statistics;
use ucifi_adapters::modbus::{Statistics as BusStatistics, UnitStatistics};
use ucifi_core::{EndpointStatus, Totals};

use super::super::brokers::BrokerStatus;
use super::super::buses::BusStatus;
use super::super::clock::now;
use super::super::engine::Engine;
use super::super::field::FieldStatus;
use super::super::radio::{RadioStatus, SocketState};
use super::millis;
use crate::control::Reply;
use crate::store::Health;

/// Buses and brokers tell their counters by themselves, so this reply is put together beside the event loop.
pub(super) fn status(engine: &Engine, reply: oneshot::Sender<Reply>) {
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
