//! PUSH_DATA: what a forwarder has heard, and how it is (section 4).

use serde_json::{Map, Value};

use super::{DecodeError, lenient};
use crate::lorawan::DataRate;
use crate::lorawan::forwarders::limits;

/// The content of a PUSH_DATA.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PushData {
    /// The frames that arrived whole.
    pub received: Vec<Rxpk>,
    /// Frames with a wrong CRC, or without any.
    pub bad_crc: u32,
    /// Frames that say too little, are not LoRa, have no data rate of the region, or are too many for one datagram.
    pub unusable: u32,
    /// How the forwarder is.
    pub stat: Option<Stat>,
}

/// A frame that a forwarder has heard.
#[derive(Clone, Debug, PartialEq)]
pub struct Rxpk {
    /// The PHYPayload, 1 to 255 bytes.
    pub phy: Vec<u8>,
    /// The counter of the forwarder at the end of the reception, in microseconds.
    pub tmst: u32,
    /// The frequency, in Hz.
    pub frequency_hz: u32,
    /// The data rate.
    pub data_rate: DataRate,
    /// The signal strength, in dBm.
    pub rssi_dbm: f64,
    /// The signal to noise ratio, in dB.
    pub snr_db: f64,
}

/// What a forwarder counted since the last time it said so.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stat {
    /// Frames heard (`rxnb`).
    pub heard: u32,
    /// Frames among them with a right CRC (`rxok`).
    pub crc_ok: u32,
    /// Frames that it was told to send (`dwnb`).
    pub told_to_send: u32,
    /// Frames that it has sent (`txnb`).
    pub sent: u32,
}

impl Stat {
    /// Returns how many frames came with a wrong CRC or none.
    pub const fn crc_errors(&self) -> u32 {
        self.heard.saturating_sub(self.crc_ok)
    }
}

pub(super) fn decode(body: &[u8]) -> Result<PushData, DecodeError> {
    let object = lenient::object(body)?;
    let mut push_data = PushData {
        stat: object.get("stat").and_then(Value::as_object).map(stat),
        ..PushData::default()
    };
    for (index, item) in object
        .get("rxpk")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .enumerate()
    {
        match item.as_object() {
            Some(item) if index < limits::RXPK_PER_DATAGRAM && !is_crc_ok(item) => push_data.bad_crc += 1,
            Some(item) if index < limits::RXPK_PER_DATAGRAM => match rxpk(item) {
                Some(rxpk) => push_data.received.push(rxpk),
                None => push_data.unusable += 1,
            },
            Some(_) | None => push_data.unusable += 1,
        }
    }
    Ok(push_data)
}

/// Says whether the frame arrived whole; one of which nothing is said is judged by its MIC.
fn is_crc_ok(item: &Map<String, Value>) -> bool {
    lenient::number(item, "stat").is_none_or(|stat| stat == 1.0)
}

fn rxpk(item: &Map<String, Value>) -> Option<Rxpk> {
    let is_lora = lenient::text(item, "modu").is_none_or(|modulation| modulation == "LORA");
    let phy = lenient::bytes(item, "data")?;
    if !is_lora || phy.is_empty() || phy.len() > limits::PHY_BYTES {
        return None;
    }
    let (rssi_dbm, snr_db) = signal(item)?;
    Some(Rxpk {
        phy,
        tmst: lenient::unsigned(item, "tmst")?,
        frequency_hz: frequency_hz(lenient::number(item, "freq")?)?,
        data_rate: data_rate(lenient::text(item, "datr")?)?,
        rssi_dbm,
        snr_db,
    })
}

/// Returns the strength of the signal and its ratio to the noise, at the best antenna where there are several.
fn signal(item: &Map<String, Value>) -> Option<(f64, f64)> {
    let antennas = item.get("rsig").and_then(Value::as_array);
    let best = antennas
        .into_iter()
        .flatten()
        .filter_map(|antenna| strength(antenna.as_object()?))
        .max_by(|a, b| a.1.total_cmp(&b.1).then(a.0.total_cmp(&b.0)));
    best.or_else(|| strength(item))
}

fn strength(object: &Map<String, Value>) -> Option<(f64, f64)> {
    let rssi = ["rssi", "rssic", "rssis"]
        .into_iter()
        .find_map(|name| lenient::number(object, name))?;
    Some((rssi, lenient::number(object, "lsnr")?))
}

fn frequency_hz(megahertz: f64) -> Option<u32> {
    let hertz = (megahertz * 1e6).round();
    // Within the range of the type.
    (1.0..=f64::from(u32::MAX))
        .contains(&hertz)
        .then_some(hertz as u32)
}

/// Decodes "SF12BW125".
fn data_rate(text: &str) -> Option<DataRate> {
    let (spreading_factor, bandwidth_khz) = text.strip_prefix("SF")?.split_once("BW")?;
    DataRate::from_modulation(spreading_factor.parse().ok()?, bandwidth_khz.parse().ok()?)
}

fn stat(object: &Map<String, Value>) -> Stat {
    let count = |name| lenient::unsigned(object, name).unwrap_or_default();
    Stat {
        heard: count("rxnb"),
        crc_ok: count("rxok"),
        told_to_send: count("dwnb"),
        sent: count("txnb"),
    }
}
