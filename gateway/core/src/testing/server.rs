//! A LwM2M server played by hand, at the level of datagrams: coap-lite reads and writes them.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use coap_lite::{CoapOption, MessageClass, MessageType, Packet, RequestType, ResponseType};
use lwm2m_client::Path;
use lwm2m_client::format::{ContentFormat, Record, decode_records};
use lwm2m_client::object::ObjectDefinition;
use lwm2m_client::{ObjectId, ResourceId, ValueType};

use crate::EndpointId;

/// The number of SenML JSON.
const SENML_JSON: u32 = 110;

/// What the server got from a client.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Got {
    /// A Register, with its query and the object list.
    Register { query: String, objects: String },
    /// An Update, with the object list where it carries one.
    Update { objects: String },
    /// A De-register.
    Deregister,
    /// A Send.
    Send(Vec<Record>),
    /// An answer or a notification.
    Answer(Answer),
}

/// An answer to a request of the server.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Answer {
    /// The code, for example `2.05`.
    pub(crate) code: String,
    /// The payload as text.
    pub(crate) text: String,
    /// Its place in the order of notifications, where it is one.
    pub(crate) observe: Option<u32>,
    /// Seconds, where there is such an option.
    pub(crate) max_age: Option<u32>,
    /// The token of the request.
    pub(crate) token: Vec<u8>,
    /// Whether it is to be acknowledged.
    pub(crate) is_confirmable: bool,
    /// What it carries, where it is SenML.
    pub(crate) records: Vec<Record>,
}

/// A server that takes everything, unless it is told what to answer to a Send.
#[derive(Default)]
pub(crate) struct TestServer {
    /// What it got, with the endpoint.
    pub(crate) got: Vec<(EndpointId, Got)>,
    /// What it answers to the next Sends; 2.04 when there is nothing left.
    pub(crate) send_answers: VecDeque<ResponseType>,
    /// Whether it speaks no LwM2M later than 1.0.
    pub(crate) is_old: bool,
    /// The types by which it reads a Send.
    types: BTreeMap<ObjectId, Arc<ObjectDefinition>>,
    message_id: u16,
    /// The blocks of bodies that are not complete; one at a time for each endpoint.
    bodies: BTreeMap<EndpointId, Vec<u8>>,
}

impl TestServer {
    /// Returns a server that knows these objects.
    pub(crate) fn new(types: BTreeMap<ObjectId, Arc<ObjectDefinition>>) -> Self {
        Self {
            types,
            ..Self::default()
        }
    }

    /// Takes a datagram and returns what goes back.
    pub(crate) fn handle(&mut self, from: EndpointId, datagram: &[u8]) -> Vec<Vec<u8>> {
        let packet = Packet::from_bytes(datagram).unwrap();
        match packet.header.code {
            MessageClass::Empty | MessageClass::Reserved(_) => Vec::new(),
            MessageClass::Request(method) => vec![self.answer(from, &packet, method)],
            MessageClass::Response(_) => {
                let confirmable = packet.header.get_type() == MessageType::Confirmable;
                let senml = number(&packet, CoapOption::ContentFormat).filter(|code| *code == SENML_JSON);
                let answer = Answer {
                    code: packet.header.get_code(),
                    text: String::from_utf8_lossy(&packet.payload).into_owned(),
                    observe: number(&packet, CoapOption::Observe),
                    max_age: number(&packet, CoapOption::MaxAge),
                    token: packet.get_token().to_vec(),
                    is_confirmable: confirmable,
                    records: senml.map_or_else(Vec::new, |_| self.records(&packet)),
                };
                self.got.push((from, Got::Answer(answer)));
                if confirmable {
                    vec![acknowledgement(&packet).to_bytes().unwrap()]
                } else {
                    Vec::new()
                }
            }
        }
    }

    /// Returns a request to a client; its token is its number.
    pub(crate) fn request(&mut self, method: RequestType, path: &str, payload: &str) -> Vec<u8> {
        let mut packet = self.packet(method, path);
        if !payload.is_empty() {
            packet.add_option(CoapOption::ContentFormat, Vec::new());
            packet.payload = payload.as_bytes().to_vec();
        }
        packet.add_option(CoapOption::Accept, Vec::new());
        packet.to_bytes().unwrap()
    }

    /// Returns a request with a payload of another format.
    pub(crate) fn request_with(
        &mut self,
        method: RequestType,
        path: &str,
        format: u16,
        payload: &[u8],
    ) -> Vec<u8> {
        let mut packet = self.packet(method, path);
        packet.add_option(CoapOption::ContentFormat, format.to_be_bytes().to_vec());
        packet.payload = payload.to_vec();
        packet.to_bytes().unwrap()
    }

    /// Returns an observation of a resource.
    pub(crate) fn observe(&mut self, path: &str) -> Vec<u8> {
        let mut packet = self.packet(RequestType::Get, path);
        packet.add_option(CoapOption::Observe, Vec::new());
        packet.add_option(CoapOption::Accept, Vec::new());
        packet.to_bytes().unwrap()
    }

    /// Returns an observation whose notifications carry times.
    pub(crate) fn observe_with_times(&mut self, path: &str) -> Vec<u8> {
        let mut packet = self.packet(RequestType::Get, path);
        packet.add_option(CoapOption::Observe, Vec::new());
        packet.add_option(CoapOption::Accept, vec![SENML_JSON as u8]);
        packet.to_bytes().unwrap()
    }

    fn packet(&mut self, method: RequestType, path: &str) -> Packet {
        self.message_id += 1;
        let mut packet = Packet::new();
        packet.header.set_type(MessageType::Confirmable);
        packet.header.code = MessageClass::Request(method);
        packet.header.message_id = self.message_id;
        packet.set_token(self.message_id.to_be_bytes().to_vec());
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        for segment in path.split('/').filter(|segment| !segment.is_empty()) {
            packet.add_option(CoapOption::UriPath, segment.as_bytes().to_vec());
        }
        for part in query.split('&').filter(|part| !part.is_empty()) {
            packet.add_option(CoapOption::UriQuery, part.as_bytes().to_vec());
        }
        packet
    }

    fn answer(&mut self, from: EndpointId, request: &Packet, method: RequestType) -> Vec<u8> {
        let mut answer = acknowledgement(request);
        let Some(request) = &self.whole(from, request, &mut answer) else {
            return answer.to_bytes().unwrap();
        };
        let path = texts(request, CoapOption::UriPath);
        let payload = || String::from_utf8_lossy(&request.payload).into_owned();
        let (got, code) = match (method, path.as_slice()) {
            (RequestType::Post, [rd]) if rd == "rd" => {
                for segment in ["rd", &from.0.to_string()] {
                    answer.add_option(CoapOption::LocationPath, segment.as_bytes().to_vec());
                }
                let query = texts(request, CoapOption::UriQuery).join("&");
                let objects = payload();
                let code = if self.is_old && !query.contains("lwm2m=1.0") {
                    ResponseType::PreconditionFailed
                } else {
                    ResponseType::Created
                };
                (Got::Register { query, objects }, code)
            }
            (RequestType::Post, [dp]) if dp == "dp" => {
                let code = self.send_answers.pop_front().unwrap_or(ResponseType::Changed);
                (Got::Send(self.records(request)), code)
            }
            (RequestType::Post, _) => (Got::Update { objects: payload() }, ResponseType::Changed),
            (RequestType::Delete, _) => (Got::Deregister, ResponseType::Deleted),
            other => panic!("no client asks a server for {other:?}"),
        };
        self.got.push((from, got));
        answer.header.code = MessageClass::Response(code);
        answer.to_bytes().unwrap()
    }

    /// Gathers a body that comes in blocks (RFC 7959); none until the last one is there.
    fn whole(&mut self, from: EndpointId, request: &Packet, answer: &mut Packet) -> Option<Packet> {
        let Some(block) = number(request, CoapOption::Block1) else {
            return Some(request.clone());
        };
        answer.add_option(
            CoapOption::Block1,
            block.to_be_bytes().into_iter().skip_while(|b| *b == 0).collect(),
        );
        let body = self.bodies.entry(from).or_default();
        if block >> 4 == 0 {
            body.clear();
        }
        body.extend_from_slice(&request.payload);
        if block & 8 != 0 {
            answer.header.code = MessageClass::Response(ResponseType::Continue);
            return None;
        }
        let mut request = request.clone();
        request.payload = std::mem::take(body);
        Some(request)
    }

    fn records(&self, request: &Packet) -> Vec<Record> {
        let format = number(request, CoapOption::ContentFormat).unwrap();
        let format = ContentFormat::from_code(u16::try_from(format).unwrap()).unwrap();
        decode_records(format, Path::Root, &request.payload, self).unwrap()
    }
}

impl lwm2m_client::format::Types for TestServer {
    fn resource_type(&self, object: ObjectId, resource: ResourceId) -> Option<(ValueType, bool)> {
        self.types.resource_type(object, resource)
    }
}

fn acknowledgement(request: &Packet) -> Packet {
    let mut packet = Packet::new();
    packet.header.set_type(MessageType::Acknowledgement);
    packet.header.code = MessageClass::Empty;
    packet.header.message_id = request.header.message_id;
    if matches!(request.header.code, MessageClass::Request(_)) {
        packet.set_token(request.get_token().to_vec());
    }
    packet
}

fn texts(packet: &Packet, option: CoapOption) -> Vec<String> {
    let values = packet.get_option(option).into_iter().flatten();
    values
        .map(|value| String::from_utf8(value.clone()).unwrap())
        .collect()
}

fn number(packet: &Packet, option: CoapOption) -> Option<u32> {
    let value = packet.get_first_option(option)?;
    Some(
        value
            .iter()
            .fold(0, |number, byte| number << 8 | u32::from(*byte)),
    )
}
