//! The body of a PULL_RESP: a frame to send, and how (section 6).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;

use crate::lorawan::{DataRate, When};

/// A frame to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Txpk<'a> {
    /// When.
    pub at: When,
    /// The frequency, in Hz.
    pub frequency_hz: u32,
    /// The radiated power (EIRP), in dBm.
    pub power_dbm: i8,
    /// The data rate.
    pub data_rate: DataRate,
    /// The PHYPayload.
    pub phy: &'a [u8],
}

#[derive(Serialize)]
struct Body {
    txpk: Written,
}

/// As it is written: in the order of the table in section 6.
#[derive(Serialize)]
struct Written {
    #[serde(skip_serializing_if = "Option::is_none")]
    imme: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tmst: Option<u32>,
    freq: f64,
    rfch: u8,
    powe: i8,
    modu: &'static str,
    datr: String,
    codr: &'static str,
    ipol: bool,
    size: usize,
    data: String,
    ncrc: bool,
}

impl Txpk<'_> {
    pub(super) fn encode(&self) -> Vec<u8> {
        let (imme, tmst) = match self.at {
            When::Soonest => (Some(true), None),
            When::Tmst(tmst) => (None, Some(tmst)),
        };
        let txpk = Written {
            imme,
            tmst,
            freq: f64::from(self.frequency_hz) / 1e6,
            // The chain that can send, and without which a forwarder refuses.
            rfch: 0,
            powe: self.power_dbm,
            modu: "LORA",
            datr: self.data_rate.to_string(),
            codr: "4/5",
            // Downlinks are sent with inverted polarization, so that only devices hear them ...
            ipol: true,
            size: self.phy.len(),
            data: STANDARD.encode(self.phy),
            // ... and without a CRC, so that no forwarder takes them for uplinks.
            ncrc: true,
        };
        serde_json::to_vec(&Body { txpk }).expect("numbers and texts are always JSON")
    }
}
