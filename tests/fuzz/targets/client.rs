//! CoAP messages alone, and whole requests to a registered client.

use std::collections::BTreeMap;
use std::time::Instant;

use coap_lite::{CoapOption, MessageClass, MessageType, Packet, RequestType, ResponseType};
use lwm2m_client::client::{Client, ClientConfig, Content, Event, Objects, Response};
use lwm2m_client::coap::Message;
use lwm2m_client::object::ObjectDefinition;
use lwm2m_client::{InstanceId, ObjectId, ResourceId, ResourceInstanceId, Timestamp, Value};

use super::table;

pub(super) fn message(datagram: &[u8]) {
    let Ok(message) = Message::parse(datagram) else {
        return;
    };
    let Some(again) = message.emit() else { return };
    assert_eq!(Message::parse(&again).as_ref(), Ok(&message));
}

/// A registered client gets the datagram and must end well, whatever it says.
pub(super) fn datagram(datagram: &[u8]) {
    let now = Instant::now();
    let mut client = Client::new(ClientConfig::new("fuzz", "coap://127.0.0.1"), 7, 1, now);
    client.start(&Shown, now);
    if let Some(register) = client.poll_transmit() {
        client.handle_datagram(&registered(&register), &Shown, now);
    }
    client.handle_datagram(datagram, &Shown, now);
    while let Some(event) = client.poll_event() {
        if let Event::Operation { id, .. } = event {
            client.respond(id, Response::Changed, &Shown, now);
        }
    }
    if let Some(due) = client.poll_timeout() {
        client.handle_timeout(&Shown, due);
    }
    while let Some(answer) = client.poll_transmit() {
        assert!(
            Packet::from_bytes(&answer).is_ok(),
            "the client sent no CoAP: {answer:02x?}"
        );
    }
}

/// Returns the server's 2.01 to a Register.
fn registered(register: &[u8]) -> Vec<u8> {
    let request = Packet::from_bytes(register).expect("a Register is CoAP");
    let mut answer = Packet::new();
    answer.header.set_type(MessageType::Acknowledgement);
    answer.header.message_id = request.header.message_id;
    answer.header.code = MessageClass::Response(ResponseType::Created);
    answer.set_token(request.get_token().to_vec());
    answer.add_option(CoapOption::LocationPath, b"rd".to_vec());
    answer.add_option(CoapOption::LocationPath, b"5a".to_vec());
    answer.to_bytes().expect("a small answer")
}

struct Request<'a> {
    method: RequestType,
    path: &'a str,
    query: &'a [&'a str],
    options: &'a [(CoapOption, &'a [u8])],
    payload: &'a [u8],
}

impl Request<'_> {
    fn bytes(&self) -> Vec<u8> {
        let mut packet = Packet::new();
        packet.header.set_type(MessageType::Confirmable);
        packet.header.message_id = 0x4711;
        packet.header.code = MessageClass::Request(self.method);
        packet.set_token(vec![1, 2, 3, 4]);
        for segment in self.path.split('/').filter(|s| !s.is_empty()) {
            packet.add_option(CoapOption::UriPath, segment.as_bytes().to_vec());
        }
        for query in self.query {
            packet.add_option(CoapOption::UriQuery, query.as_bytes().to_vec());
        }
        for (option, value) in self.options {
            packet.add_option(*option, value.to_vec());
        }
        packet.payload = self.payload.to_vec();
        packet.to_bytes().expect("a small request")
    }
}

/// Returns requests of every kind, and what else a server may send.
pub(super) fn messages() -> Vec<Vec<u8>> {
    let empty = [vec![0x40, 0, 0, 1], vec![0x70, 0, 0, 1]];
    [reads(), writes(), empty.to_vec()].concat()
}

fn reads() -> Vec<Vec<u8>> {
    use CoapOption::{Accept, Block2, Observe};
    let get = |path, options| {
        Request {
            method: RequestType::Get,
            path,
            query: &[],
            options,
            payload: &[],
        }
        .bytes()
    };
    vec![
        get("/3/0", &[(Accept, &[112])]),
        get("/3413/0/2", &[(Observe, &[]), (Accept, TLV)]),
        get("/3413/0/2", &[(Observe, &[1])]),
        get("/3413", &[(Accept, &[40])]),
        get("/", &[(Block2, &[0x16])]),
    ]
}

fn writes() -> Vec<Vec<u8>> {
    use CoapOption::{Block1, ContentFormat};
    let request = |method, path, options, payload| {
        Request {
            method,
            path,
            query: &[],
            options,
            payload,
        }
        .bytes()
    };
    let attributes = Request {
        method: RequestType::Put,
        path: "/3413/0/2",
        query: &["pmin=1", "pmax=60", "gt=5.5", "lt=-1", "st=0.1"],
        options: &[],
        payload: &[],
    };
    let senml = br#"[{"bn":"/3413/0/","n":"3","v":1}]"#;
    let fetch: &[u8] = &[0x81, 0xa1, 0, 0x63, b'/', b'3', b'/'];
    vec![
        attributes.bytes(),
        request(RequestType::Put, "/3413/0/3", &[(ContentFormat, &[])], b"100"),
        request(
            RequestType::Put,
            "/3413/0/3",
            &[(ContentFormat, TLV)],
            &[0xc1, 3, 100],
        ),
        request(
            RequestType::Put,
            "/3413/0",
            &[(ContentFormat, TLV), (Block1, &[0x08])],
            &[0xc1, 3, 100],
        ),
        request(RequestType::Post, "/3413/0", &[(ContentFormat, &[110])], senml),
        request(RequestType::Post, "/3/0/4", &[], b"0='U'"),
        request(RequestType::Post, "/1/0/8", &[], &[]),
        request(
            RequestType::Post,
            "/3413",
            &[(ContentFormat, TLV)],
            &[0x08, 0, 3, 0xc1, 3, 100],
        ),
        request(RequestType::Delete, "/3413/0", &[], &[]),
        request(RequestType::Fetch, "/", &[(ContentFormat, &[112])], fetch),
    ]
}

/// Content-Format 11542 as an option value.
const TLV: &[u8] = &[0x2d, 0x16];

/// A device and one relay, the same for ever.
struct Shown;

impl Objects for Shown {
    fn definition(&self, object: ObjectId) -> Option<&ObjectDefinition> {
        self.objects()
            .contains(&object)
            .then(|| table().latest(object).map(|d| &**d))
            .flatten()
    }

    fn objects(&self) -> Vec<ObjectId> {
        vec![ObjectId(3), ObjectId(3413)]
    }

    fn instances(&self, _: ObjectId) -> Vec<InstanceId> {
        vec![InstanceId(0)]
    }

    fn resources(&self, object: ObjectId, _: InstanceId) -> Vec<ResourceId> {
        let ids: &[u16] = if object == ObjectId(3) {
            &[0, 4, 11, 16]
        } else {
            &[1, 2, 3, 5, 6]
        };
        ids.iter().map(|id| ResourceId(*id)).collect()
    }

    fn read(&self, object: ObjectId, _: InstanceId, resource: ResourceId) -> Option<Content> {
        Some(match (object.0, resource.0) {
            (3, 0) => Content::Single(Value::String("maker".to_owned())),
            (3, 16) => Content::Single(Value::String("U".to_owned())),
            (3, 11) => Content::Multiple(BTreeMap::from([(ResourceInstanceId(0), Value::Integer(0))])),
            (3413, 1..=3) => Content::Single(Value::Integer(100)),
            (3413, 5) => Content::Multiple(BTreeMap::from([(ResourceInstanceId(4), Value::Integer(9))])),
            (3413, 6) => Content::Single(Value::Boolean(false)),
            _ => return None,
        })
    }

    fn accepts(&self, _: ObjectId, _: InstanceId, _: ResourceId) -> bool {
        true
    }

    fn measured_at(&self, _: ObjectId, _: InstanceId, _: ResourceId) -> Option<Timestamp> {
        None
    }

    fn may_create(&self, object: ObjectId) -> bool {
        object == ObjectId(3413)
    }

    fn may_delete(&self, object: ObjectId, _: InstanceId) -> bool {
        object == ObjectId(3413)
    }
}
