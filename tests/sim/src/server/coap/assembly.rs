//! Request bodies that come in blocks (RFC 7959, section 2.5).

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Instant;

use super::EXCHANGE_LIFETIME;
use super::message::{Message, option};
use crate::limits;

/// Bodies that are not complete yet, by sender and resource.
#[derive(Debug, Default)]
pub(in crate::server) struct Assemblies {
    open: BTreeMap<Key, (Instant, Vec<u8>)>,
}

type Key = (SocketAddr, u8, Vec<String>, Vec<String>);

/// What a block made of its body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::server) enum Assembled {
    /// The body is complete.
    Whole(Vec<u8>),
    /// The next block may come.
    More,
    /// The block does not follow the one before it.
    OutOfOrder,
    /// The body is larger than is taken.
    TooLarge,
}

impl Assemblies {
    pub(in crate::server) fn add(&mut self, peer: SocketAddr, message: &Message, now: Instant) -> Assembled {
        let Some(block) = message.block(option::BLOCK1) else {
            return Assembled::Whole(message.payload.clone());
        };
        let key = (
            peer,
            message.code,
            message.texts(option::URI_PATH),
            message.texts(option::URI_QUERY),
        );
        let offset = block.size.saturating_mul(block.number as usize);
        let mut body = self.open.remove(&key).map(|(_, body)| body).unwrap_or_default();
        if block.number == 0 {
            body.clear();
        }
        if body.len() != offset || (block.more && message.payload.len() != block.size) {
            return Assembled::OutOfOrder;
        }
        if offset + message.payload.len() > limits::MAX_BODY {
            return Assembled::TooLarge;
        }
        body.extend_from_slice(&message.payload);
        if !block.more {
            return Assembled::Whole(body);
        }
        self.keep(key, body, now);
        Assembled::More
    }

    fn keep(&mut self, key: Key, body: Vec<u8>, now: Instant) {
        self.open
            .retain(|_, (at, _)| now.saturating_duration_since(*at) < EXCHANGE_LIFETIME);
        if self.open.len() >= limits::MAX_ASSEMBLIES {
            self.open.pop_first();
        }
        self.open.insert(key, (now, body));
    }
}

#[cfg(test)]
mod tests {
    use super::super::message::{Block, Kind};
    use super::*;

    fn block(number: u32, more: bool, payload: &[u8]) -> Message {
        let mut message = Message::new(Kind::Confirmable, 2, 1);
        message.push_texts(option::URI_PATH, &["rd".to_owned()]);
        message.push_block(
            option::BLOCK1,
            Block {
                number,
                more,
                size: 16,
            },
        );
        message.payload = payload.to_vec();
        message
    }

    fn add(assemblies: &mut Assemblies, port: u16, message: &Message) -> Assembled {
        assemblies.add(SocketAddr::from(([192, 0, 2, 1], port)), message, Instant::now())
    }

    #[test]
    fn blocks_in_order_make_a_body_and_a_gap_does_not() {
        let mut assemblies = Assemblies::default();
        assert_eq!(
            add(&mut assemblies, 1, &block(0, true, &[1; 16])),
            Assembled::More
        );
        assert_eq!(
            add(&mut assemblies, 2, &block(1, false, &[2; 3])),
            Assembled::OutOfOrder
        );
        let whole = [vec![1; 16], vec![2; 3]].concat();
        assert_eq!(
            add(&mut assemblies, 1, &block(1, false, &[2; 3])),
            Assembled::Whole(whole)
        );
        assert_eq!(
            add(&mut assemblies, 1, &block(1, false, &[2; 3])),
            Assembled::OutOfOrder
        );
    }

    #[test]
    fn a_body_above_the_bound_is_refused() {
        let mut assemblies = Assemblies::default();
        let last = (limits::MAX_BODY / 16) as u32;
        for number in 0..last {
            assert_eq!(
                add(&mut assemblies, 1, &block(number, true, &[0; 16])),
                Assembled::More
            );
        }
        assert_eq!(
            add(&mut assemblies, 1, &block(last, true, &[0; 16])),
            Assembled::TooLarge
        );
    }

    #[test]
    fn no_more_bodies_are_kept_open_than_the_bound_allows() {
        let mut assemblies = Assemblies::default();
        for port in 0..limits::MAX_ASSEMBLIES as u16 + 5 {
            add(&mut assemblies, port, &block(0, true, &[0; 16]));
        }
        assert_eq!(assemblies.open.len(), limits::MAX_ASSEMBLIES);
    }
}
