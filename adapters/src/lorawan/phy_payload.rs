//! Frames as they go through the air (LoRaWAN 1.0.3, sections 4 and 6): a narrow front of the crate `lorawan`.
//!
//! What that crate refuses with a panic is checked here first. Its join-accepts cannot carry a channel list, so they
//! are built here.

use std::fmt;

use lorawan::creator::DataPayloadCreator;
use lorawan::keys::{AES128, AppSKey, NewSKey};
use lorawan::maccommands::SerializableMacCommand;
use lorawan::parser::{
    self, DataHeader, DataPayload, EncryptedDataPayload, FCtrl, FRMPayload, JoinRequestPayload,
};
use ucifi_core::field::DevEui;

use super::keys::{Key, SessionKeys};
use super::limits;
use super::mac_command::{self, DownlinkCommand};
use super::region::DataRate;

/// Bytes around FOpts, FPort and FRMPayload: MHDR, DevAddr, FCtrl, FCnt, MIC.
const FRAME_BYTES: usize = 12;

/// The address of a device in a session.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DevAddr(pub u32);

impl fmt::Display for DevAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08X}", self.0)
    }
}

impl fmt::Debug for DevAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The JoinEUI of a join-request, in the order in which it is printed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JoinEui(pub [u8; 8]);

impl fmt::Display for JoinEui {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02X}"))
    }
}

impl fmt::Debug for JoinEui {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A frame by its kind, nothing of it verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PhyPayload {
    /// A device wants to join.
    JoinRequest(JoinRequest),
    /// A device says something.
    Data(DataUplink),
    /// A frame of a server, this one or another, or of a kind that this server has no use for.
    Other,
}

/// Why bytes are no frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// Shorter or longer than any frame, or than its own header says.
    #[error("its length of {0} bytes fits no frame")]
    Length(usize),
    /// A major version or type that this server does not know.
    #[error("its header is not of LoRaWAN R1")]
    Header,
    /// MAC commands in two places.
    #[error("it carries MAC commands both in FOpts and at FPort 0")]
    TwoPlaces,
}

/// Reads a frame; any bytes may come.
///
/// # Errors
/// When the bytes are no frame of LoRaWAN R1.
pub fn parse(bytes: &[u8]) -> Result<PhyPayload, Malformed> {
    if !(FRAME_BYTES..=limits::PHY_BYTES).contains(&bytes.len()) {
        return Err(Malformed::Length(bytes.len()));
    }
    match parser::parse(bytes.to_vec()) {
        Ok(parser::PhyPayload::JoinRequest(request)) => {
            Ok(PhyPayload::JoinRequest(JoinRequest::read(bytes, &request)))
        }
        Ok(parser::PhyPayload::Data(DataPayload::Encrypted(data))) if data.is_uplink() => {
            DataUplink::read(bytes, &data).map(PhyPayload::Data)
        }
        Ok(parser::PhyPayload::Data(_) | parser::PhyPayload::JoinAccept(_)) => Ok(PhyPayload::Other),
        Err(parser::Error::InvalidMessageType) => Ok(PhyPayload::Other),
        Err(parser::Error::UnsupportedMajorVersion) => Err(Malformed::Header),
        Err(
            parser::Error::InvalidData
            | parser::Error::InvalidPayload
            | parser::Error::InvalidMic
            | parser::Error::InvalidKey,
        ) => Err(Malformed::Length(bytes.len())),
    }
}

/// A join-request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinRequest {
    /// Whom the device wants to join.
    pub join_eui: JoinEui,
    /// Who wants to join.
    pub dev_eui: DevEui,
    /// A number that the device uses only once.
    pub dev_nonce: u16,
    bytes: Vec<u8>,
}

impl JoinRequest {
    fn read<F: lorawan::keys::CryptoFactory>(bytes: &[u8], request: &JoinRequestPayload<Vec<u8>, F>) -> Self {
        // The crate takes it for big-endian.
        let nonce = printed(request.dev_nonce().as_ref());
        Self {
            join_eui: JoinEui(printed(request.app_eui().as_ref())),
            dev_eui: DevEui(printed(request.dev_eui().as_ref())),
            dev_nonce: u16::from_be_bytes(nonce),
            bytes: bytes.to_vec(),
        }
    }

    /// Says whether its MIC was made with this key.
    pub fn is_signed_with(&self, app_key: &Key) -> bool {
        JoinRequestPayload::new(&self.bytes).is_ok_and(|r| r.validate_mic(&AES128(app_key.bytes())))
    }
}

/// A data frame of a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DataUplink {
    /// The address of its session; several devices may have the same.
    pub dev_addr: DevAddr,
    /// Whether it wants an acknowledgement.
    pub confirmed: bool,
    /// Whether it acknowledges the last confirmed downlink.
    pub ack: bool,
    /// Whether it wants to hear anything at all, to know that it is still heard.
    pub adr_ack_req: bool,
    /// The low half of its counter.
    pub f_cnt_low: u16,
    /// The FPort; none where nothing follows the header.
    pub f_port: Option<u8>,
    /// The MAC commands in its header.
    pub f_opts: Vec<u8>,
    bytes: Vec<u8>,
}

impl DataUplink {
    fn read<F>(bytes: &[u8], data: &EncryptedDataPayload<Vec<u8>, F>) -> Result<Self, Malformed>
    where
        F: lorawan::keys::CryptoFactory,
    {
        let header = data.fhdr();
        let control = header.fctrl();
        let f_opts = header.data().to_vec();
        // The crate sees no FPort where no payload follows it.
        let port_at = FRAME_BYTES - 4 + f_opts.len();
        let f_port = bytes[..bytes.len() - 4].get(port_at).copied();
        if f_port == Some(0) && !f_opts.is_empty() {
            return Err(Malformed::TwoPlaces);
        }
        let address: [u8; 4] = printed(header.dev_addr().as_ref());
        Ok(Self {
            dev_addr: DevAddr(u32::from_be_bytes(address)),
            confirmed: data.is_confirmed(),
            ack: control.ack(),
            adr_ack_req: control.adr_ack_req(),
            f_cnt_low: header.fcnt(),
            f_port,
            f_opts,
            bytes: bytes.to_vec(),
        })
    }

    /// Says whether its MIC was made with this key and this counter.
    pub fn is_signed_with(&self, nwk_s_key: &Key, f_cnt: u32) -> bool {
        self.encrypted().validate_mic(&AES128(nwk_s_key.bytes()), f_cnt)
    }

    /// Returns its payload in the clear; garbage unless keys and counter are the right ones.
    pub(super) fn payload(&self, keys: &SessionKeys, f_cnt: u32) -> Vec<u8> {
        let nwk_s_key = AES128(keys.nwk_s_key.bytes());
        let app_s_key = AES128(keys.app_s_key.bytes());
        let clear = EncryptedDataPayload::new(self.bytes.clone())
            .and_then(|data| data.decrypt(Some(&nwk_s_key), Some(&app_s_key), f_cnt))
            .expect("it was parsed, and both keys are given");
        match clear.frm_payload() {
            FRMPayload::Data(data) => data.to_vec(),
            FRMPayload::MACCommands(commands) => commands.data().to_vec(),
            FRMPayload::None => Vec::new(),
        }
    }

    fn encrypted(&self) -> EncryptedDataPayload<&[u8], lorawan::default_crypto::DefaultFactory> {
        EncryptedDataPayload::new(self.bytes.as_slice()).expect("it was parsed")
    }
}

/// A data frame for a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct DataDownlink {
    pub(super) dev_addr: DevAddr,
    pub(super) f_cnt: u32,
    pub(super) confirmed: bool,
    pub(super) ack: bool,
    pub(super) f_pending: bool,
    pub(super) commands: Vec<DownlinkCommand>,
    pub(super) data: Option<(u8, Vec<u8>)>,
}

impl DataDownlink {
    /// Returns how long its FOpts and its FRMPayload are together, which is what data rates bound.
    pub(super) fn payload_len(&self) -> usize {
        mac_command::len(&self.commands) + self.data.as_ref().map_or(0, |(_, payload)| payload.len())
    }

    /// Returns its bytes; none where it is longer than any data rate takes.
    pub(super) fn encode(&self, keys: &SessionKeys) -> Option<Vec<u8>> {
        let commands_fit = mac_command::len(&self.commands) <= limits::F_OPTS_BYTES;
        if !commands_fit || self.payload_len() > DataRate::Dr5.max_payload() {
            return None;
        }
        let mut address = self.dev_addr.0.to_be_bytes();
        address.reverse();
        let control = u8::from(self.ack) << 5 | u8::from(self.f_pending) << 4;
        let mut creator = DataPayloadCreator::new();
        creator
            .set_uplink(false)
            .set_confirmed(self.confirmed)
            .set_dev_addr(&address)
            .set_fctrl(&FCtrl::new(control, false))
            .set_fcnt(self.f_cnt);
        if let Some((f_port, _)) = &self.data {
            creator.set_f_port(*f_port);
        }
        let raw: Vec<Raw> = self.commands.iter().map(Raw::from).collect();
        let raw: Vec<&dyn SerializableMacCommand> = raw.iter().map(|raw| raw as _).collect();
        let payload = self.data.as_ref().map_or(&[][..], |(_, payload)| payload);
        let nwk_s_key = NewSKey::from(keys.nwk_s_key.bytes());
        let app_s_key = AppSKey::from(keys.app_s_key.bytes());
        creator
            .build(payload, &raw, &nwk_s_key, &app_s_key)
            .ok()
            .map(<[u8]>::to_vec)
    }
}

struct Raw {
    cid: u8,
    payload: Vec<u8>,
}

impl From<&DownlinkCommand> for Raw {
    fn from(command: &DownlinkCommand) -> Self {
        Self {
            cid: command.cid(),
            payload: command.payload(),
        }
    }
}

impl SerializableMacCommand for Raw {
    fn payload_bytes(&self) -> &[u8] {
        &self.payload
    }

    fn cid(&self) -> u8 {
        self.cid
    }

    fn payload_len(&self) -> usize {
        self.payload.len()
    }
}

/// The answer to a join-request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct JoinAccept {
    pub(super) join_nonce: u32,
    pub(super) net_id: u32,
    pub(super) dev_addr: DevAddr,
    pub(super) rx2_data_rate: DataRate,
    pub(super) rx1_delay_secs: u8,
    /// Channels beside the default ones, in Hz; at most five.
    pub(super) channels_hz: Vec<u32>,
}

impl JoinAccept {
    /// Returns its bytes, 17 without channels and 33 with them.
    pub(super) fn encode(&self, app_key: &Key) -> Vec<u8> {
        let mut frame = vec![0x20];
        frame.extend_from_slice(&self.join_nonce.to_le_bytes()[..3]);
        frame.extend_from_slice(&self.net_id.to_le_bytes()[..3]);
        frame.extend_from_slice(&self.dev_addr.0.to_le_bytes());
        frame.push(self.rx2_data_rate.index());
        frame.push(self.rx1_delay_secs);
        if !self.channels_hz.is_empty() {
            frame.extend(self.channel_list());
        }
        frame.extend(app_key.mic(&frame));
        // The device only has to encrypt, so the server decrypts (section 6.2.5).
        for block in frame[1..].chunks_exact_mut(16) {
            let clear = <[u8; 16]>::try_from(&*block).expect("chunks of 16");
            block.copy_from_slice(&app_key.decrypt(clear));
        }
        frame
    }

    fn channel_list(&self) -> [u8; 16] {
        let mut list = [0; 16];
        for (place, channel) in list.chunks_exact_mut(3).zip(&self.channels_hz) {
            place.copy_from_slice(&(channel / 100).to_le_bytes()[..3]);
        }
        list
    }
}

/// Turns bytes around: the wire has the last one first.
fn printed<const N: usize>(wire: &[u8]) -> [u8; N] {
    let mut bytes = [0; N];
    for (to, from) in bytes.iter_mut().zip(wire.iter().rev()) {
        *to = *from;
    }
    bytes
}

#[cfg(test)]
mod tests;
