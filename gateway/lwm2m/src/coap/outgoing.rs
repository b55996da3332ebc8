//! Our requests: the body up in blocks (Block1), the answer down in blocks (Block2).
//!
//! Every block is an exchange of its own, with a token of its own, so that a late answer to an earlier block is
//! never taken for that of a later one.

use std::collections::BTreeMap;
use std::time::Instant;

use super::block::{self, Block};
use super::code::Code;
use super::exchange::{Request, RequestFailure, RequestId, Response};
use super::limits::{BODY_MAX_BYTES, REQUESTS_MAX, TRANSFER_RESTARTS_MAX};
use super::message::{Kind, Message};
use super::option;

/// What follows from a response.
#[derive(Debug)]
pub(super) enum Step {
    /// The next block is due.
    Next,
    /// The answer is whole.
    Done(Response),
    /// There will be no answer.
    Failed(RequestFailure),
}

#[derive(Debug)]
struct OpenRequest {
    request: Request,
    /// Of the message that is out; empty while none is.
    token: Vec<u8>,
    block_size: usize,
    /// How far the body is up.
    uploaded: usize,
    /// Whether a first block went out and not all others did.
    uploading: bool,
    /// The part of the answer that is there, and its entity tag.
    answer: Option<(Response, Vec<u8>)>,
    restarts_left: u32,
    /// Until when a separate response is awaited.
    deadline: Option<Instant>,
}

/// The requests of ours that are not answered yet.
#[derive(Debug, Default)]
pub(super) struct Outgoing {
    open: BTreeMap<RequestId, OpenRequest>,
}

impl Outgoing {
    /// Takes a request up.
    pub(super) fn open(
        &mut self,
        id: RequestId,
        request: Request,
        block_size: usize,
    ) -> Result<(), RequestFailure> {
        if self.open.len() >= REQUESTS_MAX {
            return Err(RequestFailure::QueueFull);
        }
        if request.payload.len() > BODY_MAX_BYTES {
            return Err(RequestFailure::RequestTooLarge);
        }
        let open = OpenRequest {
            request,
            token: Vec::new(),
            block_size,
            uploaded: 0,
            uploading: false,
            answer: None,
            restarts_left: TRANSFER_RESTARTS_MAX,
            deadline: None,
        };
        self.open.insert(id, open);
        Ok(())
    }

    /// Returns the next message of a request, under a token that no other message of ours has.
    pub(super) fn draft(&mut self, id: RequestId, mut random: impl FnMut() -> u32) -> Option<Message> {
        let token = loop {
            let token = random().to_be_bytes().to_vec();
            if !self.open.values().any(|open| open.token == token) {
                break token;
            }
        };
        let open = self.open.get_mut(&id)?;
        open.token.clone_from(&token);
        open.deadline = None;
        Some(open.draft(token))
    }

    /// Says whether the first message of a request may go: two bodies must not arrive at one resource mixed.
    pub(super) fn may_start(&self, id: RequestId) -> bool {
        let in_blocks = self
            .open
            .get(&id)
            .is_some_and(OpenRequest::is_larger_than_a_block);
        !in_blocks || !self.open.values().any(|open| open.uploading)
    }

    /// Notes that a message of a request went out.
    pub(super) fn sent(&mut self, id: RequestId) {
        if let Some(open) = self.open.get_mut(&id) {
            open.uploading = open.is_larger_than_a_block() && open.answer.is_none();
        }
    }

    /// Notes that the peer has a request and will answer later.
    pub(super) fn acknowledged(&mut self, id: RequestId, deadline: Instant) {
        if let Some(open) = self.open.get_mut(&id) {
            open.deadline = Some(deadline);
        }
    }

    /// Returns the request whose message has a token.
    pub(super) fn find(&self, token: &[u8]) -> Option<RequestId> {
        let mut open = self.open.iter().filter(|(_, open)| !open.token.is_empty());
        open.find(|(_, open)| open.token == token).map(|(id, _)| *id)
    }

    /// Takes a response to the message that is out.
    pub(super) fn advance(&mut self, id: RequestId, message: &Message) -> Option<Step> {
        let open = self.open.get_mut(&id)?;
        open.token.clear();
        open.deadline = None;
        let step = open.advance(message);
        if !matches!(step, Step::Next) {
            self.open.remove(&id);
        }
        Some(step)
    }

    /// Drops a request; says whether it was open.
    pub(super) fn close(&mut self, id: RequestId) -> bool {
        self.open.remove(&id).is_some()
    }

    /// Takes out a request whose separate response did not come in time.
    pub(super) fn overdue(&mut self, now: Instant) -> Option<RequestId> {
        let due = |open: &OpenRequest| open.deadline.is_some_and(|deadline| deadline <= now);
        let id = self.open.iter().find(|(_, open)| due(open)).map(|(id, _)| *id)?;
        self.open.remove(&id);
        Some(id)
    }

    /// Returns when [`overdue`](Self::overdue) is worth asking.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.open.values().filter_map(|open| open.deadline).min()
    }
}

impl OpenRequest {
    fn is_larger_than_a_block(&self) -> bool {
        self.request.payload.len() > self.block_size
    }

    fn draft(&self, token: Vec<u8>) -> Message {
        let request = &self.request;
        let mut message = Message::new(Kind::Confirmable, request.method.code(), 0, token);
        for segment in &request.path {
            message.add(option::URI_PATH, segment.clone().into_bytes());
        }
        for argument in &request.query {
            message.add(option::URI_QUERY, argument.clone().into_bytes());
        }
        if let Some(accept) = request.accept {
            message.add_uint(option::ACCEPT, accept.into());
        }
        match &self.answer {
            Some((answer, _)) => {
                let block = Block::at(answer.payload.len(), false, self.block_size);
                message.add_uint(option::BLOCK2, block.encode());
            }
            None => self.draft_body(&mut message),
        }
        message
    }

    fn draft_body(&self, message: &mut Message) {
        let body = &self.request.payload;
        if let Some(format) = self.request.content_format {
            message.add_uint(option::CONTENT_FORMAT, format.into());
        }
        if !self.is_larger_than_a_block() {
            message.payload.clone_from(body);
            return;
        }
        let (payload, more) = block::slice(body, self.uploaded, self.block_size).unwrap_or_default();
        message.add_uint(
            option::BLOCK1,
            Block::at(self.uploaded, more, self.block_size).encode(),
        );
        if self.uploaded == 0 {
            message.add_uint(option::SIZE1, u32::try_from(body.len()).unwrap_or(u32::MAX));
        }
        message.payload = payload.to_vec();
    }

    fn advance(&mut self, message: &Message) -> Step {
        if message.unknown_critical().is_some() {
            return Step::Failed(RequestFailure::BadResponse);
        }
        let block1 = message.uint(option::BLOCK1).and_then(Block::decode);
        let was_uploading = std::mem::take(&mut self.uploading);
        if message.code == Code::REQUEST_ENTITY_TOO_LARGE && self.takes_smaller(block1) {
            return self.restart_upload();
        }
        if was_uploading {
            let sent = (self.request.payload.len() - self.uploaded).min(self.block_size);
            let more = self.uploaded + sent < self.request.payload.len();
            // A server without atomic transfers answers each block with the final code (RFC 7959, figure 7).
            let goes_on = message.code == Code::CONTINUE || message.code.is_success() && block1.is_some();
            if more && goes_on {
                self.uploaded += sent;
                self.block_size = block1.map_or(self.block_size, |block| block.size().min(self.block_size));
                return Step::Next;
            }
            if message.code == Code::REQUEST_ENTITY_INCOMPLETE && self.restarts_left > 0 {
                return self.restart_upload();
            }
        }
        if message.code == Code::CONTINUE {
            return Step::Failed(RequestFailure::BadResponse);
        }
        self.download(message)
    }

    /// Says whether a 4.13 names a smaller block that the peer would take, and turns to that.
    fn takes_smaller(&mut self, block1: Option<Block>) -> bool {
        let smaller = block1.map(Block::size).filter(|size| *size < self.block_size);
        let useful = smaller.filter(|size| *size < self.request.payload.len() && self.restarts_left > 0);
        self.block_size = useful.unwrap_or(self.block_size);
        useful.is_some()
    }

    fn restart_upload(&mut self) -> Step {
        self.restarts_left -= 1;
        self.uploaded = 0;
        Step::Next
    }

    fn download(&mut self, message: &Message) -> Step {
        let Some(response) = response(message) else {
            return Step::Failed(RequestFailure::BadResponse);
        };
        let value = message.uint(option::BLOCK2);
        if !response.code.is_success() || (value.is_none() && self.answer.is_none()) {
            return Step::Done(response);
        }
        let Some(block) = value.and_then(Block::decode) else {
            return Step::Failed(RequestFailure::BadResponse);
        };
        let etag = message.values(option::ETAG).next().unwrap_or_default().to_vec();
        if self.answer.as_ref().is_some_and(|(_, first)| *first != etag) {
            return self.restart_download(response, etag, block);
        }
        self.append(response, etag, block)
    }

    fn append(&mut self, response: Response, etag: Vec<u8>, block: Block) -> Step {
        let length = response.payload.len();
        let wrong_length = length > block.size() || block.more && length < block.size();
        let there = self.answer.as_ref().map_or(0, |(answer, _)| answer.payload.len());
        if wrong_length || block.offset() != there {
            return Step::Failed(RequestFailure::BadResponse);
        }
        if there + length > BODY_MAX_BYTES {
            return Step::Failed(RequestFailure::ResponseTooLarge);
        }
        let answer = match self.answer.take() {
            None => response,
            Some((mut answer, _)) => {
                answer.payload.extend(response.payload);
                answer
            }
        };
        if !block.more {
            return Step::Done(answer);
        }
        self.block_size = block.size().min(self.block_size);
        self.answer = Some((answer, etag));
        Step::Next
    }

    /// The value changed between two blocks: what is there of the old one is of no use.
    fn restart_download(&mut self, response: Response, etag: Vec<u8>, block: Block) -> Step {
        if self.restarts_left == 0 || !self.request.method.is_safe() {
            return Step::Failed(RequestFailure::BadResponse);
        }
        self.restarts_left -= 1;
        self.answer = None;
        self.uploaded = 0;
        if block.number == 0 {
            self.append(response, etag, block)
        } else {
            Step::Next
        }
    }
}

fn response(message: &Message) -> Option<Response> {
    let format = message
        .uint(option::CONTENT_FORMAT)
        .and_then(|value| u16::try_from(value).ok());
    Some(Response {
        code: message.code,
        location: message.texts(option::LOCATION_PATH)?,
        content_format: format,
        observe: message.uint(option::OBSERVE),
        max_age_secs: message.uint(option::MAX_AGE),
        payload: message.payload.clone(),
    })
}
