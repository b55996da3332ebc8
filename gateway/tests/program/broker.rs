//! A broker that has one client: as much of MQTT 3.1.1 as a test of the program needs.

use std::collections::BTreeSet;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use crate::site::PATIENCE;

/// What the client did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    /// It logged in under this name.
    Connected(String),
    /// It wants what comes under this filter.
    Subscribed(String),
    /// It has taken the message with this packet identifier.
    Acknowledged(u16),
    /// It publishes something.
    Published(String, Vec<u8>),
    /// It left, in order or not.
    Gone,
}

/// A message for the client.
struct Message {
    topic: String,
    payload: String,
    packet_id: u16,
    retain: bool,
}

/// A running broker.
pub(crate) struct Broker {
    pub(crate) address: SocketAddr,
    seen: Receiver<Seen>,
    messages: Sender<Message>,
}

impl Broker {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (see, seen) = channel();
        let (messages, outgoing) = channel::<Message>();
        thread::spawn(move || serve(&listener, &see, &outgoing));
        Self {
            address,
            seen,
            messages,
        }
    }

    /// Sends a message of QoS 1.
    pub(crate) fn send(&self, topic: &str, payload: &str, packet_id: u16, retain: bool) {
        let message = Message {
            topic: topic.to_owned(),
            payload: payload.to_owned(),
            packet_id,
            retain,
        };
        self.messages.send(message).unwrap();
    }

    /// Waits until the client has done something.
    pub(crate) fn wait_for(&self, wanted: &Seen) {
        while self
            .seen
            .recv_timeout(PATIENCE)
            .unwrap_or_else(|e| panic!("{wanted:?}: {e}"))
            != *wanted
        {}
    }

    /// Waits until it has subscribed to all of these.
    pub(crate) fn wait_for_topics(&self, topics: &[&str]) {
        let mut missing: BTreeSet<&str> = topics.iter().copied().collect();
        while !missing.is_empty() {
            let seen = self
                .seen
                .recv_timeout(PATIENCE)
                .unwrap_or_else(|e| panic!("{missing:?}: {e}"));
            if let Seen::Subscribed(topic) = seen {
                missing.remove(topic.as_str());
            }
        }
    }
}

/// Serves one client after the other; a thread of its own writes messages.
fn serve(listener: &TcpListener, see: &Sender<Seen>, outgoing: &Receiver<Message>) {
    thread::scope(|scope| {
        while let Ok((stream, _)) = listener.accept() {
            let mut writing = stream.try_clone().unwrap();
            let see = see.clone();
            let reader = scope.spawn(move || {
                // It ends when the client leaves or says what it should not.
                listen(stream, &see).ok();
                see.send(Seen::Gone).ok();
            });
            while !reader.is_finished() {
                if let Ok(message) = outgoing.recv_timeout(std::time::Duration::from_millis(20))
                    && writing.write_all(&publish(&message)).is_err()
                {
                    break;
                }
            }
        }
    });
}

/// MQTT 3.1.1, sections 3.1 to 3.14: the type in the upper half of the first byte, then the remaining length.
fn listen(mut stream: TcpStream, see: &Sender<Seen>) -> io::Result<()> {
    loop {
        let mut first = [0];
        stream.read_exact(&mut first)?;
        let mut body = vec![0; remaining_length(&mut stream)?];
        stream.read_exact(&mut body)?;
        let number = |at: usize| u16::from_be_bytes([body[at], body[at + 1]]);
        match first[0] >> 4 {
            1 => {
                see.send(Seen::Connected(text_at(&body, 10))).ok();
                stream.write_all(&[0x20, 2, 0, 0])?;
            }
            3 => {
                let qos = first[0] >> 1 & 3;
                let topic = text_at(&body, 0);
                let end = 2 + topic.len();
                let begin = if qos == 0 { end } else { end + 2 };
                if qos > 0 {
                    let id = number(end).to_be_bytes();
                    stream.write_all(&[0x40, 2, id[0], id[1]])?;
                }
                see.send(Seen::Published(topic, body[begin..].to_vec())).ok();
            }
            4 => {
                see.send(Seen::Acknowledged(number(0))).ok();
            }
            8 => {
                let mut at = 2;
                let mut answer = vec![0x90, 2, body[0], body[1]];
                while at < body.len() {
                    let filter = text_at(&body, at);
                    at += 2 + filter.len();
                    answer.push(body[at]);
                    answer[1] += 1;
                    at += 1;
                    see.send(Seen::Subscribed(filter)).ok();
                }
                stream.write_all(&answer)?;
            }
            12 => stream.write_all(&[0xd0, 0])?,
            _ => return Ok(()),
        }
    }
}

fn text_at(body: &[u8], at: usize) -> String {
    let length = usize::from(u16::from_be_bytes([body[at], body[at + 1]]));
    String::from_utf8_lossy(&body[at + 2..at + 2 + length]).into_owned()
}

fn remaining_length(stream: &mut TcpStream) -> io::Result<usize> {
    let (mut length, mut shift) = (0, 0);
    loop {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        length |= usize::from(byte[0] & 0x7f) << shift;
        if byte[0] & 0x80 == 0 {
            return Ok(length);
        }
        shift += 7;
    }
}

fn publish(message: &Message) -> Vec<u8> {
    let topic = message.topic.as_bytes();
    let mut body = u16::try_from(topic.len()).unwrap().to_be_bytes().to_vec();
    body.extend(topic);
    body.extend(message.packet_id.to_be_bytes());
    body.extend(message.payload.as_bytes());
    let length = body.len();
    let mut packet = vec![0x32 | u8::from(message.retain)];
    packet.extend([
        u8::try_from((length % 128) | 128).unwrap(),
        u8::try_from(length / 128).unwrap(),
    ]);
    packet.extend(body);
    packet
}
