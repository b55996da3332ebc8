//! Sans-IO tests of the whole endpoint, in simulated time.

mod block;
mod exchange;
mod golden;
mod limits;
mod lossy;
mod observe;
mod pair;

use std::time::Instant;

use super::{Code, Endpoint, Event, IncomingRequest, Kind, Message, TransmissionParameters, option};

/// Returns the moment a simulated run begins at.
#[expect(
    clippy::disallowed_methods,
    reason = "an Instant has no other origin; only differences to it are used"
)]
pub(super) fn start() -> Instant {
    Instant::now()
}

fn endpoint() -> Endpoint {
    Endpoint::new(TransmissionParameters::default(), 7, 0x7d34)
}

/// Hands a message to an endpoint and returns what it sends.
fn tell(endpoint: &mut Endpoint, message: &Message, now: Instant) -> Vec<Message> {
    endpoint.handle_datagram(&message.emit().expect("test messages are short"), now);
    sent(endpoint)
}

/// Returns what an endpoint sends.
fn sent(endpoint: &mut Endpoint) -> Vec<Message> {
    let datagrams = std::iter::from_fn(|| endpoint.poll_transmit());
    datagrams
        .map(|datagram| Message::parse(&datagram).expect("endpoints send messages"))
        .collect()
}

fn events(endpoint: &mut Endpoint) -> Vec<Event> {
    std::iter::from_fn(|| endpoint.poll_event()).collect()
}

/// Takes the one thing that an endpoint reports, a request.
fn reported_request(endpoint: &mut Endpoint) -> IncomingRequest {
    match events(endpoint).as_slice() {
        [Event::Request(request)] => request.clone(),
        other => panic!("one request expected, not {other:?}"),
    }
}

/// Makes a message with a token, a path and other options.
fn ask(kind: Kind, code: u8, id: u16, path: &str, options: &[(u16, &[u8])]) -> Message {
    let mut message = Message::new(kind, Code(code), id, vec![id as u8, 0x4a]);
    for segment in path.split('/') {
        message.add(option::URI_PATH, segment.as_bytes().to_vec());
    }
    for (number, value) in options {
        message.add(*number, value.to_vec());
    }
    message
}

/// Makes the piggybacked response to a message of an endpoint.
fn acknowledge(message: &Message, code: Code, options: &[(u16, &[u8])], payload: &[u8]) -> Message {
    let mut response = Message::new(Kind::Acknowledgement, code, message.id, message.token.clone());
    for (number, value) in options {
        response.add(*number, value.to_vec());
    }
    response.payload = payload.to_vec();
    response
}

/// Returns a Block option as the standard writes it, `1:3/1/128` without the `1:`.
fn shown(message: &Message, number: u16) -> Option<String> {
    let value = message.uint(number)?;
    Some(format!("{}/{}/{}", value >> 4, value >> 3 & 1, 16 << (value & 7)))
}
