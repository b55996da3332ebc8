//! The peer's requests: bodies assembled from blocks (Block1), answers served in blocks (Block2).
//!
//! What the codec and the options already decide is answered here; the rest goes to the layer above.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use super::block::{self, Assembled, Assemblies, Block, ResourceKey, ServedBodies};
use super::code::Code;
use super::exchange::{IncomingRequest, Notification, RequestKey, Response};
use super::limits::{BODY_MAX_BYTES, INCOMING_MAX, OBSERVED_MAX, RETRY_AFTER_SECS};
use super::message::{Kind, Message};
use super::option;

/// Request-Tag (RFC 9175): elective, so a peer may send it unasked.
const REQUEST_TAG: u16 = 292;

/// A response as code, options and payload; kind, id and token come with how it is sent.
#[derive(Clone, Debug)]
pub(super) struct Reply {
    pub(super) code: Code,
    pub(super) options: Vec<(u16, Vec<u8>)>,
    pub(super) payload: Vec<u8>,
}

impl Reply {
    fn new(code: Code) -> Self {
        Self {
            code,
            options: Vec::new(),
            payload: Vec::new(),
        }
    }

    fn with(mut self, number: u16, value: u32) -> Self {
        self.options.push((number, option::encode_uint(value)));
        self
    }

    /// Returns the reply to a request for which there is no room.
    fn busy() -> Self {
        Self::new(Code::SERVICE_UNAVAILABLE).with(option::MAX_AGE, RETRY_AFTER_SECS)
    }

    /// Returns the message that carries the reply.
    pub(super) fn into_message(self, kind: Kind, id: u16, token: Vec<u8>) -> Message {
        Message {
            kind,
            code: self.code,
            id,
            token,
            options: self.options,
            payload: self.payload,
        }
    }
}

/// What becomes of a request.
#[derive(Debug)]
pub(super) enum Reception {
    /// It is answered already.
    Reply(Reply),
    /// The layer above answers it.
    Deliver(IncomingRequest),
}

/// A request that waits for its answer.
#[derive(Debug)]
pub(super) struct OpenIncoming {
    pub(super) id: u16,
    pub(super) token: Vec<u8>,
    pub(super) confirmable: bool,
    /// When an empty acknowledgement is due; none once it went, and for a request that wants none.
    acknowledge_at: Option<Instant>,
    key: ResourceKey,
    block1: Option<Block>,
    block2: Option<Block>,
    registers: bool,
}

impl OpenIncoming {
    /// Says whether the answer can still be piggybacked on the acknowledgement.
    pub(super) fn can_piggyback(&self) -> bool {
        self.acknowledge_at.is_some()
    }
}

#[derive(Debug)]
struct Observed {
    token: Vec<u8>,
    key: ResourceKey,
    block_size: usize,
}

/// The requests of the peer that are not answered yet, and the bodies on their way.
#[derive(Debug)]
pub(super) struct Incoming {
    block_size: usize,
    acknowledge_after: Duration,
    next_key: u64,
    open: BTreeMap<RequestKey, OpenIncoming>,
    assemblies: Assemblies,
    served: ServedBodies,
    observed: VecDeque<Observed>,
}

impl Incoming {
    pub(super) fn new(block_size: usize, acknowledge_after: Duration, lifetime: Duration) -> Self {
        Self {
            block_size,
            acknowledge_after,
            next_key: 0,
            open: BTreeMap::new(),
            assemblies: Assemblies::new(lifetime),
            served: ServedBodies::new(lifetime),
            observed: VecDeque::new(),
        }
    }

    /// Takes a request; `room` says whether the layer above can be told of another one.
    pub(super) fn receive(&mut self, message: Message, room: bool, now: Instant) -> Reception {
        let mut wanted = match Wanted::read(&message) {
            Ok(wanted) => wanted,
            Err(code) => return Reception::Reply(Reply::new(code)),
        };
        if wanted.block2.is_some_and(|block| block.number > 0) && wanted.block1.is_none() {
            // RFC 7959, section 2.7: only the first block of an answer says something about an observation.
            wanted.observe = None;
            if let Some(reply) = self.later_block(&wanted, now) {
                return Reception::Reply(reply);
            }
        }
        let (whole, payload) = match self.assemble(&wanted, &message, now) {
            Ok(payload) => (message, payload),
            Err(reply) => return Reception::Reply(reply),
        };
        if !room || self.open.len() >= INCOMING_MAX {
            return Reception::Reply(Reply::busy());
        }
        Reception::Deliver(self.admit(whole, wanted, payload, now))
    }

    /// Serves a block beyond the first from the body kept; none where the layer above is to be asked for it.
    fn later_block(&mut self, wanted: &Wanted, now: Instant) -> Option<Reply> {
        let size = self.block_size;
        let end = |block: Block| block.offset() + block.size().min(size);
        match self.served.find(&wanted.key, wanted.block2.map_or(0, end), now) {
            Some(response) => Some(blockwise(response, wanted.block2, size)),
            None if wanted.key.method.is_safe() => None,
            // Asking again would do again what the request does.
            None => Some(Reply::new(Code::REQUEST_ENTITY_INCOMPLETE)),
        }
    }

    fn assemble(&mut self, wanted: &Wanted, message: &Message, now: Instant) -> Result<Vec<u8>, Reply> {
        let Some(block) = wanted.block1 else {
            return Ok(message.payload.clone());
        };
        let too_large = || {
            let most = u32::try_from(BODY_MAX_BYTES).unwrap_or(u32::MAX);
            Reply::new(Code::REQUEST_ENTITY_TOO_LARGE).with(option::SIZE1, most)
        };
        if message
            .uint(option::SIZE1)
            .is_some_and(|size| usize::try_from(size).is_ok_and(|s| s > BODY_MAX_BYTES))
        {
            return Err(too_large());
        }
        let tag = message.values(REQUEST_TAG).next().unwrap_or_default();
        match self
            .assemblies
            .take(&wanted.key, tag, block, &message.payload, now)
        {
            Assembled::Whole(body) => Ok(body),
            Assembled::Continue => {
                Err(Reply::new(Code::CONTINUE).with(option::BLOCK1, self.confirmation(block).encode()))
            }
            Assembled::Refused(Code::REQUEST_ENTITY_TOO_LARGE) => Err(too_large()),
            Assembled::Refused(code) => Err(Reply::new(code).with(option::BLOCK1, block.encode())),
        }
    }

    /// Returns the Block1 option of a reply: the first one asks for blocks no larger than ours.
    fn confirmation(&self, block: Block) -> Block {
        if block.number == 0 {
            block.limited_to(self.block_size)
        } else {
            block
        }
    }

    fn admit(&mut self, message: Message, wanted: Wanted, payload: Vec<u8>, now: Instant) -> IncomingRequest {
        let key = RequestKey(self.next_key);
        self.next_key += 1;
        let confirmable = message.kind == Kind::Confirmable;
        // A peer that restarted uses an id again: its acknowledgement must not carry the answer to the earlier one.
        for earlier in self.open.values_mut().filter(|open| open.id == message.id) {
            earlier.acknowledge_at = None;
        }
        if wanted.observe == Some(1) {
            self.forget_observed(&message.token);
        }
        let open = OpenIncoming {
            id: message.id,
            token: message.token.clone(),
            confirmable,
            acknowledge_at: confirmable.then(|| now + self.acknowledge_after),
            key: wanted.key.clone(),
            block1: wanted.block1,
            block2: wanted.block2,
            registers: wanted.observe == Some(0) && wanted.key.method.is_safe(),
        };
        self.open.insert(key, open);
        IncomingRequest {
            key,
            method: wanted.key.method,
            path: wanted.key.path,
            query: wanted.key.query,
            accept: wanted.key.accept,
            content_format: message
                .uint(option::CONTENT_FORMAT)
                .and_then(|value| u16::try_from(value).ok()),
            observe: wanted.observe,
            token: message.token,
            payload,
            confirmable,
        }
    }

    /// Takes the answer to a request; none where that was answered before.
    pub(super) fn answer(
        &mut self,
        key: RequestKey,
        response: Response,
        now: Instant,
    ) -> Option<(OpenIncoming, Reply)> {
        let open = self.open.remove(&key)?;
        let response = if response.payload.len() > BODY_MAX_BYTES {
            Response::new(Code::INTERNAL_SERVER_ERROR)
        } else {
            response
        };
        let size = open
            .block2
            .map_or(self.block_size, |block| block.size().min(self.block_size));
        let mut reply = blockwise(&response, open.block2, size);
        if let Some(block) = open.block1 {
            reply = reply.with(option::BLOCK1, block.as_last().encode());
        }
        if open.registers && response.observe.is_some() {
            self.note_observed(&open, size);
        }
        if response.payload.len() > size {
            self.served.keep(open.key.clone(), response, now);
        } else {
            self.served.forget(&open.key);
        }
        Some((open, reply))
    }

    /// Returns a notification as it is sent: its first block where it is larger than one. None where it would take
    /// the place of a body that the peer is fetching.
    pub(super) fn notification(
        &mut self,
        notification: Notification,
        now: Instant,
    ) -> Option<(Vec<u8>, Reply)> {
        let observed = self
            .observed
            .iter()
            .find(|observed| observed.token == notification.token);
        let size = observed.map_or(self.block_size, |observed| observed.block_size);
        let response = Response {
            code: notification.code,
            location: Vec::new(),
            content_format: notification.content_format,
            observe: notification
                .code
                .is_success()
                .then_some(notification.observe & 0x00FF_FFFF),
            max_age_secs: notification.max_age_secs,
            payload: notification.payload,
        };
        let reply = blockwise(&response, None, size);
        if let Some(observed) = observed.filter(|_| response.payload.len() > size) {
            if self.served.is_being_fetched(&observed.key, now) {
                return None;
            }
            let response = Response {
                observe: None,
                ..response
            };
            self.served.keep(observed.key.clone(), response, now);
        }
        Some((notification.token, reply))
    }

    /// Forgets what an observation was about.
    pub(super) fn forget_observed(&mut self, token: &[u8]) {
        self.observed.retain(|observed| observed.token != token);
    }

    fn note_observed(&mut self, open: &OpenIncoming, block_size: usize) {
        self.forget_observed(&open.token);
        self.observed.push_back(Observed {
            token: open.token.clone(),
            key: open.key.clone(),
            block_size,
        });
        while self.observed.len() > OBSERVED_MAX {
            self.observed.pop_front();
        }
    }

    /// Returns the id of a request whose empty acknowledgement is due; its answer goes separately from then on.
    pub(super) fn acknowledgement_due(&mut self, now: Instant) -> Option<u16> {
        let mut open = self.open.values_mut();
        let due = open.find(|open| open.acknowledge_at.is_some_and(|at| at <= now))?;
        due.acknowledge_at = None;
        Some(due.id)
    }

    /// Returns when [`acknowledgement_due`](Self::acknowledgement_due) is worth asking.
    pub(super) fn next_acknowledgement(&self) -> Option<Instant> {
        self.open.values().filter_map(|open| open.acknowledge_at).min()
    }
}

/// What a request asks for, read from its options.
struct Wanted {
    key: ResourceKey,
    observe: Option<u32>,
    block1: Option<Block>,
    block2: Option<Block>,
}

impl Wanted {
    fn read(message: &Message) -> Result<Self, Code> {
        let method = message.method().ok_or(Code::METHOD_NOT_ALLOWED)?;
        let proxied = [option::PROXY_URI, option::PROXY_SCHEME];
        if proxied
            .iter()
            .any(|number| message.values(*number).next().is_some())
        {
            return Err(Code::PROXYING_NOT_SUPPORTED);
        }
        if message.unknown_critical().is_some() {
            return Err(Code::BAD_OPTION);
        }
        let key = ResourceKey {
            method,
            path: message.texts(option::URI_PATH).ok_or(Code::BAD_OPTION)?,
            query: message.texts(option::URI_QUERY).ok_or(Code::BAD_OPTION)?,
            accept: message
                .uint(option::ACCEPT)
                .and_then(|value| u16::try_from(value).ok()),
        };
        let block = |number| match message.uint(number) {
            None => Ok(None),
            Some(value) => Block::decode(value).map(Some).ok_or(Code::BAD_REQUEST),
        };
        let (block1, block2) = (block(option::BLOCK1)?, block(option::BLOCK2)?);
        Ok(Self {
            key,
            observe: message.uint(option::OBSERVE),
            block1,
            block2,
        })
    }
}

/// Returns a response as it is sent: whole, or the block that was asked for of one that is larger than a block.
fn blockwise(response: &Response, asked: Option<Block>, size: usize) -> Reply {
    let size = asked.map_or(size, |block| block.size().min(size));
    let offset = asked.map_or(0, Block::offset);
    let Some((payload, more)) = block::slice(&response.payload, offset, size) else {
        return Reply::new(Code::BAD_REQUEST);
    };
    let mut reply = Reply::new(response.code);
    if let Some(observe) = response.observe.filter(|_| offset == 0) {
        reply = reply.with(option::OBSERVE, observe & 0x00FF_FFFF);
    }
    for segment in &response.location {
        reply
            .options
            .push((option::LOCATION_PATH, segment.clone().into_bytes()));
    }
    if let Some(format) = response.content_format {
        reply = reply.with(option::CONTENT_FORMAT, format.into());
    }
    if let Some(seconds) = response.max_age_secs {
        reply = reply.with(option::MAX_AGE, seconds);
    }
    if more || offset > 0 {
        reply.options.push((option::ETAG, block::etag(response)));
        reply = reply.with(option::BLOCK2, Block::at(offset, more, size).encode());
    }
    reply.payload = payload.to_vec();
    reply
}
