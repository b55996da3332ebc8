//! UDP towards the LwM2M servers: one socket for each endpoint, connected to the server's address.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::net::lookup_host;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tracing::{debug, info, warn};
use ucifi_core::state::SaveRequest;
use ucifi_core::{EndpointId, EndpointStatus};

use super::Input;
use super::endpoint_link::{EndpointLink, is_lost, receive};
use super::ports::{PortName, Ports};
use crate::config::{Server, ServerUri};
use crate::limits::UNRESOLVED_DATAGRAMS;

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
    ports: Ports,
    /// A task ends with the socket that it serves.
    pub(super) tasks: JoinSet<()>,
}

struct ServerLink {
    uri: ServerUri,
    /// All that the name stands for.
    addresses: Vec<SocketAddr>,
    /// The one in use.
    address: Option<SocketAddr>,
    /// When it was taken into use.
    since: Instant,
    /// The local ports that its endpoints may have; none is any.
    ports: Option<RangeInclusive<u16>>,
    /// Whether the last datagram could not go out: it is said once.
    is_out_of_reach: bool,
    /// Datagrams that wait for the first address, or for the local port to be saved.
    waiting: BTreeMap<EndpointId, VecDeque<Vec<u8>>>,
}

impl ServerLinks {
    /// Opens a socket for every endpoint whose server has an address, and begins to look for the others.
    pub(super) fn open(
        servers: &[Server],
        endpoints: &[EndpointStatus],
        cabinet: &str,
        ports: Ports,
        inputs: mpsc::Sender<Input>,
    ) -> Self {
        let mut links = Self {
            servers: BTreeMap::new(),
            endpoints: BTreeMap::new(),
            inputs,
            ports,
            tasks: JoinSet::new(),
        };
        for endpoint in endpoints {
            let port_name = PortName::new(&endpoint.account, &endpoint.device, cabinet);
            let link = EndpointLink::new(endpoint.account.clone(), endpoint.name.clone(), port_name);
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
            is_out_of_reach: false,
            waiting: BTreeMap::new(),
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

    /// Returns the local ports that are to be saved.
    pub(super) fn take_save(&mut self) -> Option<SaveRequest> {
        self.ports.take_request()
    }

    /// Takes whether local ports are saved: what waited for that goes out.
    pub(super) fn handle_saved(&mut self, id: u64, result: Result<(), String>) {
        for id in self.ports.handle_saved(id, result) {
            let server = self.endpoints.get(&id).map(|endpoint| endpoint.server.clone());
            let link = server.and_then(|server| self.servers.get_mut(&server));
            let waiting = link.and_then(|link| link.waiting.remove(&id)).unwrap_or_default();
            for datagram in waiting {
                self.transmit(id, datagram, Instant::now());
            }
        }
    }

    fn connect(&mut self, server: &str, address: SocketAddr) {
        let Some(link) = self.servers.get_mut(server) else {
            return;
        };
        info!(server, %address, uri = link.uri.text, "server address");
        link.address = Some(address);
        link.since = Instant::now();
        let waiting = std::mem::take(&mut link.waiting);
        let endpoints = self.endpoints.iter_mut().filter(|(_, e)| *e.server == *server);
        for (id, endpoint) in endpoints {
            let aimed = aim(
                *id,
                endpoint,
                link,
                address,
                &mut self.ports,
                (&mut self.tasks, &self.inputs),
            );
            link.note(server, aimed.as_ref().err());
        }
        for (id, datagram) in waiting
            .into_iter()
            .flat_map(|(id, all)| all.into_iter().map(move |d| (id, d)))
        {
            self.transmit(id, datagram, Instant::now());
        }
    }

    /// Sends a datagram from the endpoint's own port. What the system does not take is lost as if on the way; a socket
    /// that reaches nobody is opened and connected again before.
    pub(super) fn transmit(&mut self, id: EndpointId, datagram: Vec<u8>, now: Instant) {
        let Some(endpoint) = self.endpoints.get_mut(&id) else {
            return;
        };
        let Some(link) = self.servers.get_mut(&endpoint.server) else {
            return;
        };
        let Some(address) = link.address.filter(|_| !self.ports.is_unsaved(id)) else {
            let waiting = link.waiting.entry(id).or_default();
            if waiting.len() < UNRESOLVED_DATAGRAMS {
                waiting.push_back(datagram);
            }
            return;
        };
        let sent = match endpoint.send(&datagram) {
            Err(error) if is_lost(&error) && endpoint.may_mend(now) => {
                debug!(endpoint = &*endpoint.name, %error, "connecting the socket again");
                aim(
                    id,
                    endpoint,
                    link,
                    address,
                    &mut self.ports,
                    (&mut self.tasks, &self.inputs),
                )
                .and_then(|()| endpoint.send(&datagram))
            }
            sent => sent,
        };
        link.note(&endpoint.server, sent.as_ref().err());
    }
}

impl ServerLink {
    /// Says once that the server cannot be reached, and once that it can be again.
    fn note(&mut self, server: &str, error: Option<&io::Error>) {
        match error {
            None => {
                if self.is_out_of_reach {
                    info!(server, "datagrams go out to the server again");
                }
                self.is_out_of_reach = false;
            }
            Some(error) if self.is_out_of_reach || !is_lost(error) => {
                debug!(server, %error, "datagram not sent");
            }
            Some(error) => {
                warn!(server, %error, "no way to the server, trying again with each datagram");
                self.is_out_of_reach = true;
            }
        }
    }
}

/// Opens the endpoint's socket where it has none, and connects it to the address.
fn aim(
    id: EndpointId,
    endpoint: &mut EndpointLink,
    server: &ServerLink,
    address: SocketAddr,
    ports: &mut Ports,
    (tasks, inputs): (&mut JoinSet<()>, &mpsc::Sender<Input>),
) -> io::Result<()> {
    if let Some(socket) = endpoint.open(address, ports, server.ports.as_ref())? {
        tasks.spawn(receive(id, socket, inputs.clone()));
    }
    let connected = endpoint.connect(address);
    if let Some(port) = endpoint.port() {
        ports.give(id, &endpoint.port_name, port);
    }
    connected
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
    use std::net::Ipv4Addr;

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
            waiting: 0,
            buffered: 0,
            oldest: None,
            totals: ucifi_core::Totals::default(),
        };
        ServerLinks::open(
            &[Server { uri, ..server }],
            &[status],
            "c",
            Ports::default(),
            inputs,
        )
    }

    /// Does what the store does.
    fn save(links: &mut ServerLinks) {
        let request = links.take_save().unwrap();
        links.handle_saved(request.id, Ok(()));
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

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap()
    }

    #[test]
    fn the_first_datagrams_wait_for_the_address_of_the_server_and_the_rest_is_lost() {
        let runtime = runtime();
        // Nothing is awaited, so that no name is looked up.
        let _inside = runtime.enter();
        let (inputs, _kept) = mpsc::channel(1);
        let (mut links, server) = (links(inputs), listen());
        for number in 0..=u8::try_from(UNRESOLVED_DATAGRAMS).unwrap() {
            links.transmit(ENDPOINT, vec![number], Instant::now());
        }
        links.handle_resolved("city", &[server.local_addr().unwrap()]);
        save(&mut links);
        links.transmit(ENDPOINT, vec![99], Instant::now());
        let got: Vec<u8> = (0..=UNRESOLVED_DATAGRAMS).map(|_| next(&server)).collect();
        assert_eq!(got, [0, 1, 2, 3, 99]);
    }

    #[test]
    fn after_a_failure_the_next_of_several_addresses_is_tried() {
        let runtime = runtime();
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
            let socket = links.endpoints[&ENDPOINT].socket();
            assert_eq!(socket.peer_addr().unwrap(), addresses[1]);
            let port = socket.local_addr().unwrap().port();
            server.send_to(&[7], (Ipv4Addr::LOCALHOST, port)).unwrap();
            // The same port as before: what a firewall knows, and what the server answers to.
            let Some(Input::Datagram { datagram, .. }) = received.recv().await else {
                panic!("no datagram came");
            };
            assert_eq!(datagram, [7]);
        });
    }

    #[test]
    fn a_server_that_could_not_be_reached_at_the_start_is_reached_when_the_network_is_up() {
        let runtime = runtime();
        let _inside = runtime.enter();
        let (inputs, _kept) = mpsc::channel(1);
        let (mut links, server) = (links(inputs), listen());
        let address = server.local_addr().unwrap();
        // No socket may be connected there without leave: it fails as it does without a route.
        links.handle_resolved("city", &[(Ipv4Addr::BROADCAST, 5683).into()]);
        save(&mut links);
        let start = Instant::now();
        links.transmit(ENDPOINT, vec![1], start);
        links.servers.get_mut("city").unwrap().address = Some(address);
        links.transmit(ENDPOINT, vec![2], start);
        links.transmit(ENDPOINT, vec![3], start + Duration::from_secs(1));
        assert_eq!(next(&server), 3, "what was due within the second is lost");
    }

    #[test]
    fn a_socket_that_lost_its_connection_is_connected_again_on_the_same_port() {
        let runtime = runtime();
        let _inside = runtime.enter();
        let (inputs, _kept) = mpsc::channel(1);
        let (mut links, server) = (links(inputs), listen());
        links.handle_resolved("city", &[server.local_addr().unwrap()]);
        save(&mut links);
        let socket = links.endpoints[&ENDPOINT].socket();
        let port = socket.local_addr().unwrap().port();
        rustix::net::connect_unspec(socket).unwrap();
        // Some kernels take a port away that the system chose; here only the connection is to be gone.
        rustix::net::bind(socket, &SocketAddr::from((Ipv4Addr::UNSPECIFIED, port))).ok();
        links.transmit(ENDPOINT, vec![1], Instant::now());
        let (_, from) = server.recv_from(&mut [0; 16]).unwrap();
        assert_eq!(from.port(), port);
    }
}
