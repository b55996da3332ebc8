//! A relay before a broker that notes which messages went one way and which acknowledgements the other.
//!
//! It reads the packets for itself (MQTT 3.1.1, section 2; MQTT 5 has the packet identifiers in the same places).

use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use anyhow::ensure;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// What went through a connection, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    /// A PUBLISH of QoS 1 from the broker.
    Message { packet_id: u16, packet: Vec<u8> },
    /// A PUBACK to it.
    Acknowledged { packet_id: u16 },
}

/// The connections, each with what went through it.
pub(crate) type Record = Arc<Mutex<Vec<Vec<Seen>>>>;

/// Called with what is seen, before it is passed on.
pub(crate) type Check = Arc<dyn Fn(&Seen) + Send + Sync>;

pub(crate) async fn start(broker: SocketAddr, check: Check) -> anyhow::Result<(SocketAddr, Record)> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let address = listener.local_addr()?;
    let record = Record::default();
    let kept = Arc::clone(&record);
    tokio::spawn(async move {
        while let Ok((near, _)) = listener.accept().await {
            let Ok(far) = TcpStream::connect(broker).await else {
                continue;
            };
            let connection = {
                let mut record = record.lock().expect("nobody panics while it is held");
                record.push(Vec::new());
                record.len() - 1
            };
            let (from_near, to_near) = near.into_split();
            let (from_far, to_far) = far.into_split();
            let note = {
                let (record, check) = (Arc::clone(&record), Arc::clone(&check));
                move |packet: &[u8]| {
                    if let Some(seen) = read(packet) {
                        check(&seen);
                        record.lock().expect("nobody panics while it is held")[connection].push(seen);
                    }
                }
            };
            tokio::spawn(carry(from_near, to_far, note.clone()));
            tokio::spawn(carry(from_far, to_near, note));
        }
    });
    Ok((address, kept))
}

/// Returns how many acknowledgements there were.
pub(crate) fn acknowledged(record: &Record) -> usize {
    let record = record.lock().expect("nobody panics while it is held");
    record.iter().map(|connection| count(connection).1).sum()
}

/// Returns how many messages of the last connection are not acknowledged.
pub(crate) fn under_way(record: &Record) -> usize {
    let record = record.lock().expect("nobody panics while it is held");
    let (messages, acknowledged) = record.last().map_or((0, 0), |connection| count(connection));
    messages - acknowledged
}

fn count(connection: &[Seen]) -> (usize, usize) {
    let is_message = |seen: &&Seen| matches!(seen, Seen::Message { .. });
    let messages = connection.iter().filter(is_message).count();
    (messages, connection.len() - messages)
}

/// Each connection acknowledges a beginning of what it brought, in order.
pub(crate) fn in_order(record: &Record) -> anyhow::Result<()> {
    for (place, seen) in record
        .lock()
        .expect("nobody panics while it is held")
        .iter()
        .enumerate()
    {
        let mut due = VecDeque::new();
        for one in seen {
            match one {
                Seen::Message { packet_id, .. } => due.push_back(*packet_id),
                Seen::Acknowledged { packet_id } => {
                    let first = due.pop_front();
                    ensure!(
                        first == Some(*packet_id),
                        "connection {place}: {packet_id}, not {first:?}, is acknowledged"
                    );
                }
            }
        }
    }
    Ok(())
}

/// Carries whole packets until one end is closed, which closes the other.
async fn carry(
    mut from: impl AsyncReadExt + Unpin,
    mut to: impl AsyncWriteExt + Unpin,
    note: impl Fn(&[u8]),
) {
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        bytes.extend_from_slice(&buffer[..count]);
        while let Some(length) = packet_length(&bytes) {
            let packet: Vec<u8> = bytes.drain(..length).collect();
            note(&packet);
            if to.write_all(&packet).await.is_err() {
                return;
            }
        }
    }
    drop(to.shutdown().await);
}

/// Section 2.2.3: seven bits a byte, least significant first.
fn packet_length(bytes: &[u8]) -> Option<usize> {
    let mut remaining = 0;
    for (place, byte) in bytes.get(1..)?.iter().take(4).enumerate() {
        remaining |= usize::from(byte & 0x7f) << (7 * place);
        if byte & 0x80 == 0 {
            let length = 2 + place + remaining;
            return (bytes.len() >= length).then_some(length);
        }
    }
    None
}

fn read(packet: &[u8]) -> Option<Seen> {
    let body = 1 + packet.get(1..)?.iter().position(|byte| byte & 0x80 == 0)? + 1;
    let number = |at: usize| Some(u16::from_be_bytes([*packet.get(at)?, *packet.get(at + 1)?]));
    match packet.first()? {
        head if head >> 4 == 3 && head & 0x06 == 0x02 => {
            let topic = usize::from(number(body)?);
            Some(Seen::Message {
                packet_id: number(body + 2 + topic)?,
                packet: packet.to_vec(),
            })
        }
        0x40 => Some(Seen::Acknowledged {
            packet_id: number(body)?,
        }),
        _ => None,
    }
}
