//! A device on the device side of the crate `lorawan`: what the network server says is read by code of others.

use lorawan::creator::{DataPayloadCreator, JoinRequestCreator};
use lorawan::keys::{AES128, AppKey, AppSKey, NewSKey};
use lorawan::maccommands::SerializableMacCommand;
use lorawan::parser::{
    self, DataHeader, DecryptedDataPayload, DecryptedJoinAcceptPayload, DevNonce, FRMPayload,
};
use ucifi_core::field::{DevEui, DeviceClass, LoRaWanTraits};

use crate::lorawan::{Activation, DevAddr, Key, NodeConfig};

/// A device.
#[derive(Clone, Debug)]
pub(super) struct Lamp {
    pub(super) dev_eui: DevEui,
    app_key: [u8; 16],
    pub(super) dev_nonce: u16,
    pub(super) session: Option<LampSession>,
}

/// Its session.
#[derive(Clone, Debug)]
pub(super) struct LampSession {
    pub(super) dev_addr: [u8; 4],
    nwk_s_key: [u8; 16],
    app_s_key: [u8; 16],
    pub(super) f_cnt_up: u32,
    /// The lowest counter that a downlink can have.
    pub(super) f_cnt_down: u32,
}

/// What it hears.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Heard {
    pub(super) f_cnt: u32,
    pub(super) confirmed: bool,
    pub(super) ack: bool,
    pub(super) f_pending: bool,
    pub(super) f_opts: Vec<u8>,
    pub(super) data: Option<(u8, Vec<u8>)>,
}

/// What it says.
#[derive(Clone, Debug, Default)]
pub(super) struct Says {
    pub(super) confirmed: bool,
    pub(super) control: u8,
    pub(super) commands: Vec<Vec<u8>>,
    pub(super) data: Option<(u8, Vec<u8>)>,
}

impl Lamp {
    pub(super) fn new(number: u8) -> Self {
        Self {
            dev_eui: DevEui([0x70, 0xb3, 0xd5, 0, 0, 0, 0, number]),
            app_key: [number; 16],
            dev_nonce: 0x1000,
            session: None,
        }
    }

    pub(super) fn config(&self, class: DeviceClass) -> NodeConfig {
        NodeConfig {
            dev_eui: self.dev_eui,
            activation: Activation::Otaa {
                app_key: Key::new(self.app_key),
            },
            traits: LoRaWanTraits {
                class,
                rx2_data_rate: Some(3),
                uplink_every_secs: 900,
            },
        }
    }

    /// Gives it a session from the factory.
    pub(super) fn activate(&mut self, class: DeviceClass) -> NodeConfig {
        let mut config = self.activate_with(8);
        config.traits.class = class;
        config
    }

    /// Gives it a session with these keys from the factory.
    pub(super) fn activate_with(&mut self, key: u8) -> NodeConfig {
        let dev_addr = [1, 2, 3, 0];
        self.session = Some(LampSession {
            dev_addr,
            nwk_s_key: [key; 16],
            app_s_key: [9; 16],
            f_cnt_up: 0,
            f_cnt_down: 0,
        });
        NodeConfig {
            activation: Activation::Abp {
                dev_addr: DevAddr(u32::from_le_bytes(dev_addr)),
                nwk_s_key: Key::new([key; 16]),
                app_s_key: Key::new([9; 16]),
            },
            ..self.config(DeviceClass::A)
        }
    }

    pub(super) fn join_request(&mut self) -> Vec<u8> {
        self.dev_nonce += 1;
        let mut dev_eui = self.dev_eui.0;
        dev_eui.reverse();
        let mut request = JoinRequestCreator::new();
        request
            .set_app_eui(&[1; 8])
            .set_dev_eui(&dev_eui)
            .set_dev_nonce(&self.dev_nonce.to_le_bytes());
        request.build(&AppKey::from(self.app_key)).to_vec()
    }

    /// Takes the answer to its last join-request; returns the JoinNonce.
    pub(super) fn accept(&mut self, phy: &[u8]) -> Option<u32> {
        let app_key = AppKey::from(self.app_key);
        let accept = DecryptedJoinAcceptPayload::new(phy.to_vec(), &app_key).ok()?;
        let dev_nonce = DevNonce::from(self.dev_nonce.to_le_bytes());
        let key = |key: &[u8]| key.try_into().unwrap();
        self.session = Some(LampSession {
            dev_addr: key_bytes(accept.dev_addr().as_ref()),
            nwk_s_key: key(accept.derive_newskey(&dev_nonce, &app_key).as_ref()),
            app_s_key: key(accept.derive_appskey(&dev_nonce, &app_key).as_ref()),
            f_cnt_up: 0,
            f_cnt_down: 0,
        });
        let nonce = accept.app_nonce();
        let [a, b, c] = key_bytes(nonce.as_ref());
        Some(u32::from_le_bytes([a, b, c, 0]))
    }

    /// Says something with the next counter.
    pub(super) fn says(&mut self, says: &Says) -> Vec<u8> {
        let session = self.session.as_mut().expect("it has joined");
        let f_cnt = session.f_cnt_up;
        session.f_cnt_up += 1;
        session.frame(f_cnt, says)
    }

    pub(super) fn reports(&mut self, payload: &[u8]) -> Vec<u8> {
        self.says(&Says {
            data: Some((10, payload.to_vec())),
            ..Says::default()
        })
    }

    pub(super) fn reports_confirmed(&mut self, payload: &[u8]) -> Vec<u8> {
        self.says(&Says {
            confirmed: true,
            data: Some((10, payload.to_vec())),
            ..Says::default()
        })
    }

    /// Hears a downlink, if it is for it and newer than the last.
    pub(super) fn hears(&mut self, phy: &[u8]) -> Option<Heard> {
        let session = self.session.as_mut()?;
        let low = u16::from_le_bytes([*phy.get(6)?, *phy.get(7)?]);
        let ahead = low.wrapping_sub(session.f_cnt_down as u16);
        let f_cnt = session.f_cnt_down + u32::from(ahead);
        let (nwk_s_key, app_s_key) = (AES128(session.nwk_s_key), AES128(session.app_s_key));
        let clear = DecryptedDataPayload::new(phy.to_vec(), &nwk_s_key, Some(&app_s_key), f_cnt).ok()?;
        assert!(ahead < 16_384, "the counter jumped by {ahead}");
        session.f_cnt_down = f_cnt + 1;
        let data = match clear.frm_payload() {
            FRMPayload::Data(data) => Some((clear.f_port()?, data.to_vec())),
            FRMPayload::MACCommands(_) | FRMPayload::None => None,
        };
        let control = clear.fhdr().fctrl();
        Some(Heard {
            f_cnt,
            confirmed: clear.is_confirmed(),
            ack: control.ack(),
            f_pending: control.f_pending(),
            f_opts: clear.fhdr().data().to_vec(),
            data,
        })
    }
}

impl LampSession {
    pub(super) fn frame(&self, f_cnt: u32, says: &Says) -> Vec<u8> {
        let mut creator = DataPayloadCreator::new();
        creator
            .set_uplink(true)
            .set_confirmed(says.confirmed)
            .set_dev_addr(&self.dev_addr)
            .set_fctrl(&parser::FCtrl::new(says.control, true))
            .set_fcnt(f_cnt);
        if let Some((f_port, _)) = &says.data {
            creator.set_f_port(*f_port);
        }
        let raw: Vec<Raw> = says.commands.iter().cloned().map(Raw).collect();
        let raw: Vec<&dyn SerializableMacCommand> = raw.iter().map(|raw| raw as _).collect();
        let payload = says.data.as_ref().map_or(&[][..], |(_, payload)| payload);
        let keys = (NewSKey::from(self.nwk_s_key), AppSKey::from(self.app_s_key));
        creator.build(payload, &raw, &keys.0, &keys.1).unwrap().to_vec()
    }
}

/// A MAC command as its bytes.
struct Raw(Vec<u8>);

impl SerializableMacCommand for Raw {
    fn payload_bytes(&self) -> &[u8] {
        &self.0[1..]
    }

    fn cid(&self) -> u8 {
        self.0[0]
    }

    fn payload_len(&self) -> usize {
        self.0.len() - 1
    }
}

fn key_bytes<const N: usize>(bytes: &[u8]) -> [u8; N] {
    bytes.try_into().unwrap()
}
