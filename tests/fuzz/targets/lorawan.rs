//! A network server that hears anything at all, is asked anything, and is given anything for what it had saved.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use ucifi_adapters::lorawan::mac_command;
use ucifi_adapters::lorawan::{
    Activation, AirFrame, DataRate, DevAddr, Event, ForwarderId, Heard, Key, NetworkConfig, NetworkServer,
    NodeConfig, Sent,
};
use ucifi_core::Now;
use ucifi_core::field::{DevEui, DeviceClass, LoRaWanTraits};

/// Frames made by lora-packet 0.9.3 (npm).
const FRAMES: [&str; 4] = [
    "400403020180010001a694642615d6c3b582",
    "80040302010300000673070ae264d4f7e117d2c0",
    "0001010101010101010202020202020202030309b97b32",
    "a00403020180ff2a2a0af1a36a05d0125f885d881d49e1",
];

fn node(number: u8, activation: Activation) -> NodeConfig {
    NodeConfig {
        dev_eui: DevEui([number; 8]),
        activation,
        traits: LoRaWanTraits {
            class: DeviceClass::A,
            rx2_data_rate: Some(3),
            uplink_every_secs: 900,
        },
    }
}

/// Returns the devices that the frames are of.
fn nodes() -> Vec<NodeConfig> {
    let abp = |nwk_s_key, app_s_key| Activation::Abp {
        dev_addr: DevAddr(0x0102_0304),
        nwk_s_key: Key::new(nwk_s_key),
        app_s_key: Key::new(app_s_key),
    };
    let mut rising = [0; 16];
    rising.iter_mut().zip(1..).for_each(|(byte, value)| *byte = value);
    let mut falling = rising;
    falling.reverse();
    vec![
        node(1, abp([2; 16], [1; 16])),
        node(3, abp(rising, falling)),
        node(
            2,
            Activation::Otaa {
                app_key: Key::new(rising),
            },
        ),
    ]
}

fn hear(server: &mut NetworkServer, phy: &[u8], instant: Instant) {
    let frame = AirFrame {
        phy: phy.to_vec(),
        copies: vec![Heard {
            forwarder: ForwarderId([1; 8]),
            tmst: u32::MAX,
            frequency_hz: 868_100_000,
            data_rate: DataRate::Dr0,
            rssi_dbm: -120.0,
            snr_db: -20.0,
        }],
        received: Now { instant, wall: None },
    };
    server.handle_frame(&frame, instant);
}

fn run(saved: &BTreeMap<String, Vec<u8>>, frames: &[&[u8]]) {
    let mut now = Instant::now();
    let mut server = NetworkServer::new(NetworkConfig::default(), nodes(), saved, false, 1, now)
        .expect("three devices, two of them with one address");
    for phy in frames {
        hear(&mut server, phy, now);
        for _ in 0..4 {
            while let Some(event) = server.poll_event() {
                if let Event::Save(request) = event {
                    server.handle_saved(request.id, Ok(()), now);
                }
            }
            while let Some(transmission) = server.poll_transmission() {
                server.handle_sent(transmission.id, &Sent::OnAir, now);
            }
        }
        now += Duration::from_secs(2);
        server.handle_timeout(now);
    }
}

/// A frame, twice, since a device may repeat.
pub(super) fn frame(bytes: &[u8]) {
    run(&BTreeMap::new(), &[bytes, bytes]);
}

pub(super) fn frame_seeds() -> Vec<Vec<u8>> {
    FRAMES.iter().map(|text| unhex(text)).collect()
}

pub(super) fn mac_commands(bytes: &[u8]) {
    assert!(mac_command::read(bytes).len() <= bytes.len());
}

pub(super) fn mac_command_seeds() -> Vec<Vec<u8>> {
    vec![
        vec![0x02, 0x03, 7, 0x04, 0x05, 7, 0x06, 255, 20],
        vec![0x07, 3, 0x08, 0x09, 0x0a, 3, 0x0d],
    ]
}

/// The first byte says which value it is of which device.
pub(super) fn saved(bytes: &[u8]) {
    let Some((which, value)) = bytes.split_first() else {
        return;
    };
    let kind = ["nonces", "session", "queue"][usize::from(which % 3)];
    let dev_eui = DevEui([which / 3 % 3 + 1; 8]);
    let saved = BTreeMap::from([(format!("lorawan/{kind}/{dev_eui}"), value.to_vec())]);
    let frames = frame_seeds();
    let frames: Vec<&[u8]> = frames.iter().map(Vec::as_slice).collect();
    run(&saved, &frames);
}

pub(super) fn saved_seeds() -> Vec<Vec<u8>> {
    let mut session = vec![1, 1, 0, 4, 3, 2, 1];
    session.extend([2; 16]);
    session.extend([1; 16]);
    session.extend([0, 0, 0, 0, 3]);
    session.extend([0; 12]);
    session.push(0);
    let queue = vec![2, 1, 3, 88, 13, 0, 0, 1, 0, 60, 1, 0, 2, 1, 50];
    let nonces = vec![3, 1, 9, 0, 0, 0, 3, 3];
    vec![session, queue, nonces]
}

fn unhex(text: &str) -> Vec<u8> {
    let byte = |at: usize| u8::from_str_radix(&text[at..at + 2], 16).expect("hex");
    (0..text.len()).step_by(2).map(byte).collect()
}
