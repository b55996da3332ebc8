//! What was on the air, to see that nothing is used twice: counters of downlinks, nonces of joins.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use lorawan::keys::AppKey;
use lorawan::parser::DecryptedJoinAcceptPayload;

use super::airwave::OnAir;
use crate::limits;

/// When a join-accept begins after its request (LoRaWAN Regional Parameters, JOIN_ACCEPT_DELAY1 and 2).
const ACCEPT_DELAYS: [Duration; 2] = [Duration::from_secs(5), Duration::from_secs(6)];

/// How much a concentrator may be off.
const TOLERANCE: Duration = Duration::from_millis(20);

/// What forwarders have sent, and what they sent it for.
#[derive(Debug, Default)]
pub(super) struct Heard {
    by_counter: BTreeMap<([u8; 4], u16), Vec<u8>>,
    pub(super) reused_counters: u64,
    /// Join-requests that may still be answered.
    open: VecDeque<Asked>,
    /// The last join-request of each device.
    last: BTreeMap<[u8; 8], OnAir>,
    /// When the request ended that was answered for a DevNonce.
    answered: BTreeMap<([u8; 8], [u8; 2]), Instant>,
    by_join_nonce: BTreeMap<([u8; 8], [u8; 3]), Vec<u8>>,
    pub(super) reused_nonces: u64,
    pub(super) spoilt: u64,
}

/// A join-request.
#[derive(Clone, Copy, Debug)]
struct Asked {
    dev_eui: [u8; 8],
    dev_nonce: [u8; 2],
    until: Instant,
}

impl Heard {
    /// Takes note of a frame that a device has begun to send.
    pub(super) fn note_uplink(&mut self, frame: &OnAir) {
        // MHDR 0x00, JoinEUI, DevEUI, DevNonce, MIC; the wire has the last byte first.
        let [0x00, _, _, _, _, _, _, _, _, ref rest @ ..] = *frame.phy else {
            return;
        };
        let (Some((dev_eui, rest)), 14) = (rest.split_first_chunk::<8>(), rest.len()) else {
            return;
        };
        let mut dev_eui = *dev_eui;
        dev_eui.reverse();
        let dev_nonce = [rest[0], rest[1]];
        let is_over = |asked: &Asked| asked.until + ACCEPT_DELAYS[1] + TOLERANCE < frame.from;
        self.open.retain(|asked| !is_over(asked));
        self.open.push_back(Asked {
            dev_eui,
            dev_nonce,
            until: frame.until,
        });
        self.last.insert(dev_eui, frame.clone());
    }

    /// Returns the last join-request of each device, to be sent again by somebody who has recorded it.
    pub(super) fn recorded_joins(&self) -> impl Iterator<Item = (&[u8; 8], &OnAir)> {
        self.last.iter()
    }

    /// Takes note of a frame that a forwarder has begun to send, where these devices have these keys.
    pub(super) fn note_downlink<'k>(
        &mut self,
        frame: &OnAir,
        mut keys: impl Iterator<Item = ([u8; 8], &'k [u8; 16])>,
    ) {
        match *frame.phy {
            // Data downlinks: MHDR 0x60 or 0xA0, DevAddr, FCtrl, FCnt.
            [0x60 | 0xa0, a, b, c, d, _, low, high, ..] => {
                let key = ([a, b, c, d], u16::from_le_bytes([low, high]));
                self.reused_counters += note_first(&mut self.by_counter, key, &frame.phy);
            }
            [0x20, ..] => {
                let accepted = |(dev_eui, key): ([u8; 8], &[u8; 16])| {
                    Some((dev_eui, join_nonce(frame.phy.clone(), key)?))
                };
                if let Some(accepted) = keys.find_map(accepted) {
                    self.note_accept(frame, accepted);
                }
            }
            _ => {}
        }
    }

    fn note_accept(&mut self, frame: &OnAir, (dev_eui, join_nonce): ([u8; 8], [u8; 3])) {
        self.reused_nonces += note_first(&mut self.by_join_nonce, (dev_eui, join_nonce), &frame.phy);
        let answers = |asked: &&Asked| {
            let begins = |delay: &Duration| (asked.until + *delay).checked_duration_since(frame.from);
            let ends = |delay: &Duration| frame.from.checked_duration_since(asked.until + *delay);
            let is_at = |delay| {
                begins(delay)
                    .or_else(|| ends(delay))
                    .is_some_and(|off| off <= TOLERANCE)
            };
            asked.dev_eui == dev_eui && ACCEPT_DELAYS.iter().any(is_at)
        };
        if let Some(asked) = self.open.iter().find(answers) {
            let first = self
                .answered
                .entry((dev_eui, asked.dev_nonce))
                .or_insert(asked.until);
            self.reused_nonces += u64::from(*first != asked.until);
        }
    }
}

/// Remembers what stood first under a name; returns 1 where this is something else.
fn note_first<K: Ord>(table: &mut BTreeMap<K, Vec<u8>>, key: K, phy: &[u8]) -> u64 {
    if table.len() >= limits::MAX_COUNTERS {
        table.pop_first();
    }
    let first = table.entry(key).or_insert_with(|| phy.to_vec());
    u64::from(first != phy)
}

/// Returns the JoinNonce of a join-accept, if it is made with this key.
fn join_nonce(phy: Vec<u8>, app_key: &[u8; 16]) -> Option<[u8; 3]> {
    let accept = DecryptedJoinAcceptPayload::new(phy, &AppKey::from(*app_key)).ok()?;
    accept.app_nonce().as_ref().try_into().ok()
}

#[cfg(test)]
mod tests {
    use lorawan::creator::JoinAcceptCreator;
    use lorawan::default_crypto::DefaultFactory;
    use lorawan::keys::AES128;
    use lorawan::parser::AppNonce;

    use super::*;
    use crate::radio::Channel;

    const DEVICE: [u8; 8] = [1, 2, 3, 4, 5, 6, 7, 8];
    const KEY: [u8; 16] = [7; 16];

    fn on_air(phy: Vec<u8>, from: Instant) -> OnAir {
        let channel = Channel {
            frequency_hz: 868_100_000,
            spreading_factor: 7,
            bandwidth_hz: 125_000,
        };
        let until = from + Duration::from_millis(60);
        OnAir {
            phy,
            channel,
            from,
            until,
        }
    }

    /// A device asks with a DevNonce and is answered with a JoinNonce.
    fn join(heard: &mut Heard, dev_nonce: u8, join_nonce: u8, at: Instant) {
        let mut request = vec![0; 23];
        request[9..17].copy_from_slice(&[8, 7, 6, 5, 4, 3, 2, 1]);
        request[17] = dev_nonce;
        let request = on_air(request, at);
        heard.note_uplink(&request);
        let mut accept = JoinAcceptCreator::with_options([0; 17], DefaultFactory).unwrap();
        accept.set_app_nonce(AppNonce::new([join_nonce, 0, 0]).unwrap());
        let accept = accept.build(&AES128::from(KEY)).unwrap().to_vec();
        let answer = on_air(accept, request.until + ACCEPT_DELAYS[0]);
        heard.note_downlink(&answer, [(DEVICE, &KEY)].into_iter());
    }

    #[test]
    fn a_nonce_that_is_accepted_or_given_twice_is_found() {
        let start = Instant::now();
        let later = start + Duration::from_secs(60);
        for (second, reused) in [((2, 2), 0), ((1, 2), 1), ((2, 1), 0), ((1, 1), 1)] {
            let mut heard = Heard::default();
            join(&mut heard, 1, 1, start);
            assert_eq!(heard.reused_nonces, 0);
            join(&mut heard, second.0, second.1, later);
            assert_eq!(heard.reused_nonces, reused, "{second:?}");
        }
    }
}
