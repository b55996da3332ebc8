//! What is thrown at a cabinet.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::json;
use ucifi_core::EndpointId;
use ucifi_sim::cabinet::Cabinet;
use ucifi_sim::mqtt::Publication;
use ucifi_sim::radio::Channel;

use crate::mutate::mutate;

/// Every so many seconds as much comes at once as otherwise in so many.
const BURST: u32 = 60;
/// Bytes of noise on the line at most: at 9600 baud some 16 ms of it.
const NOISE: usize = 16;
/// The frequencies at which every device of EU868 joins.
const FREQUENCIES_HZ: [u32; 3] = [868_100_000, 868_300_000, 868_500_000];
/// A forwarder that nobody knows.
const STRANGER: [u8; 8] = [0xaa; 8];

/// A source of garbage.
pub(crate) struct Garbage {
    rng: StdRng,
    seconds: u32,
    datagrams: Vec<Vec<u8>>,
    requests: Vec<Vec<u8>>,
    topics: Vec<Vec<u8>>,
    payloads: Vec<Vec<u8>>,
}

impl Garbage {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            rng: StdRng::seed_from_u64(seed),
            seconds: 0,
            datagrams: datagrams(),
            requests: requests(),
            topics: ["script/messages", "tele/x/SENSOR", "a/b/c", "$SYS/x"]
                .map(|topic| topic.as_bytes().to_vec())
                .into(),
            payloads: [r#"{"a":1}"#, "ON", "[[[[", "1e999", "\u{fffd}"]
                .map(|payload| payload.as_bytes().to_vec())
                .into(),
        }
    }

    /// Throws what comes in a second.
    pub(crate) fn throw(&mut self, cabinet: &mut Cabinet, per_sec: u32) {
        self.seconds += 1;
        let count = if self.seconds.is_multiple_of(BURST) {
            per_sec * BURST
        } else {
            per_sec
        };
        for _ in 0..count {
            self.throw_datagrams(cabinet);
            self.throw_message(cabinet);
        }
        if count > 0 {
            self.make_noise(cabinet);
        }
    }

    fn throw_datagrams(&mut self, cabinet: &mut Cabinet) {
        let report = mutate(&self.datagrams, &mut self.rng);
        cabinet.inject_at_forwarders(self.rng.random_range(0..2), &report);
        let mut request = mutate(&self.requests, &mut self.rng);
        // What a server writes, creates or deletes is its right: no POST, PUT, DELETE or iPATCH.
        if let Some(code) = request.get_mut(1) {
            *code = if matches!(*code, 2 | 3 | 4 | 7) { 1 } else { *code };
        }
        let endpoints = u32::try_from(cabinet.gateway().endpoints().len()).expect("there are few");
        cabinet.inject(EndpointId(self.rng.random_range(0..=endpoints)), &request);
    }

    fn throw_message(&mut self, cabinet: &mut Cabinet) {
        let topic = if self.rng.random_bool(0.5) {
            self.topics[0].clone()
        } else {
            mutate(&self.topics, &mut self.rng)
        };
        let topic = String::from_utf8_lossy(&topic).replace(['+', '#', '\0'], "_");
        let mut message = Publication::new(topic, mutate(&self.payloads, &mut self.rng));
        message.retain = self.rng.random_bool(0.1);
        cabinet.publish(message);
    }

    /// Noise takes the line and the air from who has something to say; so there is little of it.
    fn make_noise(&mut self, cabinet: &mut Cabinet) {
        let now = cabinet.now().instant;
        let length = self.rng.random_range(1..=NOISE);
        let noise: Vec<u8> = (0..length).map(|_| self.rng.random()).collect();
        cabinet.line_mut().babble(&noise, now);
        let channel = Channel {
            frequency_hz: FREQUENCIES_HZ[self.rng.random_range(0..FREQUENCIES_HZ.len())],
            spreading_factor: 7,
            bandwidth_hz: 125_000,
        };
        let phy = phy_payload(&mut self.rng);
        if let Some(field) = cabinet.field_mut() {
            field.shout(phy, channel, now);
        }
    }
}

/// Returns a PHYPayload of any kind that no device here has sent.
fn phy_payload(rng: &mut StdRng) -> Vec<u8> {
    let kind = [0x00, 0x40, 0x80, 0xc0, 0xe0, 0x60][rng.random_range(0..6)];
    let length = if kind == 0 { 22 } else { rng.random_range(0..40) };
    std::iter::once(kind)
        .chain((0..length).map(|_| rng.random()))
        .collect()
}

/// Returns datagrams of a forwarder that nobody knows (Semtech's `PROTOCOL.TXT`, version 2).
fn datagrams() -> Vec<Vec<u8>> {
    let datagram = |identifier: u8, body: &str| {
        let mut datagram = vec![2, 0, 1, identifier];
        datagram.extend(STRANGER);
        datagram.extend(body.as_bytes());
        datagram
    };
    let rxpk = json!({"tmst": 1, "freq": 868.1, "stat": 1, "modu": "LORA", "datr": "SF7BW125", "codr": "4/5",
        "rssi": -50, "lsnr": 9.0, "size": 23, "data": STANDARD.encode([0x40; 23])});
    let report = json!({ "rxpk": [rxpk], "stat": {"rxnb": 1, "rxok": 1} }).to_string();
    vec![
        datagram(0, &report),
        datagram(2, ""),
        datagram(5, r#"{"txpk_ack":{"error":"TOO_LATE"}}"#),
    ]
}

/// Returns requests that a server may make: CON GET /3/0, with and without Observe, and an acknowledgement.
fn requests() -> Vec<Vec<u8>> {
    vec![
        vec![0x42, 0x01, 0x30, 0x39, 0x01, 0x02, 0xb1, b'3', 0x01, b'0'],
        vec![0x42, 0x01, 0x30, 0x3a, 0x01, 0x02, 0x60, 0x51, b'3', 0x01, b'0'],
        vec![0x60, 0x44, 0x30, 0x3b],
        vec![0x70, 0x00, 0x30, 0x3c],
    ]
}
