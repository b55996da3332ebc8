//! Runs a [`Client`] on a serial port or a TCP connection: opens it, opens it again when it went away, and keeps the
//! client's time.

use std::future::Future;
use std::io;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{sleep, timeout};
use tokio_serial::{ClearBuffer, DataBits, SerialPort, SerialPortBuilderExt, SerialStream, StopBits};
use tracing::{info, trace, warn};
use ucifi_core::Downlink;
use ucifi_core::field::PointId;

use super::{Client, Event, Statistics, limits};
use crate::clock::{now, until};

/// First pause before a port that could not be opened is tried again; each doubles up to the last.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// Longest such pause: short enough that nobody waits long beside a bridge that was just switched on.
const LAST_PAUSE: Duration = Duration::from_secs(30);
/// How long a connection may take to be made.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a frame may wait to be taken over by the port.
const WRITE_TIMEOUT: Duration = Duration::from_secs(2);
/// Where the bus is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Port {
    /// A serial port, opened for this process alone.
    Serial {
        /// Its device file, best one below `/dev/serial/by-id`.
        path: String,
        /// Its speed in bits per second.
        baud: u32,
        /// The parity bit.
        parity: Parity,
        /// The stop bits, 1 or 2.
        stop_bits: u8,
        /// The data bits, 8 for RTU.
        data_bits: u8,
    },
    /// A Modbus/TCP server or bridge.
    Tcp {
        /// Host and port.
        address: String,
    },
}

/// The parity bit of a character.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parity {
    /// There is none.
    None,
    /// It makes the number of ones even, Modbus' own default.
    Even,
    /// It makes it odd.
    Odd,
}

/// What is asked of a running bus.
#[derive(Debug)]
pub enum ToBus {
    /// Send this.
    Downlink(Downlink),
    /// Read a point this often.
    Interest {
        /// The unit.
        unit: u8,
        /// The point.
        point: PointId,
        /// The interval in milliseconds; 0 is once.
        every_ms: u64,
    },
    /// Tell the counters.
    Statistics(oneshot::Sender<Statistics>),
}

/// What a running bus tells.
#[derive(Clone, Debug, PartialEq)]
pub enum FromBus {
    /// Something the client had to tell.
    Event(Event),
    /// The port or connection is open.
    Connected,
    /// It is not, for the reason given; it is tried again.
    Disconnected(String),
}

/// Why a port cannot be used.
#[derive(Debug, thiserror::Error)]
enum PortError {
    #[error("cannot open serial port {path}: {source}")]
    Serial {
        path: String,
        source: tokio_serial::Error,
    },
    #[error("serial port {path} cannot have {data_bits} data bits and {stop_bits} stop bits")]
    Format {
        path: String,
        data_bits: u8,
        stop_bits: u8,
    },
    #[error("cannot connect to {address}: {source}")]
    Connect { address: String, source: io::Error },
    #[error("cannot connect to {address}: no answer in {} s", CONNECT_TIMEOUT.as_secs())]
    ConnectTimeout { address: String },
}

/// Why the bus is not served any more.
enum End {
    /// Nobody wants it.
    Stopped,
    /// The port went away.
    Broken(String),
}

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl Stream for SerialStream {}
impl Stream for TcpStream {}

/// Runs the bus until nobody holds the other end of `commands` or of `events` any more.
pub async fn run(client: Client, port: Port, commands: mpsc::Receiver<ToBus>, events: mpsc::Sender<FromBus>) {
    let mut bus = Bus {
        client,
        commands,
        events,
        told: None,
    };
    let mut pause = FIRST_PAUSE;
    loop {
        let Some(opened) = bus.attend(open(&port)).await else {
            return;
        };
        let reason = match opened {
            Err(error) => error.to_string(),
            Ok(stream) => {
                info!(bus = %bus.client.name(), "bus is open");
                pause = FIRST_PAUSE;
                if bus.events.send(FromBus::Connected).await.is_err() {
                    return;
                }
                bus.client.handle_connected(now().instant);
                let end = bus.serve(stream).await;
                bus.client.handle_disconnected(now().instant);
                match end {
                    End::Stopped => return,
                    End::Broken(reason) => reason,
                }
            }
        };
        warn!(bus = %bus.client.name(), reason, "bus is not open, trying again in {} s", pause.as_secs());
        if bus.events.send(FromBus::Disconnected(reason)).await.is_err() {
            return;
        }
        if bus.attend(sleep(pause)).await.is_none() {
            return;
        }
        pause = (pause * 2).min(LAST_PAUSE);
    }
}

struct Bus {
    client: Client,
    commands: mpsc::Receiver<ToBus>,
    events: mpsc::Sender<FromBus>,
    /// An event for which there was no room yet.
    told: Option<Event>,
}

impl Bus {
    /// Waits for something while the port is closed; none when nobody wants the bus any more.
    async fn attend<F: Future>(&mut self, future: F) -> Option<F::Output> {
        let Self {
            client,
            commands,
            events,
            told,
        } = self;
        let mut future = std::pin::pin!(future);
        loop {
            *told = told.take().or_else(|| client.poll_event());
            tokio::select! {
                output = &mut future => return Some(output),
                permit = events.reserve(), if told.is_some() => {
                    if let (permit, Some(event)) = (permit.ok()?, told.take()) {
                        permit.send(FromBus::Event(event));
                    }
                }
                command = commands.recv() => handle(client, command?),
            }
        }
    }

    /// Carries bytes, time and commands to the client until the port goes away.
    async fn serve(&mut self, mut stream: Box<dyn Stream>) -> End {
        let Self {
            client,
            commands,
            events,
            told,
        } = self;
        let mut buffer = [0; limits::RECEIVE_BYTES];
        loop {
            while let Some(frame) = client.poll_transmit() {
                trace!(bus = %client.name(), ?frame, "sent");
                match timeout(WRITE_TIMEOUT, stream.write_all(&frame)).await {
                    Ok(Ok(())) => {}
                    Ok(Err(error)) => return End::Broken(format!("cannot write: {error}")),
                    Err(_) => return End::Broken("cannot write: the port takes nothing".to_owned()),
                }
            }
            *told = told.take().or_else(|| client.poll_event());
            if let Some(Event::Reconnect { reason }) = told.take_if(|e| matches!(e, Event::Reconnect { .. }))
            {
                return End::Broken(reason);
            }
            let wake = client.poll_timeout();
            tokio::select! {
                permit = events.reserve(), if told.is_some() => match (permit, told.take()) {
                    (Ok(permit), Some(event)) => permit.send(FromBus::Event(event)),
                    (Err(_), _) | (_, None) => return End::Stopped,
                },
                command = commands.recv() => match command {
                    Some(command) => handle(client, command),
                    None => return End::Stopped,
                },
                read = stream.read(&mut buffer) => match read {
                    Ok(0) => return End::Broken("the other end closed it".to_owned()),
                    Ok(count) => {
                        let bytes = buffer.get(..count).unwrap_or_default();
                        trace!(bus = %client.name(), ?bytes, "received");
                        client.handle_bytes(bytes, now());
                    }
                    Err(error) => return End::Broken(format!("cannot read: {error}")),
                },
                () = until(wake) => client.handle_timeout(now().instant),
            }
        }
    }
}

fn handle(client: &mut Client, command: ToBus) {
    let instant = now().instant;
    match command {
        ToBus::Downlink(downlink) => client.handle_downlink(downlink, instant),
        ToBus::Interest {
            unit,
            point,
            every_ms,
        } => {
            client.handle_interest(unit, point, every_ms, instant);
        }
        ToBus::Statistics(answer) => {
            // Whoever asked may have gone: nothing is owed to him.
            drop(answer.send(client.statistics(instant)));
        }
    }
}

async fn open(port: &Port) -> Result<Box<dyn Stream>, PortError> {
    match port {
        Port::Tcp { address } => {
            let connecting = timeout(CONNECT_TIMEOUT, TcpStream::connect(address));
            let connected = connecting.await.map_err(|_| PortError::ConnectTimeout {
                address: address.clone(),
            })?;
            let stream = connected.and_then(|stream| stream.set_nodelay(true).map(|()| stream));
            let stream = stream.map_err(|source| PortError::Connect {
                address: address.clone(),
                source,
            })?;
            Ok(Box::new(stream))
        }
        Port::Serial {
            path,
            baud,
            parity,
            stop_bits,
            data_bits,
        } => {
            let format = (data_bits_of(*data_bits), stop_bits_of(*stop_bits));
            let (Some(data), Some(stop)) = format else {
                return Err(PortError::Format {
                    path: path.clone(),
                    data_bits: *data_bits,
                    stop_bits: *stop_bits,
                });
            };
            let builder = tokio_serial::new(path, *baud)
                .parity((*parity).into())
                .data_bits(data)
                .stop_bits(stop);
            let opened = builder.open_native_async().and_then(prepare);
            let stream = opened.map_err(|source| PortError::Serial {
                path: path.clone(),
                source,
            })?;
            Ok(Box::new(stream))
        }
    }
}

/// Keeps other processes off, and forgets what units said before anybody asked.
fn prepare(mut stream: SerialStream) -> tokio_serial::Result<SerialStream> {
    stream.set_exclusive(true)?;
    stream.clear(ClearBuffer::All)?;
    Ok(stream)
}

fn data_bits_of(bits: u8) -> Option<DataBits> {
    match bits {
        7 => Some(DataBits::Seven),
        8 => Some(DataBits::Eight),
        _ => None,
    }
}

fn stop_bits_of(bits: u8) -> Option<StopBits> {
    match bits {
        1 => Some(StopBits::One),
        2 => Some(StopBits::Two),
        _ => None,
    }
}

impl From<Parity> for tokio_serial::Parity {
    fn from(parity: Parity) -> Self {
        match parity {
            Parity::None => Self::None,
            Parity::Even => Self::Even,
            Parity::Odd => Self::Odd,
        }
    }
}
