//! What the server asks of clients: one request after the other to each, bodies in blocks (RFC 7959).

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::Instant;

use lwm2m_client::Path;
use ucifi_core::Now;

use super::LwM2mServer;
use super::coap::{Block, Kind, Message, option};
use super::compose::message_of;
use super::event::{Event, Origin};
use super::notification::Notification;
use super::request::{Answer, Code, RequestFailure, RequestId, ServerRequest};
use crate::limits;

/// One request to a client, from its first block to the last block of its answer.
#[derive(Debug)]
pub(super) struct Transaction {
    endpoint: String,
    purpose: Purpose,
    /// The request as it is sent, without its block options and its body.
    request: Message,
    body: Vec<u8>,
    /// How much of the body has been answered for.
    done: usize,
    block_size: usize,
    received: Vec<u8>,
    first: Option<Message>,
    /// Set once the request is acknowledged without an answer.
    answer_until: Option<Instant>,
}

#[derive(Clone, Debug)]
enum Purpose {
    Answer(RequestId, Kinds),
    RestOf(Notification),
}

/// What an answer is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kinds {
    Read(Path),
    Observe(Path),
    Cancel(Path),
    Other,
}

/// The open requests by token, and those that wait until their client has acknowledged the one before.
#[derive(Debug, Default)]
pub(super) struct Transactions {
    open: BTreeMap<(SocketAddr, Vec<u8>), Transaction>,
    waiting: BTreeMap<SocketAddr, VecDeque<Transaction>>,
    next_token: u32,
    next_request: u64,
}

impl Transactions {
    pub(super) fn is_open(&self, peer: SocketAddr, token: &[u8]) -> bool {
        self.open.contains_key(&(peer, token.to_vec()))
    }

    /// Says whether an Observe of this path is on its way.
    pub(super) fn observes(&self, endpoint: &str, path: Path) -> bool {
        let all = self.open.values().chain(self.waiting.values().flatten());
        all.filter(|one| one.endpoint == endpoint).any(
            |one| matches!(one.purpose, Purpose::Answer(_, Kinds::Observe(observed)) if observed == path),
        )
    }

    pub(super) fn wait_for_separate(&mut self, peer: SocketAddr, token: &[u8], until: Instant) {
        if let Some(transaction) = self.open.get_mut(&(peer, token.to_vec())) {
            transaction.answer_until = Some(until);
        }
    }

    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.open
            .values()
            .filter_map(|transaction| transaction.answer_until)
            .min()
    }

    fn len(&self) -> usize {
        self.open.len() + self.waiting.values().map(VecDeque::len).sum::<usize>()
    }

    fn new_token(&mut self) -> Vec<u8> {
        self.next_token += 1;
        self.next_token.to_be_bytes().to_vec()
    }
}

impl LwM2mServer {
    /// Asks a client; the outcome is told by [`Event::Finished`].
    pub fn request(&mut self, endpoint: &str, request: ServerRequest, now: Instant) -> RequestId {
        self.transactions.next_request += 1;
        let id = RequestId(self.transactions.next_request);
        match self.prepare(id, endpoint, request) {
            Ok((peer, transaction)) => {
                self.transactions
                    .waiting
                    .entry(peer)
                    .or_default()
                    .push_back(transaction);
                self.begin_waiting(now);
            }
            Err(failure) => {
                let endpoint = endpoint.to_owned();
                self.events.push_back(Event::Finished {
                    id,
                    endpoint,
                    outcome: Err(failure),
                });
            }
        }
        id
    }

    fn prepare(
        &mut self,
        id: RequestId,
        endpoint: &str,
        request: ServerRequest,
    ) -> Result<(SocketAddr, Transaction), RequestFailure> {
        let registration = self.registrations.find(endpoint);
        let registration = registration.ok_or_else(|| RequestFailure::NotRegistered(endpoint.to_owned()))?;
        let peer = registration.view.address;
        if self.transactions.len() >= limits::MAX_REQUESTS {
            return Err(RequestFailure::Busy);
        }
        let kinds = kinds(&request);
        let token = match kinds {
            Kinds::Cancel(path) => self.observations.token_of(endpoint, path),
            Kinds::Read(_) | Kinds::Observe(_) | Kinds::Other => Some(self.transactions.new_token()),
        };
        let (mut message, body) = message_of(request)?;
        message.token = token.ok_or(RequestFailure::NotObserved(kinds.path()))?;
        Ok((
            peer,
            self.transaction(endpoint, Purpose::Answer(id, kinds), message, body),
        ))
    }

    fn transaction(&self, endpoint: &str, purpose: Purpose, request: Message, body: Vec<u8>) -> Transaction {
        Transaction {
            endpoint: endpoint.to_owned(),
            purpose,
            request,
            body,
            done: 0,
            block_size: self.transmission.block_size,
            received: Vec::new(),
            first: None,
            answer_until: None,
        }
    }

    /// Reads the blocks of a notification that its first message did not hold.
    pub(super) fn fetch_rest(
        &mut self,
        peer: SocketAddr,
        endpoint: &str,
        notification: Notification,
        message: Message,
        now: Instant,
    ) {
        let read = ServerRequest::Read {
            path: notification.path,
            accept: message.content_format(),
        };
        let Ok((request, body)) = message_of(read) else {
            return;
        };
        let transaction = self.transaction(endpoint, Purpose::RestOf(notification), request, body);
        self.next_block_of_answer(peer, transaction, message, now);
    }

    /// Sends the first waiting request to each client that owes no acknowledgement.
    pub(super) fn begin_waiting(&mut self, now: Instant) {
        let mut waiting = std::mem::take(&mut self.transactions.waiting);
        for (peer, queue) in &mut waiting {
            if !self.sending.is_busy(*peer)
                && let Some(transaction) = queue.pop_front()
            {
                self.begin(*peer, transaction, now);
            }
        }
        waiting.retain(|_, queue| !queue.is_empty());
        self.transactions.waiting = waiting;
    }

    fn begin(&mut self, peer: SocketAddr, mut transaction: Transaction, now: Instant) {
        let message = self.next_message(&mut transaction);
        self.transmit_confirmable(peer, &message, now);
        self.transactions.open.insert((peer, message.token), transaction);
    }

    pub(super) fn transmit_confirmable(&mut self, peer: SocketAddr, message: &Message, now: Instant) {
        let datagram = message.to_bytes();
        self.sending
            .sent(peer, message.id, message.token.clone(), datagram.clone(), now);
        self.transmits.push_back((peer, datagram));
    }

    fn next_message(&mut self, transaction: &mut Transaction) -> Message {
        transaction.answer_until = None;
        let mut message = transaction.request.clone();
        message.id = self.sending.next_id();
        let left = transaction.body.get(transaction.done..).unwrap_or_default();
        let size = transaction.block_size;
        if left.len() > size || transaction.done > 0 {
            let (number, more) = ((transaction.done / size) as u32, left.len() > size);
            message.push_block(option::BLOCK1, Block { number, more, size });
        }
        message.payload = left[..left.len().min(size)].to_vec();
        message
    }

    /// Takes the response to an open request, or a notification.
    pub(super) fn handle_response(&mut self, from: SocketAddr, message: Message, now: Now) {
        let key = (from, message.token.clone());
        let cancels = |one: &Transaction| matches!(one.purpose, Purpose::Answer(_, Kinds::Cancel(_)));
        let is_notification = message.uint(option::OBSERVE).is_some();
        let answers = self
            .transactions
            .open
            .get(&key)
            .is_some_and(|one| !(cancels(one) && is_notification));
        if !answers {
            if let Some(observation) = self.observations.find(from, &message.token).cloned() {
                let confirmable = message.kind == Kind::Confirmable;
                self.handle_notification(from, observation, message, confirmable, now);
            }
            return;
        }
        if let Some(transaction) = self.transactions.open.remove(&key) {
            self.advance(from, transaction, message, now);
        }
    }

    fn advance(&mut self, from: SocketAddr, mut transaction: Transaction, message: Message, now: Now) {
        let code = message.response_code();
        let size = message
            .block(option::BLOCK1)
            .map_or(transaction.block_size, |block| block.size);
        let smaller = size < transaction.block_size;
        if code == Code::CONTINUE {
            transaction.done += transaction.block_size;
            transaction.block_size = size.min(transaction.block_size);
            self.begin(from, transaction, now.instant);
        } else if code == Code::REQUEST_ENTITY_TOO_LARGE && smaller {
            transaction.done = 0;
            transaction.block_size = size;
            self.begin(from, transaction, now.instant);
        } else if message.block(option::BLOCK2).is_some_and(|block| block.more) {
            self.next_block_of_answer(from, transaction, message, now.instant);
        } else {
            self.finish(from, transaction, message, now);
        }
    }

    fn next_block_of_answer(
        &mut self,
        peer: SocketAddr,
        mut transaction: Transaction,
        message: Message,
        now: Instant,
    ) {
        let follows = transaction.take_block(&message);
        let Some(size) = follows.filter(|_| transaction.received.len() <= limits::MAX_BODY) else {
            self.fail(transaction, RequestFailure::Blocks);
            return;
        };
        let mut next = transaction.request.clone();
        next.options
            .retain(|(number, _)| *number != option::OBSERVE && *number != option::BLOCK1);
        next.id = self.sending.next_id();
        next.token = self.transactions.new_token();
        let number = (transaction.received.len() / size) as u32;
        next.push_block(
            option::BLOCK2,
            Block {
                number,
                more: false,
                size,
            },
        );
        transaction.first.get_or_insert(message);
        transaction.answer_until = None;
        self.transmit_confirmable(peer, &next, now);
        self.transactions.open.insert((peer, next.token), transaction);
    }

    fn finish(&mut self, from: SocketAddr, mut transaction: Transaction, last: Message, now: Now) {
        if transaction.first.is_some() && transaction.take_block(&last).is_none() {
            self.fail(transaction, RequestFailure::Blocks);
            return;
        }
        let body = if transaction.first.is_some() {
            transaction.received
        } else {
            last.payload.clone()
        };
        let first = transaction.first.unwrap_or(last);
        match transaction.purpose {
            Purpose::RestOf(notification) => {
                let format = first.content_format();
                self.receive_notification(&transaction.endpoint, notification, format, &body, now);
            }
            Purpose::Answer(id, kinds) => {
                self.follow_observation(from, &transaction.endpoint, kinds, &first);
                let endpoint = transaction.endpoint;
                let answer = self.answer(&endpoint, kinds, &first, body, now);
                self.events.push_back(Event::Finished {
                    id,
                    endpoint,
                    outcome: Ok(answer),
                });
            }
        }
    }

    fn follow_observation(&mut self, peer: SocketAddr, endpoint: &str, kinds: Kinds, first: &Message) {
        let done = first.response_code().is_success();
        match kinds {
            Kinds::Observe(path) if done && first.uint(option::OBSERVE).is_some() => {
                self.observations
                    .insert(peer, first.token.clone(), endpoint.to_owned(), path);
            }
            Kinds::Cancel(path) if done => self.observations.remove(endpoint, path),
            Kinds::Read(_) | Kinds::Observe(_) | Kinds::Cancel(_) | Kinds::Other => {}
        }
    }

    fn answer(&mut self, endpoint: &str, kinds: Kinds, first: &Message, body: Vec<u8>, now: Now) -> Answer {
        let code = first.response_code();
        let (values, undecodable) = match kinds.origin().filter(|_| code == Code::CONTENT) {
            Some(origin) => self.receive(endpoint, kinds.path(), origin, first.content_format(), &body, now),
            None => (Vec::new(), None),
        };
        Answer {
            code,
            content_format: first.content_format(),
            payload: body,
            location: first.texts(option::LOCATION_PATH),
            max_age_secs: first.uint(option::MAX_AGE),
            values,
            undecodable,
        }
    }

    pub(super) fn fail_transaction(&mut self, peer: SocketAddr, token: &[u8], failure: RequestFailure) {
        if let Some(transaction) = self.transactions.open.remove(&(peer, token.to_vec())) {
            self.fail(transaction, failure);
        }
    }

    pub(super) fn fail_overdue(&mut self, now: Instant) {
        let open = self.transactions.open.iter();
        let overdue = open.filter(|(_, one)| one.answer_until.is_some_and(|until| until <= now));
        let keys: Vec<_> = overdue.map(|(key, _)| key.clone()).collect();
        for (peer, token) in keys {
            self.fail_transaction(peer, &token, RequestFailure::TimedOut);
        }
    }

    /// Ends every request to a client that has left.
    pub(super) fn fail_requests_to(&mut self, endpoint: &str) {
        let stays = |one: &Transaction| one.endpoint != endpoint;
        let open = std::mem::take(&mut self.transactions.open);
        let (kept, left): (BTreeMap<_, _>, BTreeMap<_, _>) =
            open.into_iter().partition(|(_, one)| stays(one));
        self.transactions.open = kept;
        let mut ended: Vec<Transaction> = left.into_values().collect();
        for queue in self.transactions.waiting.values_mut() {
            let (kept, left): (VecDeque<_>, VecDeque<_>) = std::mem::take(queue).into_iter().partition(stays);
            *queue = kept;
            ended.extend(left);
        }
        ended
            .into_iter()
            .for_each(|transaction| self.fail(transaction, RequestFailure::Left));
    }

    fn fail(&mut self, transaction: Transaction, failure: RequestFailure) {
        let endpoint = transaction.endpoint;
        match transaction.purpose {
            Purpose::Answer(id, _) => {
                self.events.push_back(Event::Finished {
                    id,
                    endpoint,
                    outcome: Err(failure),
                });
            }
            Purpose::RestOf(notification) => {
                let Notification {
                    path,
                    confirmable,
                    sequence,
                } = notification;
                let origin = Origin::Notification {
                    path,
                    confirmable,
                    sequence,
                };
                self.events.push_back(Event::Undecodable {
                    endpoint,
                    origin,
                    reason: failure.to_string(),
                });
            }
        }
    }
}

impl Transaction {
    /// Appends a block of the answer; returns its size, none where it does not follow the one before.
    fn take_block(&mut self, message: &Message) -> Option<usize> {
        let block = message.block(option::BLOCK2)?;
        let follows = self.received.len() == block.size * block.number as usize;
        let whole = !block.more || message.payload.len() == block.size;
        let first = self.first.as_ref();
        let same = first.is_none_or(|first| first.bytes(option::ETAG) == message.bytes(option::ETAG));
        if !(follows && whole && same && message.response_code().is_success()) {
            return None;
        }
        self.received.extend_from_slice(&message.payload);
        Some(block.size)
    }
}

impl Kinds {
    const fn path(self) -> Path {
        match self {
            Self::Read(path) | Self::Observe(path) | Self::Cancel(path) => path,
            Self::Other => Path::Root,
        }
    }

    const fn origin(self) -> Option<Origin> {
        match self {
            Self::Read(_) => Some(Origin::Read),
            Self::Observe(path) => Some(Origin::Observe { path }),
            Self::Cancel(_) | Self::Other => None,
        }
    }
}

const fn kinds(request: &ServerRequest) -> Kinds {
    match request {
        ServerRequest::Read { path, .. } => Kinds::Read(*path),
        ServerRequest::Observe { path, .. } => Kinds::Observe(*path),
        ServerRequest::CancelObservation { path } => Kinds::Cancel(*path),
        ServerRequest::Write { .. }
        | ServerRequest::Execute { .. }
        | ServerRequest::Create { .. }
        | ServerRequest::Delete { .. }
        | ServerRequest::Discover { .. }
        | ServerRequest::WriteAttributes { .. }
        | ServerRequest::Raw(_) => Kinds::Other,
    }
}
