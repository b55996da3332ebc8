//! The simulated cabinet: a line with a meter and a relay board, a broker with two gadgets, a street with three
//! luminaires and a water meter, and the configuration of the gateway for it.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::path;
use std::time::{Duration, Instant};

use lwm2m_client::Path;
use ucifi_core::Link;
use ucifi_core::field::DevEui;
use ucifi_sim::modbus_unit::Unit;
use ucifi_sim::mqtt::gadgets::{TasmotaPlug, Zigbee2MqttLamp};
use ucifi_sim::mqtt::{Broker, tcp};
use ucifi_sim::radio::gadgets::{Luminaire, Street, StreetPlan, WaterMeter};
use ucifi_sim::radio::{Forwarder, NodeConfig};
use ucifi_sim::serial_line::{Line, pty};

use crate::config::{File, Loaded, Sources, read};
use crate::exit::{ExitStatus, Failure};

/// The unit address of the relay board.
pub(super) const RELAYS_UNIT: u8 = 2;

/// The name of the gateway.
const NAME: &str = "demo-cabinet";

/// How often gadgets and radio devices say how they are: often, so that there is something to see.
const EVERY: Duration = Duration::from_secs(5);

/// The JoinEUI of all radio devices.
const JOIN_EUI: [u8; 8] = [0x70, 0xB3, 0xD5, 0x7E, 0xD0, 0, 0, 0];

/// A kind of link, and how people call it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Protocol {
    Modbus,
    LoRaWan,
    Mqtt,
}

impl Protocol {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Modbus => "Modbus",
            Self::LoRaWan => "LoRaWAN",
            Self::Mqtt => "MQTT",
        }
    }
}

/// A device of the cabinet.
#[derive(Clone, Copy, Debug)]
pub(super) struct DemoDevice {
    pub(super) id: &'static str,
    pub(super) protocol: Protocol,
    /// The values that say most of it.
    pub(super) shows: [Path; 2],
    /// The last byte of the DevEUI of a radio device.
    number: u8,
}

pub(super) const METER: DemoDevice = DemoDevice {
    id: "meter",
    protocol: Protocol::Modbus,
    shows: [Path::resource(3421, 0, 1), Path::resource(3421, 0, 23)],
    number: 0,
};
pub(super) const RELAYS: DemoDevice = DemoDevice {
    id: "relays",
    protocol: Protocol::Modbus,
    shows: [Path::resource(3413, 0, 2), Path::resource(3413, 1, 2)],
    number: 0,
};
pub(super) const STREET_LAMP: DemoDevice = luminaire("lamp-1", 1);
pub(super) const HALL_LAMP: DemoDevice = DemoDevice {
    id: "hall-lamp",
    protocol: Protocol::Mqtt,
    shows: [Path::resource(3416, 0, 3), Path::resource(3416, 0, 2)],
    number: 0,
};
const PLUG: DemoDevice = DemoDevice {
    id: "plug",
    protocol: Protocol::Mqtt,
    shows: [Path::resource(3421, 0, 16), Path::resource(3421, 0, 25)],
    number: 0,
};
const WATER_METER: DemoDevice = DemoDevice {
    id: "water",
    protocol: Protocol::LoRaWan,
    shows: [Path::resource(3424, 0, 1), Path::resource(3412, 0, 20)],
    number: 4,
};

/// All devices, in the order in which they are shown.
pub(super) const DEVICES: [DemoDevice; 8] = [
    METER,
    RELAYS,
    STREET_LAMP,
    luminaire("lamp-2", 2),
    luminaire("lamp-3", 3),
    WATER_METER,
    PLUG,
    HALL_LAMP,
];

const fn luminaire(id: &'static str, number: u8) -> DemoDevice {
    DemoDevice {
        id,
        protocol: Protocol::LoRaWan,
        shows: [Path::resource(3416, 0, 3), Path::resource(3416, 0, 46)],
        number,
    }
}

impl DemoDevice {
    /// Returns its endpoint name.
    pub(super) fn endpoint(self) -> String {
        match self.protocol {
            Protocol::Modbus | Protocol::Mqtt => format!("{NAME}-{}", self.id),
            Protocol::LoRaWan => {
                let dev_eui = DevEui(self.dev_eui());
                Link::LoRaWan { dev_eui }.endpoint_name(NAME, self.id)
            }
        }
    }

    /// Says whether it is a radio device that is a lamp.
    const fn is_luminaire(self) -> bool {
        self.number > 0 && self.number < WATER_METER.number
    }

    const fn dev_eui(self) -> [u8; 8] {
        [0x70, 0xB3, 0xD5, 0x7E, 0xD0, 0, 0, self.number]
    }

    /// Real keys are random; these are only kept from each other.
    const fn app_key(self) -> [u8; 16] {
        let mut key = *b"only for a demo.";
        key[15] = self.number;
        key
    }

    fn node(self) -> NodeConfig {
        NodeConfig {
            dev_eui: self.dev_eui(),
            join_eui: JOIN_EUI,
            app_key: self.app_key(),
            is_class_c: self.is_luminaire(),
            data_rate: 5,
            rx2_spreading_factor: self.is_luminaire().then_some(9),
        }
    }
}

/// The devices at their links.
pub(super) struct Cabinet {
    line: pty::Running,
    broker: tcp::Running,
    /// Where the gateway listens for packet forwarders.
    radio: SocketAddr,
}

impl Cabinet {
    /// Makes the line with its pseudo-terminal and the broker.
    pub(super) async fn open(seed: u64) -> io::Result<Self> {
        let now = Instant::now();
        let line = Line::new(9600, 10, seed, now)
            .with_unit(Unit::sdm630(1))
            .with_unit(Unit::relay_board(RELAYS_UNIT));
        let mut broker = Broker::new(now);
        broker.add(TasmotaPlug::new("plug", 42.0, EVERY));
        broker.add(Zigbee2MqttLamp::new("hall lamp", EVERY));
        Ok(Self {
            line: pty::start(line)?,
            broker: tcp::start((Ipv4Addr::LOCALHOST, 0).into(), broker).await?,
            radio: free_port()?,
        })
    }

    /// Switches the devices on the radio on, with the forwarder that hears them.
    pub(super) async fn switch_on(&self, seed: u64) -> io::Result<Street> {
        let plan = DEVICES
            .iter()
            .filter(|device| device.protocol == Protocol::LoRaWan)
            .fold(StreetPlan::new(seed, EVERY), |plan, device| {
                if device.is_luminaire() {
                    plan.with(device.node(), Luminaire::new(100))
                } else {
                    plan.with(device.node(), WaterMeter::new(13_600, 9))
                }
            });
        let id = [0xAA, 0x55, 0x5A, 0, 0, 0, 1, 1];
        plan.start(Forwarder::new(id, 0, 0, Instant::now()), self.radio)
            .await
    }

    /// Says what hangs where.
    pub(super) fn describe(&self) -> String {
        format!(
            "Modbus on {} at 9600 baud, LoRaWAN forwarder to {}, MQTT broker on {}",
            self.line.path, self.radio, self.broker.address
        )
    }

    /// Returns the hand at the devices on the line.
    pub(super) fn line(&self) -> pty::Handle {
        self.line.handle.clone()
    }

    /// Returns the configuration of the gateway, read as the daemon reads it.
    ///
    /// Readings wait a second only before they are written, so that a short outage shows all that happens in one.
    pub(super) fn configuration(&self, server_uri: &str, folder: &path::Path) -> Result<Loaded, Failure> {
        let file = File {
            name: "demo.toml".to_owned(),
            text: self.text(server_uri, folder),
        };
        read(&Sources {
            options: vec![file],
            ..Sources::default()
        })
        .map_err(|found| {
            let lines: Vec<String> = found.iter().map(ToString::to_string).collect();
            Failure::new(ExitStatus::Failed, lines.join("\n"))
        })
    }

    fn text(&self, server_uri: &str, folder: &path::Path) -> String {
        let folder = folder.display();
        let mut text = format!(
            r#"[gateway]
name = "{NAME}"
control_socket = "{folder}/control.sock"
state_dir = "{folder}/state"

[buffer]
hold_ms = 1000
commit_ms = 500

[[server]]
name = "demo"
uri = "{server_uri}"

[[bus]]
name = "rs485"
port = "{path}"
baud = 9600
writes = "allow"

[[broker]]
name = "local"
uri = "mqtt://{broker}"
writes = "allow"

[lorawan]
region = "EU868"
listen = "{radio}"
dedup_ms = 0
writes = "allow"

[[device]]
id = "meter"
profile = "eastron.sdm630"
bus = "rs485"
unit = 1
label = "Feeder A"
intervals_ms = {{ u_l1 = 1000, u_l2 = 1000, u_l3 = 1000, p_l1 = 1000, p_l2 = 1000, p_l3 = 1000 }}

[[device]]
id = "relays"
profile = "waveshare.relay-8ch"
bus = "rs485"
unit = {RELAYS_UNIT}
label = "Lamp circuits"

[[device]]
id = "plug"
profile = "tasmota.plug"
broker = "local"
topic = "plug"
label = "Kiosk"

[[device]]
id = "hall-lamp"
profile = "zigbee2mqtt.lamp"
broker = "local"
topic = "hall lamp"
label = "Bus shelter"
"#,
            path = self.line.path,
            broker = self.broker.address,
            radio = self.radio,
        );
        for device in DEVICES
            .iter()
            .filter(|device| device.protocol == Protocol::LoRaWan)
        {
            text.push_str(&radio_device(*device));
        }
        text
    }
}

fn radio_device(device: DemoDevice) -> String {
    let (profile, label) = if device.is_luminaire() {
        ("nas.ul20xx", "Market street")
    } else {
        ("axioma.w1", "Fountain")
    };
    format!(
        r#"
[[device]]
id = "{id}"
profile = "{profile}"
dev_eui = "{dev_eui}"
join_eui = "{join_eui}"
app_key = "{app_key:032x}"
label = "{label}"
"#,
        id = device.id,
        dev_eui = DevEui(device.dev_eui()),
        join_eui = DevEui(JOIN_EUI),
        app_key = u128::from_be_bytes(device.app_key()),
    )
}

/// Asks the street how bright a lamp is.
pub(super) async fn level_of(street: &Street, device: DemoDevice) -> Option<u8> {
    street.level(device.dev_eui()).await
}

/// Returns an address on loopback where nobody listens yet.
fn free_port() -> io::Result<SocketAddr> {
    UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()
}
