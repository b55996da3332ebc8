//! A relay on loopback between the gateway and its server that notes the CoAP messages of the gateway.
//!
//! Each port of the gateway has a socket of its own towards the server, so that the server tells clients apart by
//! their ports as without it.

use std::collections::BTreeMap;
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// A message id under which the gateway began an exchange.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Sent {
    /// The port of the gateway.
    pub(crate) port: u16,
    pub(crate) message_id: u16,
    pub(crate) datagram: Vec<u8>,
}

/// The relay; it ends when it is dropped.
pub(crate) struct Wiretap {
    port: u16,
    sent: Arc<Mutex<Vec<Sent>>>,
    over: Arc<AtomicBool>,
}

impl Wiretap {
    pub(crate) fn start(server: SocketAddr) -> anyhow::Result<Self> {
        let socket = UdpSocket::bind("127.0.0.1:0")?;
        socket.set_read_timeout(Some(Duration::from_millis(100)))?;
        let wiretap = Self {
            port: socket.local_addr()?.port(),
            sent: Arc::default(),
            over: Arc::default(),
        };
        let (sent, over) = (wiretap.sent.clone(), wiretap.over.clone());
        std::thread::spawn(move || relay(&Arc::new(socket), server, &sent, &over));
        Ok(wiretap)
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Takes what was noted since the last time.
    pub(crate) fn take(&self) -> Vec<Sent> {
        std::mem::take(&mut *self.sent.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for Wiretap {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
    }
}

fn relay(socket: &Arc<UdpSocket>, server: SocketAddr, sent: &Mutex<Vec<Sent>>, over: &Arc<AtomicBool>) {
    let mut upstream: BTreeMap<SocketAddr, Arc<UdpSocket>> = BTreeMap::new();
    let mut buffer = vec![0; 65_536];
    while !over.load(Ordering::Relaxed) {
        let Ok((length, from)) = socket.recv_from(&mut buffer) else {
            continue;
        };
        let datagram = &buffer[..length];
        note(sent, from.port(), datagram);
        if let Some(link) = link(&mut upstream, socket, from, server, over) {
            // What cannot be sent while the server is away is lost, as on any network.
            drop(link.send(datagram));
        }
    }
}

/// Notes a message that begins an exchange: confirmable or not, no acknowledgement and no reset (RFC 7252, section 3).
fn note(sent: &Mutex<Vec<Sent>>, port: u16, datagram: &[u8]) {
    if let [first, _, high, low, ..] = datagram
        && (first >> 4) & 3 <= 1
    {
        let sent = &mut *sent.lock().unwrap_or_else(PoisonError::into_inner);
        sent.push(Sent {
            port,
            message_id: u16::from_be_bytes([*high, *low]),
            datagram: datagram.to_vec(),
        });
    }
}

fn link(
    upstream: &mut BTreeMap<SocketAddr, Arc<UdpSocket>>,
    socket: &Arc<UdpSocket>,
    client: SocketAddr,
    server: SocketAddr,
    over: &Arc<AtomicBool>,
) -> Option<Arc<UdpSocket>> {
    if let Some(link) = upstream.get(&client) {
        return Some(link.clone());
    }
    let link = Arc::new(UdpSocket::bind("127.0.0.1:0").ok()?);
    link.connect(server).ok()?;
    link.set_read_timeout(Some(Duration::from_millis(100))).ok()?;
    upstream.insert(client, link.clone());
    let (back, answers, over) = (socket.clone(), link.clone(), over.clone());
    std::thread::spawn(move || {
        let mut buffer = vec![0; 65_536];
        while !over.load(Ordering::Relaxed) {
            if let Ok(length) = answers.recv(&mut buffer) {
                drop(back.send_to(&buffer[..length], client));
            }
        }
    });
    Some(link)
}
