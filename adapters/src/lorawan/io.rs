//! Runs the [`Forwarders`] and the [`NetworkServer`] on a UDP socket.
//!
//! What a forwarder waits for goes out first: the acknowledgement of its datagram before the datagram is looked into, and
//! the answer to a frame before anybody else is told of the frame. A slow reader of the events delays no answer.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::net::UdpSocket;
use tokio::sync::{mpsc, oneshot};
use tokio::time::sleep;
use tracing::{info, trace, warn};
use ucifi_core::Downlink;
use ucifi_core::field::ReceiptId;

use super::forwarders::{self, Forwarders, limits};
use super::{Event, ForwarderId, NetworkServer, NetworkStatistics};
use crate::clock::{now, until};

/// Pause before a socket that could not be opened is tried again.
const PAUSE: Duration = Duration::from_secs(5);

/// What is asked of a running network.
#[derive(Debug)]
pub enum ToNetwork {
    /// Send this.
    Downlink(Downlink),
    /// Nothing of this uplink can be lost any more.
    Settled(ReceiptId),
    /// A save was made, or could not be.
    Saved {
        /// Which one.
        id: u64,
        /// Why it could not.
        result: Result<(), String>,
    },
    /// Tell the counters.
    Statistics(oneshot::Sender<Statistics>),
    /// Take no more frames, and say when everything is saved.
    Stop(oneshot::Sender<()>),
}

/// What a running network tells.
#[derive(Clone, Debug, PartialEq)]
pub enum FromNetwork {
    /// Something the network server had to tell.
    Event(Event),
    /// The socket is open at this address.
    Listening(SocketAddr),
    /// It is not, for the reason given; it is tried again.
    NotListening(String),
    /// A forwarder can be reached.
    Connected(ForwarderId),
    /// A forwarder has not been heard for a while.
    Lost(ForwarderId),
}

/// Everything that was counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statistics {
    /// By the network server.
    pub network: NetworkStatistics,
    /// By the forwarders.
    pub forwarders: forwarders::Statistics,
    /// Datagrams that the system did not take.
    pub unsent: u64,
}

/// Runs the network until nobody holds the other end of `orders` or of `events` any more.
pub async fn run(
    listen: SocketAddr,
    forwarders: Forwarders,
    server: NetworkServer,
    orders: mpsc::Receiver<ToNetwork>,
    events: mpsc::Sender<FromNetwork>,
) {
    let mut network = Network {
        forwarders,
        server,
        told: VecDeque::new(),
        event: None,
        unsent: 0,
        stopping: None,
    };
    network.serve(listen, orders, events).await;
}

struct Network {
    forwarders: Forwarders,
    server: NetworkServer,
    /// What is to be told of the socket and the forwarders.
    told: VecDeque<FromNetwork>,
    /// What the server has to tell, and there was no room for yet.
    event: Option<Event>,
    unsent: u64,
    stopping: Option<oneshot::Sender<()>>,
}

/// Why the socket is not served any more.
enum End {
    /// Nobody wants it.
    Stopped,
    /// It is broken.
    Broken(io::Error),
}

impl Network {
    async fn serve(
        &mut self,
        listen: SocketAddr,
        mut orders: mpsc::Receiver<ToNetwork>,
        events: mpsc::Sender<FromNetwork>,
    ) {
        loop {
            let reason = match UdpSocket::bind(listen).await {
                Err(error) => error,
                Ok(socket) => match self.listen(&socket, &mut orders, &events).await {
                    End::Stopped => return,
                    End::Broken(error) => error,
                },
            };
            let reason = format!("cannot listen on UDP port {listen}: {reason}");
            warn!(
                reason,
                "packet forwarders are not heard, trying again in {} s",
                PAUSE.as_secs()
            );
            self.tell(FromNetwork::NotListening(reason));
            if let End::Stopped = self.attend(sleep(PAUSE), &mut orders, &events).await {
                return;
            }
        }
    }

    /// Serves everything but the socket for a while.
    async fn attend(
        &mut self,
        pause: tokio::time::Sleep,
        orders: &mut mpsc::Receiver<ToNetwork>,
        events: &mpsc::Sender<FromNetwork>,
    ) -> End {
        let mut pause = std::pin::pin!(pause);
        loop {
            self.pump(None);
            let has_news = self.has_news();
            let wake = self.wake();
            tokio::select! {
                () = &mut pause => return End::Broken(io::Error::other("paused")),
                permit = events.reserve(), if has_news => match permit {
                    Ok(permit) => self.send_news(permit),
                    Err(_) => return End::Stopped,
                },
                order = orders.recv() => match order {
                    Some(order) => self.handle_order(order),
                    None => return End::Stopped,
                },
                () = until(wake) => self.handle_timeout(),
            }
        }
    }

    async fn listen(
        &mut self,
        socket: &UdpSocket,
        orders: &mut mpsc::Receiver<ToNetwork>,
        events: &mpsc::Sender<FromNetwork>,
    ) -> End {
        match socket.local_addr() {
            Ok(address) => {
                info!(%address, "listening for packet forwarders");
                self.tell(FromNetwork::Listening(address));
            }
            Err(error) => return End::Broken(error),
        }
        let mut buffer = vec![0; limits::DATAGRAM_BYTES + 1];
        loop {
            self.pump(Some(socket));
            let has_news = self.has_news();
            let wake = self.wake();
            tokio::select! {
                received = socket.recv_from(&mut buffer) => match received {
                    Ok((length, from)) => {
                        let datagram = buffer.get(..length).unwrap_or_default();
                        self.handle_datagram(socket, from, datagram);
                    }
                    Err(error) if is_of_a_peer(&error) => {}
                    Err(error) => return End::Broken(error),
                },
                () = until(wake) => self.handle_timeout(),
                order = orders.recv() => match order {
                    Some(order) => self.handle_order(order),
                    None => return End::Stopped,
                },
                permit = events.reserve(), if has_news => match permit {
                    Ok(permit) => self.send_news(permit),
                    Err(_) => return End::Stopped,
                },
            }
        }
    }

    fn handle_datagram(&mut self, socket: &UdpSocket, from: SocketAddr, datagram: &[u8]) {
        trace!(%from, bytes = datagram.len(), "received");
        if let Some(ack) = self.forwarders.handle_datagram(from, datagram, now()) {
            self.send(socket, from, &ack);
        }
    }

    fn handle_timeout(&mut self) {
        let now = now().instant;
        self.forwarders.handle_timeout(now);
        self.server.handle_timeout(now);
    }

    fn handle_order(&mut self, order: ToNetwork) {
        let now = now().instant;
        match order {
            ToNetwork::Downlink(downlink) => self.server.handle_downlink(downlink, now),
            ToNetwork::Settled(receipt) => self.server.handle_settled(receipt, now),
            ToNetwork::Saved { id, result } => self.server.handle_saved(id, result, now),
            // Whoever asked may have gone: nothing is owed to him.
            ToNetwork::Statistics(answer) => drop(answer.send(self.statistics(now))),
            ToNetwork::Stop(answer) => {
                self.server.handle_stop(now);
                self.stopping = Some(answer);
            }
        }
    }

    /// Carries frames, outcomes and transmissions between the two engines until both rest, and sends what comes of it.
    fn pump(&mut self, socket: Option<&UdpSocket>) {
        let now = now().instant;
        loop {
            while let Some(event) = self.forwarders.poll_event() {
                match event {
                    forwarders::Event::Heard(frame) => self.server.handle_frame(&frame, now),
                    forwarders::Event::Sent(id, sent) => self.server.handle_sent(id, &sent, now),
                    forwarders::Event::Connected(forwarder) => self.tell(FromNetwork::Connected(forwarder)),
                    forwarders::Event::Lost(forwarder) => self.tell(FromNetwork::Lost(forwarder)),
                }
            }
            let Some(transmission) = self.server.poll_transmission() else {
                break;
            };
            self.forwarders.handle_transmission(transmission, now);
        }
        while let Some((to, datagram)) = self.forwarders.poll_transmit() {
            match socket {
                Some(socket) => self.send(socket, to, &datagram),
                None => self.unsent += 1,
            }
        }
        if self.server.is_stopped()
            && let Some(stopping) = self.stopping.take()
        {
            // Whoever asked may have gone: nothing is owed to him.
            stopping.send(()).ok();
        }
    }

    /// Sends at once or not at all: whoever waits for it would not want it late.
    fn send(&mut self, socket: &UdpSocket, to: SocketAddr, datagram: &[u8]) {
        if socket.try_send_to(datagram, to).is_err() {
            self.unsent += 1;
        }
    }

    fn statistics(&self, now: Instant) -> Statistics {
        Statistics {
            network: self.server.statistics().clone(),
            forwarders: self.forwarders.statistics(now),
            unsent: self.unsent,
        }
    }

    fn wake(&self) -> Option<Instant> {
        let server = self.server.poll_timeout(now().instant);
        [server, self.forwarders.poll_timeout()]
            .into_iter()
            .flatten()
            .min()
    }

    fn tell(&mut self, news: FromNetwork) {
        if self.told.len() >= limits::NEWS {
            self.told.pop_front();
        }
        self.told.push_back(news);
    }

    /// Says whether there is something to tell, and has it ready.
    fn has_news(&mut self) -> bool {
        self.event = self.event.take().or_else(|| self.server.poll_event());
        self.event.is_some() || !self.told.is_empty()
    }

    fn send_news(&mut self, permit: mpsc::Permit<'_, FromNetwork>) {
        let event = || self.event.take().map(FromNetwork::Event);
        if let Some(news) = self.told.pop_front().or_else(event) {
            permit.send(news);
        }
    }
}

/// Says whether an error tells of a datagram that did not arrive: a forwarder was stopped.
fn is_of_a_peer(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionReset | io::ErrorKind::HostUnreachable
    )
}
