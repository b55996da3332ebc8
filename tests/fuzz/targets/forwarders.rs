//! A site of packet forwarders, one of which says anything at all.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use ucifi_adapters::lorawan::forwarders::{Config, Event, Forwarders, limits};
use ucifi_adapters::lorawan::{
    DataRate, ForwarderId, Purpose, Transmission, TransmissionId, When, Window, gwmp,
};
use ucifi_core::Now;

const EUI: [u8; 8] = [0xfe; 8];

fn at(instant: Instant) -> Now {
    Now { instant, wall: None }
}

fn datagram(identifier: u8, token: [u8; 2], body: &[u8]) -> Vec<u8> {
    let mut datagram = vec![2, token[0], token[1], identifier];
    datagram.extend(EUI);
    datagram.extend(body);
    datagram
}

fn command() -> Transmission {
    let window = Window {
        forwarder: ForwarderId(EUI),
        at: When::Soonest,
        frequency_hz: 869_525_000,
        data_rate: DataRate::Dr3,
        power_dbm: 27,
    };
    Transmission {
        id: TransmissionId(1),
        phy: vec![0x60; 20],
        windows: vec![window],
        purpose: Purpose::Command,
    }
}

pub(super) fn site(bytes: &[u8]) {
    let now = Instant::now();
    let from = SocketAddr::from(([127, 0, 0, 1], 1_700));
    let mut site = Forwarders::new(Config::default(), 0);
    site.handle_datagram(from, &datagram(2, [0, 0], &[]), at(now));
    site.handle_transmission(command(), now);
    assert!(site.poll_transmit().is_some());
    site.handle_datagram(from, bytes, at(now));
    site.handle_timeout(now + Duration::from_secs(1));
    let mut outcomes = 0;
    while let Some(event) = site.poll_event() {
        match event {
            Event::Heard(frame) => {
                assert!((1..=limits::PHY_BYTES).contains(&frame.phy.len()));
                assert!(!frame.copies.is_empty());
            }
            Event::Sent(id, _) => {
                assert_eq!(id, TransmissionId(1));
                outcomes += 1;
            }
            Event::Connected(_) | Event::Lost(_) => {}
        }
    }
    assert_eq!(outcomes, 1);
}

pub(super) fn site_seeds() -> Vec<Vec<u8>> {
    let rxpk = br#"{"rxpk":[{"tmst":3512348611,"freq":866.349812,"stat":1,"modu":"LORA","datr":"SF7BW125","codr":"4/6",
        "rssi":-35,"lsnr":5.1,"size":32,"data":"-DS4CGaDCdG+48eJNM3Vai-zDpsR71Pn9CPA9uCON84",
        "rsig":[{"rssic":-40,"lsnr":6}]},{"data":"AQ=="}],"stat":{"rxnb":"2","rxok":1}}"#;
    let seeds = [
        datagram(0, [1, 2], rxpk),
        datagram(2, [1, 2], &[]),
        datagram(5, [0, 1], &[]),
        datagram(5, [0, 1], br#"{"txpk_ack":{"error":"COLLISION_PACKET"}}"#),
        datagram(5, [0, 1], br#"{"txpk_ack":{"warn":"TX_POWER","value":20}}"#),
    ];
    assert!(seeds.iter().all(|seed| gwmp::decode(seed).is_ok()));
    seeds.into()
}
