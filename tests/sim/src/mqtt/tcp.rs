//! Runs a [`Broker`] on a TCP port, so that the real gateway can connect to it.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::time::Instant;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};
use tokio::time::sleep_until;

use super::{Broker, ConnectionId, Output};
use crate::limits;

/// A broker that runs: it stops when its last [`Handle`] is dropped.
#[derive(Debug)]
pub struct Running {
    /// Where it listens.
    pub address: SocketAddr,
    /// Gives orders.
    pub handle: Handle,
}

/// Gives orders to a running broker.
#[derive(Clone, Debug)]
pub struct Handle {
    orders: mpsc::Sender<Order>,
}

type Order = Box<dyn FnOnce(&mut Broker) + Send>;

/// What a connection brought: bytes, or its end.
type Received = (ConnectionId, Option<Vec<u8>>);

/// Binds `address` and runs the broker there, in a task of the current runtime.
///
/// # Errors
/// When the address cannot be bound.
pub async fn start(address: SocketAddr, broker: Broker) -> io::Result<Running> {
    let listener = TcpListener::bind(address).await?;
    let address = listener.local_addr()?;
    let (orders, inbox) = mpsc::channel(16);
    let (to_server, received) = mpsc::channel(64);
    let server = Server {
        broker,
        writers: BTreeMap::new(),
        to_server,
    };
    tokio::spawn(server.run(listener, inbox, received));
    Ok(Running {
        address,
        handle: Handle { orders },
    })
}

impl Handle {
    /// Does something with the broker between two packets; returns none where it was stopped.
    pub async fn with<T: Send + 'static>(
        &self,
        order: impl FnOnce(&mut Broker) -> T + Send + 'static,
    ) -> Option<T> {
        let (reply, answer) = oneshot::channel();
        let order: Order = Box::new(move |broker| {
            // Whoever asked may have gone; then there is nobody to tell.
            drop(reply.send(order(broker)));
        });
        self.orders.send(order).await.ok()?;
        answer.await.ok()
    }
}

struct Server {
    broker: Broker,
    writers: BTreeMap<ConnectionId, mpsc::Sender<Vec<u8>>>,
    to_server: mpsc::Sender<Received>,
}

impl Server {
    async fn run(
        mut self,
        listener: TcpListener,
        mut orders: mpsc::Receiver<Order>,
        mut received: mpsc::Receiver<Received>,
    ) {
        loop {
            while let Some(output) = self.broker.poll_output() {
                self.put(output);
            }
            let wake = self.broker.poll_timeout();
            tokio::select! {
                accepted = listener.accept() => if let Ok((stream, _)) = accepted {
                    self.open(stream);
                },
                Some((connection, bytes)) = received.recv() => match bytes {
                    Some(bytes) => self.broker.handle_bytes(connection, &bytes, Instant::now()),
                    None => {
                        self.writers.remove(&connection);
                        self.broker.handle_closed(connection);
                    }
                },
                order = orders.recv() => match order {
                    Some(order) => order(&mut self.broker),
                    None => return,
                },
                () = until(wake) => self.broker.handle_timeout(Instant::now()),
            }
        }
    }

    fn open(&mut self, stream: TcpStream) {
        let connection = self.broker.handle_opened(Instant::now());
        let (reader, writer) = stream.into_split();
        let (to_writer, from_server) = mpsc::channel(limits::MAX_UNSENT);
        self.writers.insert(connection, to_writer);
        tokio::spawn(read(reader, connection, self.to_server.clone()));
        tokio::spawn(write(writer, from_server));
    }

    fn put(&mut self, output: Output) {
        match output {
            Output::Send { connection, bytes } => {
                let writer = self.writers.get(&connection);
                // Whoever does not read is cut off, as mosquitto does; its session stays.
                if writer.is_some_and(|writer| writer.try_send(bytes).is_err()) {
                    self.writers.remove(&connection);
                    self.broker.handle_closed(connection);
                }
            }
            Output::Close { connection } => {
                self.writers.remove(&connection);
            }
        }
    }
}

async fn read(mut reader: OwnedReadHalf, connection: ConnectionId, to_server: mpsc::Sender<Received>) {
    let mut buffer = [0; 4_096];
    while let Ok(count @ 1..) = reader.read(&mut buffer).await {
        let bytes = buffer.get(..count).map(<[u8]>::to_vec);
        if to_server.send((connection, bytes)).await.is_err() {
            return;
        }
    }
    // The broker may have stopped: then nobody wants to know.
    drop(to_server.send((connection, None)).await);
}

/// Writes until nobody has anything to write, which closes the connection.
async fn write(mut writer: OwnedWriteHalf, mut from_server: mpsc::Receiver<Vec<u8>>) {
    while let Some(bytes) = from_server.recv().await {
        if writer.write_all(&bytes).await.is_err() {
            return;
        }
    }
}

async fn until(wake: Option<Instant>) {
    match wake {
        Some(at) => sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}
