//! The forwarders in simulated time: real datagrams in and out.

mod hearing;
mod sending;

use std::net::SocketAddr;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use ucifi_core::Now;

use super::*;
use crate::lorawan::{DataRate, Purpose, Transmission, TxError, When, Window};

/// Returns the instant at which simulated time begins.
#[expect(
    clippy::disallowed_methods,
    reason = "an Instant can only be had from the clock; tests add to it"
)]
pub(super) fn start() -> Instant {
    static START: OnceLock<Instant> = OnceLock::new();
    *START.get_or_init(Instant::now)
}

const A: u8 = 0xa;
const B: u8 = 0xb;

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn id(forwarder: u8) -> ForwarderId {
    ForwarderId([forwarder; 8])
}

/// A host of its own for each forwarder.
fn host(forwarder: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, forwarder], 1_234))
}

/// The forwarders and a clock.
struct Site {
    forwarders: Forwarders,
    now: Instant,
}

impl Site {
    /// A site on which some forwarders are connected.
    fn with(connected: &[u8]) -> Self {
        Self::configured(Config::default(), connected)
    }

    fn configured(config: Config, connected: &[u8]) -> Self {
        let mut site = Self {
            forwarders: Forwarders::new(config, 7),
            now: start(),
        };
        for forwarder in connected {
            site.pull(*forwarder);
        }
        while site.forwarders.poll_event().is_some() {}
        site
    }

    /// Lets time pass, and does what is due on the way.
    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(due) = self.forwarders.poll_timeout().filter(|due| *due <= end) {
            self.now = due.max(self.now);
            self.forwarders.handle_timeout(self.now);
            assert!(
                self.forwarders.poll_timeout().is_none_or(|next| next > due),
                "it turns on the spot"
            );
        }
        self.now = end;
    }

    fn say(&mut self, from: SocketAddr, identifier: u8, forwarder: u8, body: &str) -> Option<[u8; 4]> {
        self.say_token([0x11, 0x22], from, identifier, forwarder, body)
    }

    fn say_token(
        &mut self,
        token: [u8; 2],
        from: SocketAddr,
        identifier: u8,
        forwarder: u8,
        body: &str,
    ) -> Option<[u8; 4]> {
        let mut bytes = vec![2, token[0], token[1], identifier];
        bytes.extend([forwarder; 8]);
        bytes.extend(body.as_bytes());
        let now = Now {
            instant: self.now,
            wall: None,
        };
        self.forwarders.handle_datagram(from, &bytes, now)
    }

    fn pull(&mut self, forwarder: u8) {
        assert_eq!(
            self.say(host(forwarder), 2, forwarder, ""),
            Some([2, 0x11, 0x22, 4])
        );
    }

    /// A forwarder reports one frame; returns what the engine has to tell.
    fn push(&mut self, forwarder: u8, rxpk: Value) -> Vec<Event> {
        let body = json!({ "rxpk": [rxpk] }).to_string();
        assert_eq!(
            self.say(host(forwarder), 0, forwarder, &body),
            Some([2, 0x11, 0x22, 1])
        );
        self.events()
    }

    fn events(&mut self) -> Vec<Event> {
        std::iter::from_fn(|| self.forwarders.poll_event()).collect()
    }

    fn sent(&mut self) -> Vec<(u64, Sent)> {
        let outcome = |event| match event {
            Event::Sent(id, sent) => Some((id.0, sent)),
            Event::Heard(_) | Event::Connected(_) | Event::Lost(_) => None,
        };
        self.events().into_iter().filter_map(outcome).collect()
    }

    fn counters(&self, forwarder: u8) -> Counters {
        self.forwarders.statistics(self.now).forwarders[&id(forwarder)].counters
    }
}

fn rxpk(phy: &[u8], tmst: u32, snr: f64) -> Value {
    json!({"tmst": tmst, "freq": 868.1, "stat": 1, "modu": "LORA", "datr": "SF7BW125", "rssi": -60, "lsnr": snr,
        "data": STANDARD.encode(phy)})
}
