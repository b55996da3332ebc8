//! UDP towards the LwM2M servers: one socket for each endpoint, connected to the server's address.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::net::SendFlags;
use tokio::net::{UdpSocket, lookup_host};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tracing::{debug, info, trace, warn};
use ucifi_core::{EndpointId, EndpointStatus};

use super::Input;
use crate::config::{Server, ServerUri};
use crate::limits::{DATAGRAM_BYTES, UNRESOLVED_DATAGRAMS};

/// How often a name is asked for again: servers move, and DNS is how they say so.
const LOOK_UP_AGAIN: Duration = Duration::from_secs(300);

/// How long one of several addresses is tried before the next one: the retransmissions of a Register take less.
const ADDRESS_TRIAL: Duration = Duration::from_secs(30);

/// The pauses after a name could not be resolved.
const LOOK_UP_RETRY: [Duration; 3] = [
    Duration::from_secs(2),
    Duration::from_secs(10),
    Duration::from_secs(60),
];

/// The sockets of all endpoints.
pub(super) struct ServerLinks {
    servers: BTreeMap<Arc<str>, ServerLink>,
    endpoints: BTreeMap<EndpointId, EndpointLink>,
    inputs: mpsc::Sender<Input>,
    tasks: JoinSet<()>,
}

struct ServerLink {
    uri: ServerUri,
    /// All that the name stands for.
    addresses: Vec<SocketAddr>,
    /// The one in use.
    address: Option<SocketAddr>,
    /// When it was taken into use.
    since: Instant,
    ports: Option<RangeInclusive<u16>>,
}

struct EndpointLink {
    server: Arc<str>,
    name: Arc<str>,
    /// Its place among the endpoints of its server: the place of its port in the range.
    place: u16,
    socket: Option<Arc<UdpSocket>>,
    waiting: VecDeque<Vec<u8>>,
}

impl EndpointLink {
    /// Returns the present socket if it can reach an address of that kind.
    fn socket_towards(&self, address: SocketAddr) -> Option<Arc<UdpSocket>> {
        let socket = self.socket.as_ref()?;
        let own = socket.local_addr().ok()?;
        (own.is_ipv4() == address.is_ipv4()).then(|| socket.clone())
    }
}

impl ServerLinks {
    /// Opens a socket for every endpoint whose server has an address, and begins to look for the others.
    pub(super) fn open(
        servers: &[Server],
        endpoints: &[EndpointStatus],
        inputs: mpsc::Sender<Input>,
    ) -> Self {
        let mut links = Self {
            servers: BTreeMap::new(),
            endpoints: BTreeMap::new(),
            inputs,
            tasks: JoinSet::new(),
        };
        let mut places: BTreeMap<Arc<str>, u16> = BTreeMap::new();
        for endpoint in endpoints {
            let place = places.entry(endpoint.account.clone()).or_default();
            let link = EndpointLink {
                server: endpoint.account.clone(),
                name: endpoint.name.clone(),
                place: *place,
                socket: None,
                waiting: VecDeque::new(),
            };
            *place = place.saturating_add(1);
            links.endpoints.insert(endpoint.id, link);
        }
        servers.iter().for_each(|server| links.add_server(server));
        links
    }

    fn add_server(&mut self, server: &Server) {
        let link = ServerLink {
            uri: server.uri.clone(),
            addresses: Vec::new(),
            address: None,
            since: Instant::now(),
            ports: server.local_ports.clone(),
        };
        self.servers.insert(server.name.clone(), link);
        match server.uri.host.parse::<IpAddr>() {
            Ok(ip) => self.handle_resolved(&server.name, &[SocketAddr::new(ip, server.uri.port)]),
            Err(_) => {
                let (name, uri, inputs) = (server.name.clone(), server.uri.clone(), self.inputs.clone());
                self.tasks.spawn(look_up(name, uri, inputs));
            }
        }
    }

    /// Takes the addresses of a server; the sockets move only when the present address is not among them.
    pub(super) fn handle_resolved(&mut self, server: &str, addresses: &[SocketAddr]) {
        let Some(link) = self.servers.get_mut(server) else {
            return;
        };
        link.addresses = addresses.to_vec();
        let stays = link.address.is_some_and(|present| addresses.contains(&present));
        if let (false, Some(address)) = (stays, addresses.first().copied()) {
            self.connect(server, address);
        }
    }

    /// Takes note that a registration failed: the next address of the server, where it has several, may do better.
    pub(super) fn handle_failure(&mut self, endpoint: EndpointId, now: Instant) {
        let Some(server) = self
            .endpoints
            .get(&endpoint)
            .map(|endpoint| endpoint.server.clone())
        else {
            return;
        };
        let Some(link) = self.servers.get(&server) else {
            return;
        };
        let place = link
            .addresses
            .iter()
            .position(|address| Some(*address) == link.address);
        let next = place
            .and_then(|place| link.addresses.iter().cycle().nth(place + 1))
            .copied();
        let tried = now.saturating_duration_since(link.since) >= ADDRESS_TRIAL;
        if let (true, Some(next)) = (tried && link.addresses.len() > 1, next) {
            self.connect(&server, next);
        }
    }

    fn connect(&mut self, server: &str, address: SocketAddr) {
        let Some(link) = self.servers.get_mut(server) else {
            return;
        };
        info!(server, %address, uri = link.uri.text, "server address");
        link.address = Some(address);
        link.since = Instant::now();
        let ports = link.ports.clone();
        for (id, endpoint) in self.endpoints.iter_mut().filter(|(_, e)| *e.server == *server) {
            if let Some(socket) = endpoint.socket_towards(address) {
                // What goes out before that is lost as if on the way.
                self.tasks.spawn(async move {
                    socket.connect(address).await.ok();
                });
                continue;
            }
            match bind(endpoint, address, ports.as_ref()) {
                Ok(socket) => {
                    let socket = Arc::new(socket);
                    self.tasks
                        .spawn(receive(*id, Arc::downgrade(&socket), self.inputs.clone()));
                    endpoint.socket = Some(socket);
                }
                Err(error) => warn!(server, endpoint = &*endpoint.name, %error, "cannot open a UDP socket"),
            }
            let waiting: Vec<Vec<u8>> = endpoint.waiting.drain(..).collect();
            waiting.iter().for_each(|datagram| send(endpoint, datagram));
        }
    }

    /// Sends a datagram from the endpoint's own port. What the system does not take is lost as if on the way.
    pub(super) fn transmit(&mut self, id: EndpointId, datagram: Vec<u8>) {
        let Some(endpoint) = self.endpoints.get_mut(&id) else {
            return;
        };
        if endpoint.socket.is_some() {
            send(endpoint, &datagram);
        } else if endpoint.waiting.len() < UNRESOLVED_DATAGRAMS {
            endpoint.waiting.push_back(datagram);
        }
    }
}

fn send(endpoint: &EndpointLink, datagram: &[u8]) {
    let Some(socket) = &endpoint.socket else { return };
    // Not by the socket's own method: that one waits for the event loop to learn that a new socket can be written to.
    match rustix::net::send(socket, datagram, SendFlags::DONTWAIT) {
        Ok(bytes) => trace!(endpoint = &*endpoint.name, bytes, "datagram out"),
        Err(error) => debug!(endpoint = &*endpoint.name, %error, "datagram not sent"),
    }
}

/// Binds the endpoint's port of the range, or one that the system chooses.
fn bind(
    endpoint: &EndpointLink,
    server: SocketAddr,
    ports: Option<&RangeInclusive<u16>>,
) -> io::Result<UdpSocket> {
    let wanted = ports.and_then(|ports| {
        let port = ports.start().checked_add(endpoint.place)?;
        ports.contains(&port).then_some(port)
    });
    let socket = match wanted.map(|port| std::net::UdpSocket::bind(local(server, port))) {
        Some(Ok(socket)) => socket,
        Some(Err(error)) => {
            let port = wanted.unwrap_or_default();
            warn!(endpoint = &*endpoint.name, port, %error, "local port not free, the system chooses another");
            std::net::UdpSocket::bind(local(server, 0))?
        }
        None => std::net::UdpSocket::bind(local(server, 0))?,
    };
    socket.connect(server)?;
    socket.set_nonblocking(true)?;
    UdpSocket::from_std(socket)
}

fn local(server: SocketAddr, port: u16) -> SocketAddr {
    match server {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, port).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, port).into(),
    }
}

/// Hands datagrams to the event loop as long as the socket is the endpoint's.
async fn receive(endpoint: EndpointId, socket: std::sync::Weak<UdpSocket>, inputs: mpsc::Sender<Input>) {
    loop {
        let Some(socket) = socket.upgrade() else { return };
        let ready = tokio::time::timeout(LOOK_UP_AGAIN, socket.readable()).await;
        match ready
            .map_err(|_| io::ErrorKind::WouldBlock.into())
            .and_then(|ready| ready.and_then(|()| take(&socket)))
        {
            Ok(datagram) => {
                if inputs.send(Input::Datagram { endpoint, datagram }).await.is_err() {
                    return;
                }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            // A server that is being restarted: its host says that nobody listens.
            Err(error) => debug!(endpoint = endpoint.0, %error, "no datagram"),
        }
    }
}

fn take(socket: &UdpSocket) -> io::Result<Vec<u8>> {
    let mut buffer = [0; DATAGRAM_BYTES];
    let bytes = socket.try_recv(&mut buffer)?;
    Ok(buffer.get(..bytes).unwrap_or_default().to_vec())
}

async fn look_up(server: Arc<str>, uri: ServerUri, inputs: mpsc::Sender<Input>) {
    let mut failures = 0;
    loop {
        let pause = match lookup_host((uri.host.as_str(), uri.port)).await {
            Ok(addresses) => {
                failures = 0;
                let addresses: Vec<SocketAddr> = addresses.collect();
                if inputs
                    .send(Input::Resolved {
                        server: server.clone(),
                        addresses,
                    })
                    .await
                    .is_err()
                {
                    return;
                }
                LOOK_UP_AGAIN
            }
            Err(error) => {
                let pause = LOOK_UP_RETRY.get(failures).or(LOOK_UP_RETRY.last()).copied();
                failures += 1;
                warn!(server = &*server, host = uri.host, %error, "server name not resolved, trying again");
                pause.unwrap_or(LOOK_UP_AGAIN)
            }
        };
        tokio::time::sleep(pause).await;
    }
}

#[cfg(test)]
mod tests {
    use ucifi_core::EndpointState;

    use super::*;

    const ENDPOINT: EndpointId = EndpointId(0);

    fn links(inputs: mpsc::Sender<Input>) -> ServerLinks {
        let uri = ServerUri {
            text: "coap://lwm2m.invalid".to_owned(),
            host: "lwm2m.invalid".to_owned(),
            port: 5683,
        };
        let text = "[gateway]\nname = \"c\"\n[[server]]\nname = \"city\"\nuri = \"coap://192.0.2.1\"\n";
        let file = crate::config::File {
            name: "t".to_owned(),
            text: text.to_owned(),
        };
        let sources = crate::config::Sources {
            options: vec![file],
            ..Default::default()
        };
        let server = crate::config::read(&sources)
            .unwrap()
            .configuration
            .servers
            .remove(0);
        let status = EndpointStatus {
            id: ENDPOINT,
            account: "city".into(),
            server_uri: "coap://lwm2m.invalid".into(),
            name: "c".into(),
            device: "c".into(),
            state: EndpointState::Waiting,
            location: None,
            last_error: None,
            observations: 0,
            queued: 0,
            delivered: 0,
            dropped: 0,
        };
        ServerLinks::open(&[Server { uri, ..server }], &[status], inputs)
    }

    fn listen() -> std::net::UdpSocket {
        let socket = std::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        socket
    }

    /// Returns the first byte of the next datagram.
    fn next(socket: &std::net::UdpSocket) -> u8 {
        let mut buffer = [0; 16];
        socket.recv(&mut buffer).unwrap();
        buffer[0]
    }

    #[test]
    fn the_first_datagrams_wait_for_the_address_of_the_server_and_the_rest_is_lost() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        // Nothing is awaited, so that no name is looked up.
        let _inside = runtime.enter();
        let (inputs, _kept) = mpsc::channel(1);
        let (mut links, server) = (links(inputs), listen());
        for number in 0..=u8::try_from(UNRESOLVED_DATAGRAMS).unwrap() {
            links.transmit(ENDPOINT, vec![number]);
        }
        links.handle_resolved("city", &[server.local_addr().unwrap()]);
        links.transmit(ENDPOINT, vec![99]);
        let got: Vec<u8> = (0..=UNRESOLVED_DATAGRAMS).map(|_| next(&server)).collect();
        assert_eq!(got, [0, 1, 2, 3, 99]);
    }

    #[test]
    fn after_a_failure_the_next_of_several_addresses_is_tried() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let (inputs, mut received) = mpsc::channel(1);
        runtime.block_on(async {
            let (mut links, silent, server) = (links(inputs), listen(), listen());
            let addresses = [silent.local_addr().unwrap(), server.local_addr().unwrap()];
            links.handle_resolved("city", &addresses);
            links.handle_failure(ENDPOINT, Instant::now());
            assert_eq!(
                links.servers["city"].address,
                Some(addresses[0]),
                "it is given its time"
            );
            links.handle_failure(ENDPOINT, Instant::now() + ADDRESS_TRIAL);
            assert_eq!(links.servers["city"].address, Some(addresses[1]));
            let socket = links.endpoints[&ENDPOINT].socket.clone().unwrap();
            while socket.peer_addr().unwrap() != addresses[1] {
                tokio::task::yield_now().await;
            }
            let port = socket.local_addr().unwrap().port();
            server.send_to(&[7], (Ipv4Addr::LOCALHOST, port)).unwrap();
            // The same port as before: what a firewall knows, and what the server answers to.
            let Some(Input::Datagram { datagram, .. }) = received.recv().await else {
                panic!("no datagram came");
            };
            assert_eq!(datagram, [7]);
        });
    }
}
