//! Runs a [`LwM2mServer`] on a UDP socket.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use lwm2m_client::Timestamp;
use tokio::net::UdpSocket;
use tokio::sync::{mpsc, oneshot};
use tokio::time::sleep_until;
use ucifi_core::Now;

use super::{Answer, ClientView, Event, LwM2mServer, Manners, RequestFailure, RequestId, ServerRequest};
use crate::limits;

/// A server that runs: it stops when its last [`Handle`] is dropped.
#[derive(Debug)]
pub struct Running {
    /// Where it listens.
    pub address: SocketAddr,
    /// Gives orders.
    pub handle: Handle,
    /// Tells what happens; what comes while [`limits::MAX_EVENTS`] wait to be taken is lost.
    pub events: mpsc::Receiver<Event>,
}

/// Gives orders to a running server.
#[derive(Clone, Debug)]
pub struct Handle {
    orders: mpsc::Sender<Order>,
}

enum Order {
    Request(
        String,
        ServerRequest,
        oneshot::Sender<Result<Answer, RequestFailure>>,
    ),
    With(Box<dyn FnOnce(&mut LwM2mServer) + Send>),
}

type Waiting = BTreeMap<RequestId, oneshot::Sender<Result<Answer, RequestFailure>>>;

/// Binds `address` and runs the server there, in a task of the current runtime.
///
/// # Errors
/// When the address cannot be bound.
pub async fn start(address: SocketAddr, server: LwM2mServer) -> io::Result<Running> {
    let socket = UdpSocket::bind(address).await?;
    let address = socket.local_addr()?;
    let (orders, inbox) = mpsc::channel(64);
    let (outbox, events) = mpsc::channel(limits::MAX_EVENTS);
    tokio::spawn(run(socket, server, inbox, outbox));
    Ok(Running {
        address,
        handle: Handle { orders },
        events,
    })
}

impl Handle {
    /// Asks a client, and waits for what comes of it.
    ///
    /// # Errors
    /// When no answer comes.
    pub async fn request(&self, endpoint: &str, request: ServerRequest) -> Result<Answer, RequestFailure> {
        let (reply, answer) = oneshot::channel();
        let order = Order::Request(endpoint.to_owned(), request, reply);
        self.orders
            .send(order)
            .await
            .map_err(|_| RequestFailure::Stopped)?;
        answer.await.map_err(|_| RequestFailure::Stopped)?
    }

    /// Returns the registered clients.
    ///
    /// # Errors
    /// When the server was stopped.
    pub async fn clients(&self) -> Result<Vec<ClientView>, RequestFailure> {
        self.with(|server| server.clients()).await
    }

    /// Changes how the server behaves.
    ///
    /// # Errors
    /// When the server was stopped.
    pub async fn change(
        &self,
        change: impl FnOnce(&mut Manners) + Send + 'static,
    ) -> Result<(), RequestFailure> {
        self.with(|server| change(server.manners_mut())).await
    }

    /// Does something with the server between two datagrams.
    ///
    /// # Errors
    /// When the server was stopped.
    pub async fn with<T: Send + 'static>(
        &self,
        order: impl FnOnce(&mut LwM2mServer) -> T + Send + 'static,
    ) -> Result<T, RequestFailure> {
        let (reply, answer) = oneshot::channel();
        let order = Order::With(Box::new(move |server| {
            // Whoever asked may have gone; then there is nobody to tell.
            drop(reply.send(order(server)));
        }));
        self.orders
            .send(order)
            .await
            .map_err(|_| RequestFailure::Stopped)?;
        answer.await.map_err(|_| RequestFailure::Stopped)
    }
}

async fn run(
    socket: UdpSocket,
    mut server: LwM2mServer,
    mut orders: mpsc::Receiver<Order>,
    events: mpsc::Sender<Event>,
) {
    let mut waiting = Waiting::new();
    let mut buffer = vec![0; 65_536];
    loop {
        while let Some((to, datagram)) = server.poll_transmit() {
            // A datagram that cannot be sent is one that was lost: the exchange repeats it.
            drop(socket.send_to(&datagram, to).await);
        }
        while let Some(event) = server.poll_event() {
            tell(&mut waiting, &events, event);
        }
        let due = server.poll_timeout().map(tokio::time::Instant::from_std);
        tokio::select! {
            received = socket.recv_from(&mut buffer) => {
                if let Ok((length, from)) = received {
                    server.handle_datagram(from, &buffer[..length], now());
                }
            }
            order = orders.recv() => match order {
                Some(order) => carry_out(&mut server, &mut waiting, order),
                None => return,
            },
            () = sleep_until(due.unwrap_or_else(far_off)), if due.is_some() => server.handle_timeout(now()),
        }
    }
}

fn tell(waiting: &mut Waiting, events: &mpsc::Sender<Event>, event: Event) {
    if let Event::Finished { id, outcome, .. } = &event
        && let Some(reply) = waiting.remove(id)
    {
        // Whoever asked may have given up; the event tells the rest.
        drop(reply.send(outcome.clone()));
    }
    // A reader that is too slow loses events, never the server its pace.
    drop(events.try_send(event));
}

fn carry_out(server: &mut LwM2mServer, waiting: &mut Waiting, order: Order) {
    match order {
        Order::Request(endpoint, request, reply) => {
            let id = server.request(&endpoint, request, now().instant);
            waiting.insert(id, reply);
        }
        Order::With(order) => order(server),
    }
}

fn far_off() -> tokio::time::Instant {
    tokio::time::Instant::now() + std::time::Duration::from_secs(3600)
}

fn now() -> Now {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).ok();
    let wall = since_1970
        .and_then(|since| i64::try_from(since.as_millis()).ok())
        .map(Timestamp::from_unix_ms);
    Now {
        instant: Instant::now(),
        wall,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use lwm2m_client::object::ObjectTable;

    use super::*;
    use crate::server::{Code, Transmission};

    const REGISTER: &[u8] = b"\x41\x02\x00\x01\x07\xb2rd\x11\x28\x37ep=lamp\x05lt=60\x09lwm2m=1.1\xff</3/0>";

    async fn receive(socket: &UdpSocket) -> Vec<u8> {
        let mut buffer = [0; 1500];
        let received = tokio::time::timeout(Duration::from_secs(10), socket.recv(&mut buffer));
        let length = received.await.expect("the server says something").unwrap();
        buffer[..length].to_vec()
    }

    #[tokio::test]
    async fn a_client_registers_over_a_socket_and_is_asked() {
        let server = LwM2mServer::new(Arc::new(ObjectTable::builtin()), Transmission::default(), 1);
        let mut running = start("127.0.0.1:0".parse().unwrap(), server).await.unwrap();
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        socket.connect(running.address).await.unwrap();
        socket.send(REGISTER).await.unwrap();
        assert_eq!(receive(&socket).await, b"\x61\x41\x00\x01\x07\x82rd\x02r1");
        assert!(matches!(running.events.recv().await, Some(Event::Registered(_))));
        assert_eq!(running.handle.clients().await.unwrap()[0].endpoint, "lamp");

        let handle = running.handle.clone();
        let path = "/3/0/0".parse().unwrap();
        let asked = tokio::spawn(async move {
            handle
                .request("lamp", ServerRequest::Read { path, accept: None })
                .await
        });
        let request = receive(&socket).await;
        assert_eq!(request[..2], [0x44, 0x01]);
        let answer = [&[0x64, 0x45], &request[2..8], b"\xc0\xffLamps & Sons"].concat();
        socket.send(&answer).await.unwrap();
        let answer = asked.await.unwrap().unwrap();
        assert_eq!(
            (answer.code, answer.text().as_str()),
            (Code::CONTENT, "Lamps & Sons")
        );
    }

    #[tokio::test]
    async fn whoever_asks_a_client_that_is_not_there_is_told_so() {
        let server = LwM2mServer::new(Arc::new(ObjectTable::builtin()), Transmission::default(), 1);
        let running = start("127.0.0.1:0".parse().unwrap(), server).await.unwrap();
        let path = "/3/0/0".parse().unwrap();
        let outcome = running
            .handle
            .request("lamp", ServerRequest::Read { path, accept: None })
            .await;
        assert_eq!(outcome, Err(RequestFailure::NotRegistered("lamp".to_owned())));
    }

    #[test]
    fn no_more_events_wait_to_be_taken_than_the_bound_allows() {
        let (outbox, mut events) = mpsc::channel(limits::MAX_EVENTS);
        for _ in 0..limits::MAX_EVENTS + 5 {
            let event = Event::Expired {
                endpoint: "lamp".to_owned(),
            };
            tell(&mut Waiting::new(), &outbox, event);
        }
        let waiting = std::iter::from_fn(|| events.try_recv().ok()).count();
        assert_eq!(waiting, limits::MAX_EVENTS);
    }
}
