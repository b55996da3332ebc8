//! Runs a [`Field`] in real time, its forwarders on UDP sockets of their own.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use tokio::net::UdpSocket;
use tokio::sync::{mpsc, oneshot};
use tokio::time::sleep_until;

use super::field::{Event, Field};
use super::forwarder::Socket;
use crate::limits;

/// A field that runs: it stops when its last [`Handle`] is dropped.
#[derive(Debug)]
pub struct Running {
    /// Gives orders.
    pub handle: Handle,
    /// Tells what happens to the devices; what comes while [`limits::MAX_EVENTS`] wait to be taken is lost.
    pub events: mpsc::Receiver<Event>,
}

/// Gives orders to a running field.
#[derive(Clone, Debug)]
pub struct Handle {
    orders: mpsc::Sender<Order>,
}

type Order = Box<dyn FnOnce(&mut Field, Instant) + Send>;

/// A datagram from the server: for which forwarder, at which of its sockets.
type Received = (usize, Socket, Vec<u8>);

/// Runs a field whose forwarders speak to `server`, in a task of the current runtime.
///
/// # Errors
/// When a socket cannot be bound.
pub async fn start(field: Field, server: SocketAddr) -> io::Result<Running> {
    let mut sockets = Vec::new();
    let (received, inbox) = mpsc::channel(64);
    for forwarder in 0..field.forwarders() {
        for side in [Socket::Up, Socket::Down] {
            let socket = UdpSocket::bind(local_for(server)).await?;
            socket.connect(server).await?;
            let socket = Arc::new(socket);
            tokio::spawn(receive(socket.clone(), (forwarder, side), received.clone()));
            sockets.push(((forwarder, side), socket));
        }
    }
    let (orders, orders_inbox) = mpsc::channel(16);
    let (told, events) = mpsc::channel(limits::MAX_EVENTS);
    tokio::spawn(run(field, sockets, inbox, orders_inbox, told));
    Ok(Running {
        handle: Handle { orders },
        events,
    })
}

/// What stays on the machine has no business on its other addresses.
fn local_for(server: SocketAddr) -> SocketAddr {
    let local: IpAddr = match (server, server.ip().is_loopback()) {
        (SocketAddr::V4(_), true) => Ipv4Addr::LOCALHOST.into(),
        (SocketAddr::V4(_), false) => Ipv4Addr::UNSPECIFIED.into(),
        (SocketAddr::V6(_), true) => Ipv6Addr::LOCALHOST.into(),
        (SocketAddr::V6(_), false) => Ipv6Addr::UNSPECIFIED.into(),
    };
    (local, 0).into()
}

impl Handle {
    /// Does something with the field; returns none where it was stopped.
    pub async fn with<T: Send + 'static>(
        &self,
        order: impl FnOnce(&mut Field, Instant) -> T + Send + 'static,
    ) -> Option<T> {
        let (reply, answer) = oneshot::channel();
        let order: Order = Box::new(move |field, now| {
            // Whoever asked may have gone; then there is nobody to tell.
            drop(reply.send(order(field, now)));
        });
        self.orders.send(order).await.ok()?;
        answer.await.ok()
    }
}

async fn receive(
    socket: Arc<UdpSocket>,
    (forwarder, side): (usize, Socket),
    received: mpsc::Sender<Received>,
) {
    let mut buffer = vec![0; 2_048];
    loop {
        tokio::select! {
            length = socket.recv(&mut buffer) => match length {
                Ok(length) => {
                    let datagram = buffer[..length].to_vec();
                    if received.send((forwarder, side, datagram)).await.is_err() {
                        return;
                    }
                }
                // Nobody listens at the server's port yet: a forwarder does not mind either.
                Err(_) => tokio::time::sleep(std::time::Duration::from_millis(100)).await,
            },
            () = received.closed() => return,
        }
    }
}

async fn run(
    mut field: Field,
    sockets: Vec<((usize, Socket), Arc<UdpSocket>)>,
    mut received: mpsc::Receiver<Received>,
    mut orders: mpsc::Receiver<Order>,
    events: mpsc::Sender<Event>,
) {
    loop {
        while let Some((forwarder, side, datagram)) = field.poll_transmit() {
            let socket = sockets.iter().find(|(name, _)| *name == (forwarder, side));
            if let Some((_, socket)) = socket {
                // A datagram that cannot be sent is one that was lost.
                drop(socket.send(&datagram).await);
            }
        }
        while let Some(event) = field.poll_event() {
            // Whoever does not listen hears less.
            drop(events.try_send(event));
        }
        let due = field.poll_timeout().map(tokio::time::Instant::from_std);
        tokio::select! {
            datagram = received.recv() => match datagram {
                Some((forwarder, side, bytes)) => {
                    field.handle_datagram(forwarder, side, &bytes, Instant::now());
                }
                None => return,
            },
            order = orders.recv() => match order {
                Some(order) => order(&mut field, Instant::now()),
                None => return,
            },
            () = sleep_until(due.unwrap_or_else(tokio::time::Instant::now)), if due.is_some() => {
                field.handle_timeout(Instant::now());
            }
        }
    }
}
