//! LoRaWAN devices and the daemon: from the air to the server and back.

use std::net::{SocketAddr, UdpSocket};
use std::process::Stdio;
use std::time::Instant;

use lwm2m_client::Path;
use ucifi_sim::radio::io::{Running, start};
use ucifi_sim::radio::{Event, Field, Forwarder, NodeConfig, NodeEvent};

use crate::site::{PATIENCE, Site};
use crate::{path_of, program};

const LAMP: [u8; 8] = [0x70, 0xb3, 0xd5, 0x7e, 0xd0, 0, 0, 1];
const STRANGER: [u8; 8] = [0x70, 0xb3, 0xd5, 0x7e, 0xd0, 0, 0, 9];
const JOIN_EUI: [u8; 8] = [0x70, 0xb3, 0xd5, 0x7e, 0xd0, 0, 0, 0];
const APP_KEY: [u8; 16] = [
    0x2b, 0x7e, 0x15, 0x16, 0x28, 0xae, 0xd2, 0xa6, 0xab, 0xf7, 0x15, 0x88, 0x09, 0xcf, 0x4f, 0x3c,
];
const KEY: &str = "2B7E151628AED2A6ABF7158809CF4F3C";

/// The status of a luminaire at dusk (nasys/nas-codecs, test/ul20xx_1_1_x_uplink_decoder.test.js).
const STATUS: [u8; 27] = [
    0x01, 0xf3, 0x7f, 0x20, 0x5e, 0x82, 0x44, 0x32, 0x09, 0x16, 0x20, 0x07, 0x01, 0xd2, 0x02, 0x94, 0x55,
    0x04, 0x01, 0xfe, 0x50, 0x19, 0x00, 0x12, 0x50, 0x19, 0x00,
];

/// The same later, at another temperature of the controller.
fn status_at(celsius: u8) -> [u8; 27] {
    let mut status = STATUS;
    status[1] = status[1].wrapping_add(celsius);
    status[9] = celsius;
    status
}

const TEMPERATURE: Path = Path::resource(3303, 0, 5700);

/// A site with a lamp in the air.
struct Street {
    site: Site,
    field: Running,
}

impl Street {
    fn start() -> Self {
        let listen = free_port();
        let site = Site::start_with(&format!(
            "[lorawan]\nregion = \"EU868\"\nlisten = \"{listen}\"\nwrites = \"allow\"\n\n[[device]]\nid = \"lamp\"\n\
             profile = \"nas.ul20xx\"\ndev_eui = \"70-B3-D5-7E-D0-00-00-01\"\njoin_eui = \"70B3D57ED0000000\"\n\
             app_key = \"{KEY}\"\n"
        ));
        let now = Instant::now();
        let field = Field::new(1, now)
            .with_forwarder(Forwarder::new([0xaa; 8], 7, 0, now))
            .with_node(node(LAMP))
            .with_node(node(STRANGER));
        let field = site.runtime.block_on(start(field, listen)).unwrap();
        Self { site, field }
    }

    fn join(&self, dev_eui: [u8; 8]) {
        let order = move |field: &mut Field, now| field.join(dev_eui, now);
        self.site.runtime.block_on(self.field.handle.with(order)).unwrap();
    }

    fn send(&self, f_port: u8, payload: &[u8], is_confirmed: bool) {
        let payload = payload.to_vec();
        let order = move |field: &mut Field, now| field.send(LAMP, f_port, payload, is_confirmed, now);
        self.site.runtime.block_on(self.field.handle.with(order)).unwrap();
    }

    /// Waits until something happens to the lamp.
    fn wait_for(&mut self, wanted: impl Fn(&NodeEvent) -> bool) {
        let events = &mut self.field.events;
        let happened = async {
            while let Some(Event { dev_eui, event }) = events.recv().await {
                if dev_eui == LAMP && wanted(&event) {
                    return;
                }
            }
            panic!("the field has stopped");
        };
        let in_time = async { tokio::time::timeout(PATIENCE, happened).await };
        self.site.runtime.block_on(in_time).unwrap();
    }

    /// Lets the lamp join, again and again until it has: the first request may come before the forwarder is known.
    fn wait_until_joined(&mut self) {
        loop {
            self.join(LAMP);
            let joined = std::cell::Cell::new(false);
            self.wait_for(|event| {
                joined.set(matches!(event, NodeEvent::Joined));
                matches!(event, NodeEvent::Joined | NodeEvent::JoinFailed)
            });
            if joined.get() {
                return;
            }
        }
    }
}

fn node(dev_eui: [u8; 8]) -> NodeConfig {
    NodeConfig {
        dev_eui,
        join_eui: JOIN_EUI,
        app_key: APP_KEY,
        is_class_c: true,
        data_rate: 5,
        rx2_spreading_factor: Some(9),
    }
}

fn free_port() -> SocketAddr {
    UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

#[test]
fn a_lamp_joins_tells_how_it_is_and_is_switched_and_goes_on_after_a_kill() {
    let mut street = Street::start();
    street.wait_until_joined();
    street.send(23, &status_at(22), true);
    street.site.wait_for_value(TEMPERATURE);
    let clients = street.site.clients();
    let name = "urn:dev:eui64:70b3d57ed0000001";
    assert!(
        clients.iter().any(|client| client.endpoint == name),
        "{clients:?}"
    );

    let status = street.site.ask_json(&["status"]);
    assert!(status["lorawan"]["joins"].as_u64() >= Some(1), "{status}");
    assert_eq!(
        status["lorawan"]["forwarders"][0]["eui"], "AAAAAAAAAAAAAAAA",
        "{status}"
    );
    assert!(street.site.ask(&["status"]).1.contains("listening on 127.0.0.1"));

    let socket = street.site.socket();
    let mut writing = program(&["write", "lamp", "/3416/0/1", "75", "--socket", path_of(&socket)])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    street.wait_for(
        |event| matches!(event, NodeEvent::Told { f_port: 60, payload } if *payload == [0x01, 0xfe, 75]),
    );
    street.send(60, &[0x01, 0xfe, 75], false);
    assert_eq!(writing.wait().unwrap().code(), Some(0));

    street.site.kill();
    street.site.start_again();
    street.site.wait_for_log("packet forwarder is there");
    street.send(23, &status_at(23), false);
    street.site.wait_for_value(TEMPERATURE);
    let status = street.site.ask_json(&["status"]);
    assert_eq!(status["lorawan"]["joins"], 0, "{status}");
    assert_eq!(street.site.terminate(), Some(0));

    street.site.start_again();
    street.site.wait_for_log("packet forwarder is there");
    street.send(23, &status_at(24), false);
    street.site.wait_for_value(TEMPERATURE);
    assert_eq!(street.site.terminate(), Some(0));
}

#[test]
fn a_device_that_wants_to_join_and_is_not_configured_is_shown_as_unknown() {
    let mut street = Street::start();
    street.site.wait_for_log("packet forwarder is there");
    street.join(STRANGER);
    street.site.wait_for_log("wants to join");
    let unknown = street.site.ask_json(&["devices", "--unknown"]);
    assert_eq!(unknown["unknown"][0]["device"], "70B3D57ED0000009", "{unknown}");
    assert_eq!(street.site.terminate(), Some(0));
}
