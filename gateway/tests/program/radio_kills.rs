//! LoRaWAN devices and a daemon that is killed again and again: they go on with their sessions, nothing that may be used
//! once is used twice, and what was recorded is worth nothing.

use std::collections::BTreeMap;
use std::net::{SocketAddr, UdpSocket};
use std::time::Instant;

use lorawan::keys::AppKey;
use lorawan::parser::DecryptedJoinAcceptPayload;
use lwm2m_client::Path;
use ucifi_sim::radio::io::{Running, start};
use ucifi_sim::radio::{Field, Forwarder, NodeConfig, NodeEvent};

use crate::air::Air;
use crate::site::{PATIENCE, Site};

/// Joins once.
const STEADY: [u8; 8] = [0x70, 0xb3, 0xd5, 0x7e, 0xd0, 0, 0, 1];
/// Joins again after each kill.
const RESTLESS: [u8; 8] = [0x70, 0xb3, 0xd5, 0x7e, 0xd0, 0, 0, 2];
const JOIN_EUI: [u8; 8] = [0x70, 0xb3, 0xd5, 0x7e, 0xd0, 0, 0, 0];
const KILLS: u8 = 10;

/// The status of a luminaire (nasys/nas-codecs, test/ul20xx_1_1_x_uplink_decoder.test.js), and which of its bytes is the
/// temperature of its controller.
const STATUS: [u8; 27] = [
    0x01, 0xf3, 0x7f, 0x20, 0x5e, 0x82, 0x44, 0x32, 0x09, 0x16, 0x20, 0x07, 0x01, 0xd2, 0x02, 0x94, 0x55,
    0x04, 0x01, 0xfe, 0x50, 0x19, 0x00, 0x12, 0x50, 0x19, 0x00,
];
const CELSIUS: usize = 9;
const TEMPERATURE: Path = Path::resource(3303, 0, 5700);

struct Street {
    site: Site,
    air: Air,
    field: Running,
    /// How often the steady one has said how it is.
    said: u8,
}

impl Street {
    fn start() -> Self {
        let listen: SocketAddr = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let mut configuration = format!("[lorawan]\nregion = \"EU868\"\nlisten = \"{listen}\"\n");
        for (id, dev_eui) in [("steady", STEADY), ("restless", RESTLESS)] {
            let number = dev_eui[7];
            configuration.push_str(&format!(
                "\n[[device]]\nid = \"{id}\"\nprofile = \"nas.ul20xx\"\ndev_eui = \"70B3D57ED000000{number}\"\n\
                 join_eui = \"70B3D57ED0000000\"\napp_key = \"{}\"\n",
                format!("{number:02X}").repeat(16)
            ));
        }
        let site = Site::start_with(&configuration);
        let air = Air::start(listen);
        let now = Instant::now();
        let field = Field::new(4, now)
            .with_forwarder(Forwarder::new([0xaa; 8], 7, 0, now))
            .with_node(node(STEADY))
            .with_node(node(RESTLESS));
        let field = site.runtime.block_on(start(field, air.address)).unwrap();
        Self {
            site,
            air,
            field,
            said: 0,
        }
    }

    fn tell<T: Send + 'static>(&self, order: impl FnOnce(&mut Field, Instant) -> T + Send + 'static) -> T {
        self.site.runtime.block_on(self.field.handle.with(order)).unwrap()
    }

    /// Lets the steady one join, again and again until it has: the first request may come before the forwarder is known.
    fn join(&mut self) {
        let end = Instant::now() + PATIENCE;
        loop {
            assert!(Instant::now() < end, "it does not join");
            self.tell(|field, now| field.join(STEADY, now));
            let events = &mut self.field.events;
            let outcome = async {
                loop {
                    let event = events.recv().await.unwrap().event;
                    if matches!(event, NodeEvent::Joined | NodeEvent::JoinFailed) {
                        return event;
                    }
                }
            };
            if self.site.runtime.block_on(outcome) == NodeEvent::Joined {
                return;
            }
        }
    }

    /// Lets the steady one say how it is, each time something else.
    fn say(&mut self, is_confirmed: bool) {
        self.said += 1;
        let mut status = STATUS;
        status[1] = status[1].wrapping_add(self.said);
        status[CELSIUS] = self.said;
        self.tell(move |field, now| field.send(STEADY, 23, status.to_vec(), is_confirmed, now));
    }

    /// Waits until what it said last has arrived.
    fn wait_until_heard(&mut self) {
        let wanted = f64::from(self.said);
        self.site.wait_for(|event| {
            let values = event.received().map_or(&[][..], |(_, values)| values);
            let mut temperatures = values.iter().filter(|value| value.path == TEMPERATURE);
            temperatures.any(|value| value.value.as_f64() == Some(wanted))
        });
    }

    /// Kills the daemon and starts it again, and waits until it hears the forwarder.
    fn kill(&mut self) {
        self.site.kill();
        self.site.start_again();
        self.site.wait_for_log("packet forwarder is there");
    }

    /// Returns the counts of frames that were taken and of frames that were refused.
    fn counted(&self) -> (u64, u64) {
        let status = self.site.ask_json(&["status"]);
        let count = |name: &str| status["lorawan"][name].as_u64().unwrap();
        (count("uplinks") + count("joins"), count("refused"))
    }

    /// Says frames that must all be refused and counted, and nothing else.
    fn is_refused(&self, frames: &[Vec<u8>]) {
        let (taken, refused) = self.counted();
        self.air.say(frames);
        let end = Instant::now() + PATIENCE;
        // Each waits a moment for the same one by another forwarder.
        while self.counted().1 < refused + frames.len() as u64 {
            assert!(
                Instant::now() < end,
                "{:?} of {} and {refused}",
                self.counted(),
                frames.len()
            );
        }
        assert_eq!(self.counted(), (taken, refused + frames.len() as u64));
    }
}

fn node(dev_eui: [u8; 8]) -> NodeConfig {
    NodeConfig {
        dev_eui,
        join_eui: JOIN_EUI,
        app_key: app_key(dev_eui),
        is_class_c: true,
        data_rate: 5,
        rx2_spreading_factor: Some(9),
    }
}

/// Each device has a key of its own.
const fn app_key(dev_eui: [u8; 8]) -> [u8; 16] {
    [dev_eui[7]; 16]
}

/// Says whether a frame is a join-request of a device, whose DevEUI comes lowest byte first.
fn is_join_request_of(frame: &[u8], dev_eui: [u8; 8]) -> bool {
    frame[0] == 0x00 && frame[9..17].iter().rev().eq(&dev_eui)
}

const fn is_join_accept(frame: &[u8]) -> bool {
    frame[0] == 0x20
}

const fn is_data_downlink(frame: &[u8]) -> bool {
    matches!(frame[0], 0x60 | 0xa0)
}

/// Looks at all frames for devices: no JoinNonce and no counter may stand in two different ones. Returns how many of both
/// there were.
fn used_once(downlinks: &[Vec<u8>]) -> (usize, usize) {
    let (mut nonces, mut counters) = (BTreeMap::new(), BTreeMap::new());
    for frame in downlinks {
        if is_join_accept(frame) {
            let key = nonce(frame);
            assert_eq!(
                nonces.entry(key).or_insert(frame),
                &frame,
                "a JoinNonce is used twice"
            );
        } else if is_data_downlink(frame) {
            // DevAddr, FCtrl, FCnt.
            let key = ([frame[1], frame[2], frame[3], frame[4]], [frame[6], frame[7]]);
            assert_eq!(
                counters.entry(key).or_insert(frame),
                &frame,
                "a counter is used twice"
            );
        }
    }
    (nonces.len(), counters.len())
}

/// Returns for which device a join-accept is, and its JoinNonce.
fn nonce(frame: &[u8]) -> ([u8; 8], Vec<u8>) {
    let read = |dev_eui| {
        // It is refused where it is signed with another key.
        let accept = DecryptedJoinAcceptPayload::new(frame.to_vec(), &AppKey::from(app_key(dev_eui))).ok()?;
        Some((dev_eui, accept.app_nonce().as_ref().to_vec()))
    };
    [STEADY, RESTLESS].into_iter().find_map(read).unwrap()
}

/// Returns frames with another bit each, in a place that says nothing of the sender.
fn forged(frames: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let forge = |frame: &Vec<u8>| {
        let mut frame = frame.clone();
        *frame.last_mut().unwrap() ^= 1;
        frame
    };
    frames.iter().map(forge).collect()
}

#[test]
fn over_kills_no_nonce_and_no_counter_is_used_twice_and_what_was_recorded_is_refused() {
    let mut street = Street::start();
    street.join();
    street.say(true);
    street.wait_until_heard();
    let first = street.air.uplinks();
    // Requests before that one came too early for anybody to hear.
    let joined = first
        .iter()
        .rposition(|frame| is_join_request_of(frame, STEADY))
        .unwrap();
    for kill in 0..KILLS {
        let (uplinks, downlinks) = (street.air.uplinks().len(), street.air.downlinks().len());
        match kill % 3 {
            // Just heard, or just answered, or a join just accepted.
            0 => {
                street.say(true);
                street.air.wait_for_uplink(uplinks);
            }
            1 => {
                street.say(true);
                street.air.wait_for_downlink(downlinks, is_data_downlink);
            }
            _ => {
                street.tell(|field, now| {
                    field.restart(RESTLESS, now);
                    field.join(RESTLESS, now);
                });
                street.air.wait_for_downlink(downlinks, is_join_accept);
            }
        }
        street.kill();
        street.say(kill % 2 == 0);
        street.wait_until_heard();
    }
    let recorded = street.air.uplinks().split_off(joined);
    let joins = recorded.iter().filter(|frame| is_join_request_of(frame, STEADY));
    assert_eq!(joins.count(), 1, "it has joined again");
    let (nonces, counters) = used_once(&street.air.downlinks());
    assert!(
        nonces >= usize::from(KILLS / 3) && counters >= usize::from(KILLS / 3),
        "{nonces} {counters}"
    );
    assert_eq!(street.tell(|field, _| field.reused_counters()), 0);

    street.kill();
    street.say(false);
    street.wait_until_heard();
    street.is_refused(&recorded);
    street.is_refused(&forged(&recorded));
    let cut = recorded.iter().map(|frame| frame[..frame.len() - 5].to_vec());
    street.is_refused(&cut.collect::<Vec<_>>());
    street.say(true);
    street.wait_until_heard();
    assert_eq!(street.site.terminate(), Some(0));
}
