//! A relay between packet forwarders and the daemon that notes what goes through and can say it again.

use std::collections::BTreeMap;
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value as Json, json};

use crate::site::PATIENCE;

/// How often a thread looks whether the relay is over.
const LOOKS_EVERY: Duration = Duration::from_millis(100);
/// The EUI under which frames are said again: another forwarder's.
const OWN_EUI: [u8; 8] = [0xbb; 8];

/// What went through, in both directions in its order.
#[derive(Debug, Default)]
struct Heard {
    /// Frames of devices, as forwarders reported them.
    uplinks: Vec<Vec<u8>>,
    /// Frames for devices, as forwarders were told to send them.
    downlinks: Vec<Vec<u8>>,
}

/// The relay; it ends when it is dropped.
pub(crate) struct Air {
    pub(crate) address: SocketAddr,
    daemon: SocketAddr,
    heard: Arc<Mutex<Heard>>,
    over: Arc<AtomicBool>,
}

impl Air {
    pub(crate) fn start(daemon: SocketAddr) -> Self {
        let socket = socket();
        let air = Self {
            address: socket.local_addr().unwrap(),
            daemon,
            heard: Arc::default(),
            over: Arc::default(),
        };
        let (heard, over) = (air.heard.clone(), air.over.clone());
        thread::spawn(move || relay(&Arc::new(socket), daemon, &heard, &over));
        air
    }

    /// Returns the frames of devices that were heard so far.
    pub(crate) fn uplinks(&self) -> Vec<Vec<u8>> {
        lock(&self.heard).uplinks.clone()
    }

    /// Returns the frames for devices that were to be sent so far.
    pub(crate) fn downlinks(&self) -> Vec<Vec<u8>> {
        lock(&self.heard).downlinks.clone()
    }

    /// Waits for one of the frames for devices from the `from`th on.
    pub(crate) fn wait_for_downlink(&self, from: usize, wanted: impl Fn(&[u8]) -> bool) {
        let end = Instant::now() + PATIENCE;
        while !self.downlinks()[from..].iter().any(|frame| wanted(frame)) {
            assert!(Instant::now() < end, "no such frame is to be sent");
            thread::sleep(Duration::from_millis(2));
        }
    }

    /// Waits until more frames of devices than so many were heard.
    pub(crate) fn wait_for_uplink(&self, count: usize) {
        let end = Instant::now() + PATIENCE;
        while self.uplinks().len() <= count {
            assert!(Instant::now() < end, "no device sends");
            thread::sleep(Duration::from_millis(2));
        }
    }

    /// Says frames to the daemon as a forwarder that has just heard them, and waits until it has taken them.
    pub(crate) fn say(&self, frames: &[Vec<u8>]) {
        let socket = socket();
        for (frame, tmst) in frames.iter().zip((1_000_000..).step_by(100_000)) {
            let rxpk = json!({"tmst": tmst, "freq": 868.1, "stat": 1, "modu": "LORA", "datr": "SF7BW125",
                "codr": "4/5", "rssi": -50, "lsnr": 9.0, "size": frame.len(), "data": STANDARD.encode(frame)});
            let mut datagram = vec![2, 0, 0, 0];
            datagram.extend(OWN_EUI);
            datagram.extend(json!({"rxpk": [rxpk]}).to_string().as_bytes());
            socket.send_to(&datagram, self.daemon).unwrap();
            let mut answer = [0; 16];
            let end = Instant::now() + PATIENCE;
            while socket.recv(&mut answer).is_err() {
                assert!(Instant::now() < end, "the daemon does not hear");
            }
        }
    }
}

impl Drop for Air {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
    }
}

fn socket() -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(LOOKS_EVERY)).unwrap();
    socket
}

fn lock(heard: &Mutex<Heard>) -> std::sync::MutexGuard<'_, Heard> {
    heard.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Carries datagrams to the daemon, from a socket of its own for each of the forwarders' sockets. Repeats PULL_DATA while
/// nothing else comes: a daemon that was just started need not wait for a forwarder's own ten seconds to be over.
fn relay(socket: &Arc<UdpSocket>, daemon: SocketAddr, heard: &Arc<Mutex<Heard>>, over: &Arc<AtomicBool>) {
    let mut upstream: BTreeMap<SocketAddr, Arc<UdpSocket>> = BTreeMap::new();
    let mut pull: Option<(Arc<UdpSocket>, Vec<u8>)> = None;
    let mut buffer = vec![0; 65_536];
    while !over.load(Ordering::Relaxed) {
        let Ok((length, from)) = socket.recv_from(&mut buffer) else {
            if let Some((up, datagram)) = &pull {
                up.send_to(datagram, daemon).ok();
            }
            continue;
        };
        let datagram = &buffer[..length];
        lock(heard).uplinks.extend(reported(datagram));
        let to = upstream.entry(from).or_insert_with(|| {
            let up = Arc::new(self::socket());
            let (down, heard, over) = (socket.clone(), heard.clone(), over.clone());
            let listening = up.clone();
            thread::spawn(move || answer(&listening, &down, from, &heard, &over));
            up
        });
        if matches!(datagram, [2, _, _, 2, ..]) {
            pull = Some((to.clone(), datagram.to_vec()));
        }
        // Between a kill and a start nobody listens: then it is lost, as on any network.
        to.send_to(datagram, daemon).ok();
    }
}

fn answer(up: &UdpSocket, down: &UdpSocket, forwarder: SocketAddr, heard: &Mutex<Heard>, over: &AtomicBool) {
    let mut buffer = vec![0; 65_536];
    while !over.load(Ordering::Relaxed) {
        if let Ok(length) = up.recv(&mut buffer) {
            lock(heard).downlinks.extend(ordered(&buffer[..length]));
            down.send_to(&buffer[..length], forwarder).ok();
        }
    }
}

/// Returns the frames of a PUSH_DATA.
fn reported(datagram: &[u8]) -> Vec<Vec<u8>> {
    let [2, _, _, 0, ..] = datagram else {
        return Vec::new();
    };
    let body: Json = serde_json::from_slice(&datagram[12..]).unwrap();
    let frames = body["rxpk"].as_array().cloned().unwrap_or_default();
    frames.iter().map(|frame| bytes(&frame["data"])).collect()
}

/// Returns the frame of a PULL_RESP.
fn ordered(datagram: &[u8]) -> Option<Vec<u8>> {
    let [2, _, _, 3, ..] = datagram else {
        return None;
    };
    let body: Json = serde_json::from_slice(&datagram[4..]).unwrap();
    Some(bytes(&body["txpk"]["data"]))
}

fn bytes(data: &Json) -> Vec<u8> {
    STANDARD.decode(data.as_str().unwrap()).unwrap()
}
