//! Block-wise transfer (RFC 7959): the option's value, bodies being assembled, bodies being served.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::code::{Code, Method};
use super::dedup::fingerprint;
use super::exchange::Response;
use super::limits::{
    ASSEMBLIES_MAX, BODY_MAX_BYTES, FETCH_PAUSE_MAX, SERVED_BODIES_MAX, SERVED_BODIES_MAX_BYTES,
};

/// The value of a Block1 or Block2 option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Block {
    /// Which block, counted in blocks of this size.
    pub(super) number: u32,
    /// Whether more follow.
    pub(super) more: bool,
    /// SZX: the size is 2^(exponent + 4).
    exponent: u8,
}

impl Block {
    /// Returns the block that begins at an offset, a multiple of the size.
    pub(super) fn at(offset: usize, more: bool, size: usize) -> Self {
        let exponent =
            u8::try_from(size.clamp(16, 1024).ilog2() - 4).expect("log2 of 16 to 1024, less 4, is 0 to 6");
        let number = u32::try_from(offset >> (exponent + 4)).expect("bodies are shorter than 2^20 bytes");
        Self {
            number,
            more,
            exponent,
        }
    }

    /// Reads the option's value, none for the reserved size 7.
    pub(super) fn decode(value: u32) -> Option<Self> {
        let exponent = u8::try_from(value & 7).ok().filter(|exponent| *exponent < 7)?;
        Some(Self {
            number: value >> 4,
            more: value & 8 != 0,
            exponent,
        })
    }

    /// Returns the option's value.
    pub(super) fn encode(self) -> u32 {
        self.number << 4 | u32::from(self.more) << 3 | u32::from(self.exponent)
    }

    /// Returns the same block as one that no other follows.
    pub(super) fn as_last(self) -> Self {
        Self { more: false, ..self }
    }

    /// Returns the size of a full block.
    pub(super) fn size(self) -> usize {
        1 << (self.exponent + 4)
    }

    /// Returns where in the body the block begins. The number has 20 bits, so this is below 2^30.
    pub(super) fn offset(self) -> usize {
        usize::try_from(self.number)
            .unwrap_or(usize::MAX)
            .saturating_mul(self.size())
    }

    /// Returns the same block with a size that is not over `size`, for telling the peer what is wanted.
    pub(super) fn limited_to(self, size: usize) -> Self {
        let wanted = Self::at(0, self.more, size.min(self.size()));
        Self {
            number: self.number,
            ..wanted
        }
    }
}

/// Returns one block of a body and whether more follow; none beyond its end.
pub(super) fn slice(body: &[u8], offset: usize, size: usize) -> Option<(&[u8], bool)> {
    let rest = body
        .get(offset..)
        .filter(|rest| offset == 0 || !rest.is_empty())?;
    let (block, rest) = rest.split_at_checked(size).unwrap_or((rest, &[]));
    Some((block, !rest.is_empty()))
}

/// What blocks belong to: not the token, which may differ from block to block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ResourceKey {
    pub(super) method: Method,
    pub(super) path: Vec<String>,
    pub(super) query: Vec<String>,
    pub(super) accept: Option<u16>,
}

/// What became of a block of the peer's body.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Assembled {
    /// It was taken and more are wanted.
    Continue,
    /// The body is whole.
    Whole(Vec<u8>),
    /// It cannot be taken.
    Refused(Code),
}

#[derive(Debug)]
struct Assembly {
    key: ResourceKey,
    /// Request-Tag (RFC 9175): tells two bodies for one resource apart.
    tag: Vec<u8>,
    body: Vec<u8>,
    touched: Instant,
}

/// Bodies of the peer's requests that arrive block by block.
#[derive(Debug)]
pub(super) struct Assemblies {
    lifetime: Duration,
    open: VecDeque<Assembly>,
}

impl Assemblies {
    pub(super) fn new(lifetime: Duration) -> Self {
        Self {
            lifetime,
            open: VecDeque::new(),
        }
    }

    /// Takes one block.
    pub(super) fn take(
        &mut self,
        key: &ResourceKey,
        tag: &[u8],
        block: Block,
        payload: &[u8],
        now: Instant,
    ) -> Assembled {
        self.open
            .retain(|assembly| now.saturating_duration_since(assembly.touched) < self.lifetime);
        if block.more && payload.len() != block.size() || payload.len() > block.size() {
            return Assembled::Refused(Code::BAD_REQUEST);
        }
        let Some(mut assembly) = self.resume(key, tag, block, now) else {
            return Assembled::Refused(Code::REQUEST_ENTITY_INCOMPLETE);
        };
        if block.offset() + payload.len() > BODY_MAX_BYTES {
            return Assembled::Refused(Code::REQUEST_ENTITY_TOO_LARGE);
        }
        assembly.body.truncate(block.offset());
        assembly.body.extend_from_slice(payload);
        if !block.more {
            return Assembled::Whole(assembly.body);
        }
        assembly.touched = now;
        self.open.push_back(assembly);
        while self.open.len() > ASSEMBLIES_MAX {
            self.open.pop_front();
        }
        Assembled::Continue
    }

    /// Takes out the body that a block goes on with, a new one for the first block. A block that was taken already
    /// may come again under a new message id; a gap ends the transfer.
    fn resume(&mut self, key: &ResourceKey, tag: &[u8], block: Block, now: Instant) -> Option<Assembly> {
        let index = self
            .open
            .iter()
            .position(|assembly| assembly.key == *key && assembly.tag == tag);
        let assembly = index.and_then(|index| self.open.remove(index));
        if block.number == 0 {
            return Some(Assembly {
                key: key.clone(),
                tag: tag.to_vec(),
                body: Vec::new(),
                touched: now,
            });
        }
        assembly.filter(|assembly| {
            let length = assembly.body.len();
            length == block.offset() || length == block.offset() + block.size()
        })
    }
}

#[derive(Debug)]
struct Served {
    key: ResourceKey,
    response: Response,
    touched: Instant,
    /// Whether the last block went out.
    fetched: bool,
}

/// Bodies of our responses and notifications that the peer fetches block by block.
#[derive(Debug)]
pub(super) struct ServedBodies {
    lifetime: Duration,
    bodies: VecDeque<Served>,
}

impl ServedBodies {
    pub(super) fn new(lifetime: Duration) -> Self {
        Self {
            lifetime,
            bodies: VecDeque::new(),
        }
    }

    /// Keeps a body for its later blocks, in place of an earlier one of the same resource.
    pub(super) fn keep(&mut self, key: ResourceKey, response: Response, now: Instant) {
        self.bodies.retain(|served| served.key != key);
        self.bodies.push_back(Served {
            key,
            response,
            touched: now,
            fetched: false,
        });
        while self.bodies.len() > SERVED_BODIES_MAX || self.bytes() > SERVED_BODIES_MAX_BYTES {
            self.bodies.pop_front();
        }
    }

    /// Returns the body kept for a resource, of which the bytes up to `end` are going out.
    pub(super) fn find(&mut self, key: &ResourceKey, end: usize, now: Instant) -> Option<&Response> {
        self.bodies
            .retain(|served| now.saturating_duration_since(served.touched) < self.lifetime);
        let served = self.bodies.iter_mut().find(|served| served.key == *key)?;
        served.touched = now;
        served.fetched |= end >= served.response.payload.len();
        Some(&served.response)
    }

    /// Says whether the peer is in the middle of a body: another one in its place would tear what it gets.
    pub(super) fn is_being_fetched(&self, key: &ResourceKey, now: Instant) -> bool {
        let lately = |at| now.saturating_duration_since(at) < FETCH_PAUSE_MAX;
        let mut bodies = self.bodies.iter();
        bodies.any(|served| served.key == *key && !served.fetched && lately(served.touched))
    }

    /// Forgets the body of a resource that is asked for anew.
    pub(super) fn forget(&mut self, key: &ResourceKey) {
        self.bodies.retain(|served| served.key != *key);
    }

    fn bytes(&self) -> usize {
        self.bodies
            .iter()
            .map(|served| served.response.payload.len())
            .sum()
    }
}

/// Returns the entity tag of a body: the same bytes in the same format have the same one, also after a restart.
pub(super) fn etag(response: &Response) -> Vec<u8> {
    let format = response.content_format.unwrap_or(u16::MAX).rotate_left(7);
    (fingerprint(&response.payload) ^ u64::from(format))
        .to_be_bytes()
        .to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::coap::tests::start;

    const LIFETIME: Duration = Duration::from_secs(247);

    fn key(path: &str) -> ResourceKey {
        ResourceKey {
            method: Method::Put,
            path: vec![path.to_owned()],
            query: Vec::new(),
            accept: None,
        }
    }

    #[test]
    fn the_value_of_the_option_is_that_of_rfc_7959() {
        // RFC 7959, section 3: "2:0/1/128" is block 0, more, size 128 (SZX 3); section 2.2 has the layout.
        assert_eq!(Block::at(0, true, 128).encode(), 0b1011);
        assert_eq!(Block::at(3 * 64, false, 64).encode(), 3 << 4 | 2);
        assert_eq!(
            Block::decode(0x00FF_FFF6).map(Block::offset),
            Some(0xF_FFFF * 1024)
        );
        assert_eq!(Block::decode(7), None, "SZX 7 is reserved");
    }

    #[test]
    fn a_size_reduced_in_the_middle_goes_on_at_the_same_offset() {
        let (mut assemblies, now) = (Assemblies::new(LIFETIME), start());
        let body: Vec<u8> = (0..150).collect();
        let rows = [
            (0, 128, true, Assembled::Continue),
            (128, 16, true, Assembled::Continue),
        ];
        for (offset, size, more, outcome) in rows {
            let block = Block::at(offset, more, size);
            assert_eq!(
                assemblies.take(&key("a"), &[], block, &body[offset..offset + size], now),
                outcome
            );
        }
        let last = assemblies.take(&key("a"), &[], Block::at(144, false, 16), &body[144..], now);
        assert_eq!(last, Assembled::Whole(body));
    }

    #[test]
    fn a_gap_a_short_block_and_a_body_over_the_bound_are_refused() {
        let (mut assemblies, now) = (Assemblies::new(LIFETIME), start());
        let mut take = |offset, more, payload: &[u8], at| {
            assemblies.take(&key("a"), &[], Block::at(offset, more, 1024), payload, at)
        };
        assert_eq!(
            take(1024, true, &[0; 1024], now),
            Assembled::Refused(Code::REQUEST_ENTITY_INCOMPLETE)
        );
        assert_eq!(
            take(0, true, &[0; 1023], now),
            Assembled::Refused(Code::BAD_REQUEST)
        );
        assert_eq!(
            take(0, false, &[0; 1025], now),
            Assembled::Refused(Code::BAD_REQUEST)
        );
        assert_eq!(take(0, true, &[0; 1024], now), Assembled::Continue);
        let late = now + LIFETIME;
        assert_eq!(
            take(1024, true, &[0; 1024], late),
            Assembled::Refused(Code::REQUEST_ENTITY_INCOMPLETE)
        );
        for offset in (0..BODY_MAX_BYTES).step_by(1024) {
            assert_eq!(take(offset, true, &[0; 1024], now), Assembled::Continue);
        }
        let over = take(BODY_MAX_BYTES, false, &[0; 1], now);
        assert_eq!(over, Assembled::Refused(Code::REQUEST_ENTITY_TOO_LARGE));
    }

    #[test]
    fn a_block_that_comes_again_changes_nothing() {
        let (mut assemblies, now) = (Assemblies::new(LIFETIME), start());
        let mut take = |offset, more, byte| {
            assemblies.take(&key("a"), &[], Block::at(offset, more, 16), &[byte; 16], now)
        };
        assert_eq!(take(0, true, 1), Assembled::Continue);
        assert_eq!(take(16, true, 2), Assembled::Continue);
        assert_eq!(take(16, true, 2), Assembled::Continue);
        assert_eq!(
            take(32, false, 3),
            Assembled::Whole([[1; 16], [2; 16], [3; 16]].concat())
        );
    }

    #[test]
    fn the_oldest_of_too_many_transfers_is_given_up() {
        let (mut assemblies, now) = (Assemblies::new(LIFETIME), start());
        for index in 0..=ASSEMBLIES_MAX {
            let first = assemblies.take(
                &key(&index.to_string()),
                &[],
                Block::at(0, true, 16),
                &[0; 16],
                now,
            );
            assert_eq!(first, Assembled::Continue);
        }
        let next = |assemblies: &mut Assemblies, path: &str| {
            assemblies.take(&key(path), &[], Block::at(16, false, 16), &[0; 3], now)
        };
        assert_eq!(
            next(&mut assemblies, "0"),
            Assembled::Refused(Code::REQUEST_ENTITY_INCOMPLETE)
        );
        assert_eq!(next(&mut assemblies, "1"), Assembled::Whole(vec![0; 19]));
    }

    #[test]
    fn served_bodies_are_bounded_in_number_and_bytes() {
        let (mut bodies, now) = (ServedBodies::new(LIFETIME), start());
        let response = |length| Response {
            payload: vec![0; length],
            ..Response::new(Code::CONTENT)
        };
        for index in 0..=SERVED_BODIES_MAX {
            bodies.keep(key(&index.to_string()), response(1), now);
        }
        assert!(bodies.find(&key("0"), 1, now).is_none() && bodies.find(&key("1"), 1, now).is_some());
        for index in 0..4 {
            bodies.keep(key(&index.to_string()), response(BODY_MAX_BYTES), now);
            assert!(bodies.bytes() <= SERVED_BODIES_MAX_BYTES);
        }
        assert!(bodies.find(&key("3"), 1, now).is_some());
        assert!(bodies.find(&key("3"), 1, now + LIFETIME).is_none());
    }
}
