//! More of everything than the server takes.

use std::net::SocketAddr;
use std::sync::Arc;

use lwm2m_client::Path;
use lwm2m_client::object::ObjectTable;

use crate::clock::Clock;
use crate::limits;
use crate::server::coap::{Kind, Message, option};
use crate::server::{Code, Event, LwM2mServer, RequestFailure, ServerRequest, Transmission};

fn server() -> LwM2mServer {
    LwM2mServer::new(Arc::new(ObjectTable::builtin()), Transmission::default(), 1)
}

/// Registers a client of this number, from a port of its own.
fn register(server: &mut LwM2mServer, clock: &Clock, number: u16) -> Code {
    let mut message = Message::new(Kind::Confirmable, 2, 1);
    let query = [
        format!("ep=lamp-{number}"),
        "lt=60".to_owned(),
        "lwm2m=1.1".to_owned(),
    ];
    message.push_texts(option::URI_PATH, &["rd".to_owned()]);
    message.push_texts(option::URI_QUERY, &query);
    message.payload = b"</3/0>".to_vec();
    let from = SocketAddr::from(([192, 0, 2, 1], number));
    server.handle_datagram(from, &message.to_bytes(), clock.now());
    let (_, reply) = server.poll_transmit().unwrap();
    Message::parse(&reply).unwrap().response_code()
}

#[test]
fn no_more_clients_are_registered_than_the_bound_allows() {
    let (mut server, clock) = (server(), Clock::new());
    for number in 0..limits::MAX_CLIENTS as u16 {
        assert_eq!(register(&mut server, &clock, number), Code::CREATED);
    }
    assert_eq!(
        register(&mut server, &clock, limits::MAX_CLIENTS as u16),
        Code::FORBIDDEN
    );
    assert_eq!(server.clients().len(), limits::MAX_CLIENTS);
}

#[test]
fn no_more_requests_are_open_than_the_bound_allows() {
    let (mut server, clock) = (server(), Clock::new());
    register(&mut server, &clock, 7);
    let read = ServerRequest::Read {
        path: Path::resource(3, 0, 0),
        accept: None,
    };
    for _ in 0..=limits::MAX_REQUESTS {
        server.request("lamp-7", read.clone(), clock.now().instant);
    }
    let busy = std::iter::from_fn(|| server.poll_event()).filter(|event| {
        matches!(
            event,
            Event::Finished {
                outcome: Err(RequestFailure::Busy),
                ..
            }
        )
    });
    assert_eq!(busy.count(), 1);
}
