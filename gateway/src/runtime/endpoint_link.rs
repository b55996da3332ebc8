//! The UDP socket of one endpoint: connected to its server, and connected again where that was lost.
//!
//! Its port stays the same whatever becomes of the addresses: a firewall knows it, and the server answers to it.

use std::future::poll_fn;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::sync::{Arc, Weak};
use std::task::Poll;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::net::SendFlags;
use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tracing::{debug, trace, warn};
use ucifi_core::EndpointId;

use super::Input;
use super::ports::{PortName, Ports};
use crate::limits::{DATAGRAM_BYTES, PORT_DRAWS};

/// How often a socket that reaches nobody is connected again, at most: more often than a Register is retransmitted.
const MEND_AGAIN: Duration = Duration::from_secs(1);

/// How long a socket is waited for before it is looked whether it still is the endpoint's.
const STILL_WANTED: Duration = Duration::from_secs(300);

pub(super) struct EndpointLink {
    pub(super) server: Arc<str>,
    pub(super) name: Arc<str>,
    /// Under which its local port is kept.
    pub(super) port_name: PortName,
    socket: Option<Arc<UdpSocket>>,
    mended: Option<Instant>,
}

impl EndpointLink {
    pub(super) const fn new(server: Arc<str>, name: Arc<str>, port_name: PortName) -> Self {
        Self {
            server,
            name,
            port_name,
            socket: None,
            mended: None,
        }
    }

    /// Makes sure that there is a socket of the address's kind, on the first of its ports that is free; returns it if it
    /// is a new one.
    pub(super) fn open(
        &mut self,
        server: SocketAddr,
        ports: &Ports,
        range: Option<&RangeInclusive<u16>>,
    ) -> io::Result<Option<Weak<UdpSocket>>> {
        let own = self.socket.as_ref().and_then(|socket| socket.local_addr().ok());
        if own.is_some_and(|own| own.is_ipv4() == server.is_ipv4()) {
            return Ok(None);
        }
        // A socket of the other kind would have the port that the new one is to have.
        self.socket = None;
        let socket = Arc::new(self.bind(server, ports, range)?);
        let new = Arc::downgrade(&socket);
        self.socket = Some(socket);
        Ok(Some(new))
    }

    /// Binds the first of its ports that is free, or one that the system chooses.
    fn bind(
        &self,
        server: SocketAddr,
        ports: &Ports,
        range: Option<&RangeInclusive<u16>>,
    ) -> io::Result<UdpSocket> {
        let mut bound = None;
        for port in ports.candidates(&self.port_name, range) {
            match std::net::UdpSocket::bind(local(server, port)) {
                Ok(socket) => {
                    bound = Some(socket);
                    break;
                }
                Err(error) => {
                    warn!(endpoint = &*self.name, port, %error, "local port not free, taking another");
                }
            }
        }
        let socket = match bound {
            Some(socket) => socket,
            None => bind_any(local(server, 0), |port| ports.is_taken(port))?,
        };
        socket.set_nonblocking(true)?;
        UdpSocket::from_std(socket)
    }

    /// Returns the local port.
    pub(super) fn port(&self) -> Option<u16> {
        Some(self.socket.as_ref()?.local_addr().ok()?.port())
    }

    /// Connects the socket to the server's address, whatever it was connected to before.
    pub(super) fn connect(&self, server: SocketAddr) -> io::Result<()> {
        let socket = self.socket.as_ref().ok_or(Errno::NOTCONN)?;
        let port = socket.local_addr()?.port();
        // A connected socket keeps its source address, which may not be this machine's any more.
        rustix::net::connect_unspec(socket)?;
        if socket.local_addr()?.port() != port
            && let Err(error) = rustix::net::bind(socket, &local(server, port))
        {
            // A port that the system chose goes with the connection, and another process may have been quicker.
            warn!(endpoint = &*self.name, port, %error, "local port lost, the system chooses another");
        }
        Ok(rustix::net::connect(socket, &server)?)
    }

    /// Sends a datagram to where the socket is connected.
    pub(super) fn send(&self, datagram: &[u8]) -> io::Result<()> {
        let socket = self.socket.as_ref().ok_or(Errno::NOTCONN)?;
        // Not by the socket's own method: that one waits for the event loop to learn that a new socket can be written to.
        let bytes = rustix::net::send(socket, datagram, SendFlags::DONTWAIT)?;
        trace!(endpoint = &*self.name, bytes, "datagram out");
        Ok(())
    }

    /// Says whether the socket may be connected again at this time, and takes note of it.
    pub(super) fn may_mend(&mut self, now: Instant) -> bool {
        let waits = |mended| now.saturating_duration_since(mended) < MEND_AGAIN;
        if self.mended.is_some_and(waits) {
            return false;
        }
        self.mended = Some(now);
        true
    }

    #[cfg(test)]
    pub(super) fn socket(&self) -> &UdpSocket {
        self.socket.as_deref().expect("the test has opened it")
    }
}

/// Says whether a socket with this error never sends again unless it is connected anew: the network was not up when it
/// was connected, or the address of this machine has changed since then.
pub(super) fn is_lost(error: &io::Error) -> bool {
    let lost = [
        Errno::NETUNREACH,
        Errno::HOSTUNREACH,
        Errno::NETDOWN,
        Errno::ADDRNOTAVAIL,
        Errno::INVAL,
        Errno::NOTCONN,
        Errno::DESTADDRREQ,
    ];
    Errno::from_io_error(error).is_some_and(|errno| lost.contains(&errno))
}

/// Binds a port that the system chooses and that nobody has: an endpoint whose server has no address yet, or that was
/// removed, has no socket that would tell the system so.
fn bind_any(local: SocketAddr, is_taken: impl Fn(u16) -> bool) -> io::Result<std::net::UdpSocket> {
    // What was drawn stays bound until the end, so that each draw is another port.
    let mut drawn = Vec::new();
    loop {
        let socket = std::net::UdpSocket::bind(local)?;
        if drawn.len() == PORT_DRAWS || !is_taken(socket.local_addr()?.port()) {
            return Ok(socket);
        }
        drawn.push(socket);
    }
}

fn local(server: SocketAddr, port: u16) -> SocketAddr {
    match server {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, port).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, port).into(),
    }
}

/// Hands datagrams to the event loop as long as the socket is the endpoint's.
pub(super) async fn receive(endpoint: EndpointId, socket: Weak<UdpSocket>, inputs: mpsc::Sender<Input>) {
    loop {
        // While it waits it does not hold the socket, which is closed as soon as the endpoint lets go of it.
        let readable = poll_fn(|context| match socket.upgrade() {
            Some(socket) => socket.poll_recv_ready(context),
            None => Poll::Ready(Ok(())),
        });
        let ready = tokio::time::timeout(STILL_WANTED, readable).await;
        let Some(taken) = socket.upgrade().map(|socket| take(&socket)) else {
            return;
        };
        match ready.unwrap_or(Ok(())).and(taken) {
            Ok(Some(datagram)) => {
                if inputs.send(Input::Datagram { endpoint, datagram }).await.is_err() {
                    return;
                }
            }
            Ok(None) => debug!(endpoint = endpoint.0, "datagram of a stranger"),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            // A server that is being restarted: its host says that nobody listens.
            Err(error) => debug!(endpoint = endpoint.0, %error, "no datagram"),
        }
    }
}

/// Takes the next datagram; none where it is not the server's: a socket that is not connected takes anybody's.
fn take(socket: &UdpSocket) -> io::Result<Option<Vec<u8>>> {
    let mut buffer = [0; DATAGRAM_BYTES];
    let (bytes, from) = socket.try_recv_from(&mut buffer)?;
    let is_peer = |peer: SocketAddr| (peer.ip(), peer.port()) == (from.ip(), from.port());
    let known = socket.peer_addr().is_ok_and(is_peer);
    Ok(known.then(|| buffer.get(..bytes).unwrap_or_default().to_vec()))
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn a_port_that_somebody_has_is_not_drawn_for_another() {
        let first = Cell::new(None);
        let is_taken = |port| {
            first.set(first.get().or(Some(port)));
            first.get() == Some(port)
        };
        let any = local(([127, 0, 0, 1], 1).into(), 0);
        let socket = bind_any(any, is_taken).unwrap();
        assert_ne!(first.get(), Some(socket.local_addr().unwrap().port()));
        // A socket is better than none.
        bind_any(any, |_| true).unwrap();
    }

    #[tokio::test]
    async fn a_server_that_moves_between_the_two_kinds_of_addresses_is_spoken_to_from_the_same_port() {
        let name = PortName::new("city", "meter", "cabinet");
        let mut ports = Ports::default();
        let mut link = EndpointLink::new("city".into(), "meter".into(), name.clone());
        let (inputs, _kept) = mpsc::channel(1);
        let addresses = ["127.0.0.1:9", "[::1]:9", "127.0.0.1:9"].map(|text| text.parse().unwrap());
        let mut port = None;
        for address in addresses {
            let socket = link.open(address, &ports, None).unwrap().unwrap();
            tokio::spawn(receive(EndpointId(0), socket, inputs.clone()));
            tokio::task::yield_now().await;
            let own = link.port().unwrap();
            ports.give(EndpointId(0), &name, own);
            assert_eq!(*port.get_or_insert(own), own, "{address}");
        }
    }
}
