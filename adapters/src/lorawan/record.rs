//! What is saved of a device, byte by byte. Numbers are little-endian; the first byte is the version of the format, 1.
//!
//! | name | what follows the version |
//! |---|---|
//! | `lorawan/nonces/<DevEUI>` | next JoinNonce u32; then each DevNonce that was used, u16, the oldest first |
//! | `lorawan/session/<DevEUI>` | for each session, the one in use first: 0 in use or 1 joined u8; DevAddr u32; NwkSKey 16; AppSKey 16; JoinNonce u32; data rate of RX2 u8; next FCntUp u32; FCntUp that is no more in doubt u32; FCntDown not reserved yet u32; 0 or 1 u8 and, after 1, the EUI of the forwarder 8 |
//! | `lorawan/queue/<DevEUI>` | for each command: number of path segments u8; each u16; FPort u8; confirmed 0 or 1 u8; attempts u8; length u8; payload |
//! | `lorawan/stopped` | nothing: the last run ended in good order |

use lwm2m_client::Path;
use ucifi_core::field::{DevEui, LoRaWanCommand};

use super::air::ForwarderId;
use super::keys::{Key, SessionKeys};
use super::limits;
use super::phy_payload::DevAddr;
use super::queue::Entry;
use super::region::DataRate;
use super::session::Session;

const VERSION: u8 = 1;

/// The bytes are not what this version writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Damage;

/// What a device used of its nonces.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Nonces {
    /// The next JoinNonce.
    pub(super) join_nonce: u32,
    /// The DevNonces that were used, the oldest first.
    pub(super) used: Vec<u16>,
}

/// The sessions of a device.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Sessions {
    /// The one in use.
    pub(super) active: Option<Session>,
    /// One that was joined and not used yet.
    pub(super) pending: Option<Session>,
}

/// A command as it was saved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SavedCommand {
    pub(super) path: Path,
    pub(super) command: LoRaWanCommand,
    pub(super) attempts: u8,
}

/// The name under which the mark of a clean stop is saved.
pub(super) const STOPPED: &str = "lorawan/stopped";

pub(super) fn nonces_name(dev_eui: DevEui) -> String {
    format!("lorawan/nonces/{dev_eui}")
}

pub(super) fn session_name(dev_eui: DevEui) -> String {
    format!("lorawan/session/{dev_eui}")
}

pub(super) fn queue_name(dev_eui: DevEui) -> String {
    format!("lorawan/queue/{dev_eui}")
}

pub(super) fn stopped() -> Vec<u8> {
    vec![VERSION]
}

impl Nonces {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![VERSION];
        bytes.extend(self.join_nonce.to_le_bytes());
        bytes.extend(self.used.iter().flat_map(|nonce| nonce.to_le_bytes()));
        bytes
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, Damage> {
        let mut reader = Reader::new(bytes)?;
        let join_nonce = reader.u32()?;
        let mut used = Vec::new();
        while !reader.is_empty() {
            used.push(reader.u16()?);
        }
        let is_sound = join_nonce <= limits::JOIN_NONCES && used.len() <= limits::DEV_NONCES;
        is_sound.then_some(Self { join_nonce, used }).ok_or(Damage)
    }
}

impl Sessions {
    /// Returns the bytes, with what the save commits and reserves instead of what is durable now.
    pub(super) fn encode(&self, committed: u32) -> Vec<u8> {
        let mut bytes = vec![VERSION];
        if let Some(session) = &self.active {
            encode_session(&mut bytes, 0, session, committed);
        }
        if let Some(session) = &self.pending {
            encode_session(&mut bytes, 1, session, session.f_cnt_up);
        }
        bytes
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, Damage> {
        let mut reader = Reader::new(bytes)?;
        let mut sessions = Self::default();
        while !reader.is_empty() {
            let place = match reader.u8()? {
                0 => &mut sessions.active,
                1 => &mut sessions.pending,
                _ => return Err(Damage),
            };
            if place.replace(decode_session(&mut reader)?).is_some() {
                return Err(Damage);
            }
        }
        Ok(sessions)
    }
}

fn encode_session(bytes: &mut Vec<u8>, place: u8, session: &Session, committed: u32) {
    bytes.push(place);
    bytes.extend(session.dev_addr.0.to_le_bytes());
    bytes.extend(session.keys.nwk_s_key.bytes());
    bytes.extend(session.keys.app_s_key.bytes());
    bytes.extend(session.join_nonce.to_le_bytes());
    bytes.push(session.rx2_data_rate.index());
    bytes.extend(committed.to_le_bytes());
    // What is taken again may not be a repeat.
    let doubt = if committed < session.f_cnt_up {
        session.f_cnt_up
    } else {
        0
    };
    bytes.extend(session.suspect_until.max(doubt).to_le_bytes());
    bytes.extend(session.next_reserved().to_le_bytes());
    bytes.push(u8::from(session.forwarder.is_some()));
    bytes.extend(session.forwarder.iter().flat_map(|forwarder| forwarder.0));
}

fn decode_session(reader: &mut Reader<'_>) -> Result<Session, Damage> {
    let dev_addr = DevAddr(reader.u32()?);
    let keys = SessionKeys {
        nwk_s_key: Key::new(reader.array()?),
        app_s_key: Key::new(reader.array()?),
    };
    let join_nonce = reader.u32()?;
    let rx2_data_rate = DataRate::from_index(reader.u8()?).ok_or(Damage)?;
    let f_cnt_up = reader.u32()?;
    let suspect_until = reader.u32()?;
    let reserved = reader.u32()?;
    let forwarder = reader
        .bool()?
        .then(|| reader.array().map(ForwarderId))
        .transpose()?;
    Ok(Session {
        f_cnt_up,
        suspect_until,
        f_cnt_down: reserved,
        reserved,
        committed: f_cnt_up,
        forwarder,
        is_durable: true,
        ..Session::new(dev_addr, keys, join_nonce, rx2_data_rate)
    })
}

pub(super) fn encode_queue<'a>(entries: impl Iterator<Item = &'a Entry>) -> Vec<u8> {
    let mut bytes = vec![VERSION];
    for entry in entries {
        let segments = entry.path.segments();
        bytes.push(u8::try_from(segments.len()).expect("a path has at most four"));
        bytes.extend(segments.iter().flat_map(|segment| segment.to_le_bytes()));
        bytes.extend([
            entry.command.f_port,
            u8::from(entry.command.confirmed),
            entry.attempts,
        ]);
        bytes.push(u8::try_from(entry.command.payload.len()).expect("checked when it came"));
        bytes.extend(&entry.command.payload);
    }
    bytes
}

pub(super) fn decode_queue(bytes: &[u8]) -> Result<Vec<SavedCommand>, Damage> {
    let mut reader = Reader::new(bytes)?;
    let mut commands = Vec::new();
    while !reader.is_empty() && commands.len() < limits::COMMANDS {
        commands.push(decode_command(&mut reader)?);
    }
    reader.is_empty().then_some(commands).ok_or(Damage)
}

fn decode_command(reader: &mut Reader<'_>) -> Result<SavedCommand, Damage> {
    let count = reader.u8()?;
    let segments: Vec<u16> = (0..count).map(|_| reader.u16()).collect::<Result<_, _>>()?;
    let path = Path::from_segments(&segments).ok_or(Damage)?;
    let (f_port, confirmed, attempts) = (reader.u8()?, reader.bool()?, reader.u8()?);
    let length = usize::from(reader.u8()?);
    let payload = reader.take(length)?.to_vec();
    let command = LoRaWanCommand {
        f_port,
        payload,
        confirmed,
    };
    is_sendable(&command)
        .then_some(SavedCommand {
            path,
            command,
            attempts,
        })
        .ok_or(Damage)
}

/// Says whether a frame can carry a command at all.
pub(super) fn is_sendable(command: &LoRaWanCommand) -> bool {
    (1..=223).contains(&command.f_port) && command.payload.len() <= limits::PAYLOAD_BYTES
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn new(bytes: &'a [u8]) -> Result<Self, Damage> {
        match bytes {
            [VERSION, rest @ ..] => Ok(Self(rest)),
            _ => Err(Damage),
        }
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], Damage> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(Damage)?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Damage> {
        self.take(N)?.try_into().map_err(|_| Damage)
    }

    fn u8(&mut self) -> Result<u8, Damage> {
        self.array().map(u8::from_le_bytes)
    }

    fn u16(&mut self) -> Result<u16, Damage> {
        self.array().map(u16::from_le_bytes)
    }

    fn u32(&mut self) -> Result<u32, Damage> {
        self.array().map(u32::from_le_bytes)
    }

    fn bool(&mut self) -> Result<bool, Damage> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(Damage),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::queue::Queue;
    use super::*;

    fn session(seed: [u8; 32], numbers: [u32; 6], forwarder: Option<[u8; 8]>) -> Session {
        let [dev_addr, join_nonce, f_cnt_up, suspect_until, f_cnt_down, rate] = numbers;
        let (nwk, app) = seed.split_at(16);
        let keys = SessionKeys {
            nwk_s_key: Key::new(nwk.try_into().unwrap()),
            app_s_key: Key::new(app.try_into().unwrap()),
        };
        let rate = DataRate::ALL[rate as usize % 7];
        Session {
            f_cnt_up,
            suspect_until,
            f_cnt_down,
            forwarder: forwarder.map(ForwarderId),
            ..Session::new(DevAddr(dev_addr), keys, join_nonce, rate)
        }
    }

    /// Returns a session as it is after a restart.
    fn restarted(session: &Session) -> Session {
        Session {
            f_cnt_down: session.next_reserved(),
            reserved: session.next_reserved(),
            committed: session.f_cnt_up,
            is_durable: true,
            ..session.clone()
        }
    }

    proptest! {
        #[test]
        fn sessions_come_back(
            seed in any::<[u8; 32]>(),
            numbers in any::<[u32; 6]>(),
            others in any::<[u32; 6]>(),
            forwarder in any::<Option<[u8; 8]>>(),
            both in any::<bool>(),
        ) {
            let active = session(seed, numbers, forwarder);
            let pending = both.then(|| session(seed, others, None));
            let bytes = Sessions { active: Some(active.clone()), pending: pending.clone() }.encode(active.f_cnt_up);
            let expected = Sessions {
                active: Some(restarted(&active)),
                pending: pending.as_ref().map(restarted),
            };
            prop_assert_eq!(Sessions::decode(&bytes), Ok(expected));
        }

        #[test]
        fn nonces_come_back(join_nonce in 0..limits::JOIN_NONCES, used in prop::collection::vec(any::<u16>(), 0..=512)) {
            let nonces = Nonces { join_nonce, used };
            prop_assert!(nonces.encode().len() <= ucifi_core::state::MAX_VALUE_BYTES);
            prop_assert_eq!(Nonces::decode(&nonces.encode()), Ok(nonces));
        }

        #[test]
        fn commands_come_back(commands in prop::collection::vec(
            (any::<u16>(), 1..=223_u8, any::<bool>(), prop::collection::vec(any::<u8>(), 0..=242)),
            0..=limits::COMMANDS,
        )) {
            let now = super::super::tests::start();
            let mut queue = Queue::default();
            let mut expected = Vec::new();
            for (at, (object, f_port, confirmed, payload)) in commands.into_iter().enumerate() {
                let path = Path::resource(object, at as u16, 1);
                let command = LoRaWanCommand { f_port, payload, confirmed };
                queue.push(None, path, command.clone(), true, now).unwrap();
                expected.push(SavedCommand { path, command, attempts: 0 });
            }
            let bytes = encode_queue(queue.kept());
            prop_assert!(bytes.len() <= ucifi_core::state::MAX_VALUE_BYTES);
            prop_assert_eq!(decode_queue(&bytes), Ok(expected));
        }

        #[test]
        fn garbage_is_damage_or_sound(mut bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            for version in [None, Some(VERSION)] {
                if let (Some(first), Some(version)) = (bytes.first_mut(), version) {
                    *first = version;
                }
                let sound = Sessions::decode(&bytes).is_ok();
                prop_assert!(!sound || bytes.len() == 1 || bytes.len() > 50);
                prop_assert!(decode_queue(&bytes).is_ok_and(|c| c.len() <= limits::COMMANDS) || decode_queue(&bytes).is_err());
                prop_assert!(Nonces::decode(&bytes).map_or(true, |n| n.join_nonce <= limits::JOIN_NONCES));
            }
        }
    }
}
