//! The forwarder's side of its protocol, written apart from the gateway's (PROTOCOL.md of Lora-net/sx1302_hal).

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use serde_json::{Value, json};

use super::airwave::Channel;

const PUSH_DATA: u8 = 0;
const PUSH_ACK: u8 = 1;
const PULL_DATA: u8 = 2;
const PULL_RESP: u8 = 3;
const PULL_ACK: u8 = 4;
const TX_ACK: u8 = 5;

/// A frame as a forwarder reports it.
#[derive(Clone, Debug)]
pub(super) struct Report {
    pub(super) phy: Vec<u8>,
    pub(super) tmst: u32,
    pub(super) channel: Channel,
    pub(super) rssi_dbm: i32,
    pub(super) snr_db: f64,
}

/// What a forwarder has counted since it said so last.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Stat {
    pub(super) heard: u32,
    pub(super) crc_ok: u32,
    pub(super) told_to_send: u32,
    pub(super) sent: u32,
}

/// What a server says.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum FromServer {
    PushAck([u8; 2]),
    PullAck([u8; 2]),
    PullResp([u8; 2], Result<Order, &'static str>),
}

/// A frame to send.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Order {
    /// The counter at which; none at once.
    pub(super) tmst: Option<u32>,
    pub(super) channel: Channel,
    pub(super) power_dbm: i64,
    pub(super) phy: Vec<u8>,
}

pub(super) fn push_data(token: u16, id: [u8; 8], reports: &[Report], stat: Option<Stat>) -> Vec<u8> {
    let mut body = json!({});
    if !reports.is_empty() {
        body["rxpk"] = reports.iter().map(rxpk).collect();
    }
    if let Some(stat) = stat {
        body["stat"] = json!({"time": "2026-01-01 00:00:00 GMT", "rxnb": stat.heard, "rxok": stat.crc_ok,
            "rxfw": stat.crc_ok, "ackr": 100.0, "dwnb": stat.told_to_send, "txnb": stat.sent, "temp": 31.5});
    }
    datagram(PUSH_DATA, token.to_be_bytes(), id, body.to_string().as_bytes())
}

fn rxpk(report: &Report) -> Value {
    let Channel {
        frequency_hz,
        spreading_factor,
        bandwidth_hz,
    } = report.channel;
    json!({"jver": 1, "tmst": report.tmst, "chan": 2, "rfch": 1, "freq": f64::from(frequency_hz) / 1e6, "mid": 8,
        "stat": 1, "modu": "LORA", "datr": format!("SF{spreading_factor}BW{}", bandwidth_hz / 1000), "codr": "4/5",
        "rssis": report.rssi_dbm, "lsnr": report.snr_db, "foff": -613, "rssi": report.rssi_dbm,
        "size": report.phy.len(), "data": STANDARD.encode(&report.phy)})
}

pub(super) fn pull_data(token: u16, id: [u8; 8]) -> Vec<u8> {
    datagram(PULL_DATA, token.to_be_bytes(), id, &[])
}

pub(super) fn tx_ack(token: [u8; 2], id: [u8; 8], error: Option<&str>) -> Vec<u8> {
    let body = error.map(|error| json!({"txpk_ack": {"error": error}}).to_string());
    datagram(TX_ACK, token, id, body.unwrap_or_default().as_bytes())
}

fn datagram(identifier: u8, token: [u8; 2], id: [u8; 8], body: &[u8]) -> Vec<u8> {
    let mut datagram = vec![2, token[0], token[1], identifier];
    datagram.extend(id);
    datagram.extend(body);
    datagram
}

/// Decodes what a server says; none for what a forwarder does not know.
pub(super) fn decode(bytes: &[u8]) -> Option<FromServer> {
    let (&[2, first, second, identifier], body) = bytes.split_first_chunk()? else {
        return None;
    };
    let token = [first, second];
    match (identifier, body) {
        (PUSH_ACK, []) => Some(FromServer::PushAck(token)),
        (PULL_ACK, []) => Some(FromServer::PullAck(token)),
        (PULL_RESP, body) => Some(FromServer::PullResp(token, order(body))),
        _ => None,
    }
}

/// Decodes a frame to send, as strict as the reference implementation (`lora_pkt_fwd.c`, thread_down).
fn order(body: &[u8]) -> Result<Order, &'static str> {
    let body: Value = serde_json::from_slice(body).map_err(|_| "not JSON")?;
    let txpk = body.get("txpk").ok_or("no txpk")?;
    let number = |name: &str| txpk.get(name).and_then(Value::as_f64);
    let text = |name: &str| txpk.get(name).and_then(Value::as_str);
    let tmst = match (txpk.get("imme"), txpk.get("tmst")) {
        (Some(Value::Bool(true)), _) => None,
        (_, Some(tmst)) => Some(tmst.as_u64().and_then(|t| u32::try_from(t).ok()).ok_or("tmst")?),
        _ => return Err("neither imme nor tmst"),
    };
    let megahertz = number("freq").ok_or("freq")?;
    if txpk.get("rfch").and_then(Value::as_u64) != Some(0) {
        return Err("rfch");
    }
    if text("modu") != Some("LORA") || text("codr") != Some("4/5") {
        return Err("modu or codr");
    }
    if txpk.get("ipol") != Some(&Value::Bool(true)) || txpk.get("ncrc") != Some(&Value::Bool(true)) {
        return Err("ipol or ncrc");
    }
    let (spreading_factor, bandwidth_khz) = text("datr")
        .and_then(|datr| datr.strip_prefix("SF")?.split_once("BW"))
        .ok_or("datr")?;
    let data = text("data").ok_or("data")?;
    let phy = STANDARD_NO_PAD
        .decode(data.trim_end_matches('='))
        .map_err(|_| "data")?;
    if txpk.get("size").and_then(Value::as_u64) != Some(phy.len() as u64) {
        return Err("size");
    }
    Ok(Order {
        tmst,
        channel: Channel {
            // A frequency is positive and below 4 GHz.
            frequency_hz: (megahertz * 1e6).round() as u32,
            spreading_factor: spreading_factor.parse().map_err(|_| "datr")?,
            bandwidth_hz: bandwidth_khz.parse::<u32>().map_err(|_| "datr")? * 1000,
        },
        power_dbm: txpk.get("powe").and_then(Value::as_i64).ok_or("powe")?,
        phy,
    })
}
