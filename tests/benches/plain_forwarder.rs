//! A packet forwarder and devices as plain as can be, so that the gateway's own time is what is seen.
//!
//! The devices have their sessions (ABP), with the same keys, and numbers for addresses; nothing is lost on the air.

use std::net::SocketAddr;
use std::time::Instant;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use lorawan::creator::DataPayloadCreator;
use lorawan::keys::{AppSKey, NewSKey};
use lorawan::parser::FCtrl;
use serde_json::json;
use tokio::net::UdpSocket;

/// NwkSKey of every device.
pub(crate) const NWK_S_KEY: [u8; 16] = [8; 16];
/// AppSKey of every device.
pub(crate) const APP_S_KEY: [u8; 16] = [9; 16];

/// What a datagram is, by its fourth byte (Semtech's `PROTOCOL.TXT`, version 2).
pub(crate) const PUSH_ACK: u8 = 1;
const PUSH_DATA: u8 = 0;
const PULL_DATA: u8 = 2;
const PULL_ACK: u8 = 4;

/// One socket for as many forwarders as are wanted, and the uplink counter of each device.
pub(crate) struct PlainForwarder {
    socket: UdpSocket,
    /// When the counters of the forwarders began.
    begin: Instant,
    counters: Vec<u32>,
}

impl PlainForwarder {
    /// Connects so many forwarders to a gateway.
    pub(crate) async fn start(gateway: SocketAddr, forwarders: u8, devices: u32) -> anyhow::Result<Self> {
        let socket = UdpSocket::bind("127.0.0.1:0").await?;
        socket.connect(gateway).await?;
        let plain = Self {
            socket,
            begin: Instant::now(),
            counters: vec![0; devices as usize],
        };
        for forwarder in 0..forwarders {
            plain.say(forwarder, PULL_DATA, [0, 0], "").await?;
            anyhow::ensure!(plain.hear().await?[3] == PULL_ACK, "a PULL_DATA is acknowledged");
        }
        Ok(plain)
    }

    /// Sends the next uplink of a device, on port 10.
    pub(crate) async fn send(
        &mut self,
        forwarder: u8,
        device: u32,
        payload: &[u8],
        is_confirmed: bool,
    ) -> anyhow::Result<()> {
        let f_cnt = &mut self.counters[device as usize];
        let phy = uplink(device, *f_cnt, payload, is_confirmed);
        *f_cnt += 1;
        // It wraps.
        let tmst = self.begin.elapsed().as_micros() as u32;
        let rxpk = json!({"tmst": tmst, "freq": 868.1, "stat": 1, "modu": "LORA", "datr": "SF7BW125", "codr": "4/5",
            "rssi": -50, "lsnr": 9.0, "size": phy.len(), "data": STANDARD.encode(phy)});
        let report = json!({ "rxpk": [rxpk] }).to_string();
        self.say(forwarder, PUSH_DATA, [0, 1], &report).await
    }

    /// Waits for the next datagram.
    pub(crate) async fn hear(&self) -> anyhow::Result<Vec<u8>> {
        let mut buffer = [0; 1_000];
        let length = self.socket.recv(&mut buffer).await?;
        anyhow::ensure!(length >= 4, "a datagram has a header");
        Ok(buffer[..length].to_vec())
    }

    /// Sends a datagram: the token, what it is, and its body.
    pub(crate) async fn say(
        &self,
        forwarder: u8,
        identifier: u8,
        token: [u8; 2],
        body: &str,
    ) -> anyhow::Result<()> {
        let mut datagram = vec![2, token[0], token[1], identifier];
        datagram.extend([forwarder; 8]);
        datagram.extend(body.as_bytes());
        self.socket.send(&datagram).await?;
        Ok(())
    }
}

fn uplink(device: u32, f_cnt: u32, payload: &[u8], is_confirmed: bool) -> Vec<u8> {
    let mut creator = DataPayloadCreator::new();
    creator
        .set_uplink(true)
        .set_confirmed(is_confirmed)
        .set_dev_addr(&device.to_le_bytes())
        .set_fctrl(&FCtrl::new(0, true))
        .set_fcnt(f_cnt)
        .set_f_port(10);
    let (nwk_s_key, app_s_key) = (NewSKey::from(NWK_S_KEY), AppSKey::from(APP_S_KEY));
    creator
        .build(payload, &[], &nwk_s_key, &app_s_key)
        .expect("a short frame")
        .to_vec()
}
