//! AES-128 keys, and what 1.0.x derives from them (LoRaWAN 1.0.3, section 6.2.5).

use std::fmt;

use aes::Aes128;
use aes::cipher::{Block, BlockDecrypt, BlockEncrypt, KeyInit};
use cmac::{Cmac, Mac};

/// An AES-128 key; it is never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Key([u8; 16]);

impl Key {
    /// Takes the bytes in the order in which a key is printed.
    pub const fn new(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    pub(super) const fn bytes(&self) -> [u8; 16] {
        self.0
    }

    pub(super) fn encrypt(&self, block: [u8; 16]) -> [u8; 16] {
        let mut block = Block::<Aes128>::from(block);
        self.cipher().encrypt_block(&mut block);
        block.into()
    }

    pub(super) fn decrypt(&self, block: [u8; 16]) -> [u8; 16] {
        let mut block = Block::<Aes128>::from(block);
        self.cipher().decrypt_block(&mut block);
        block.into()
    }

    /// Returns the first four bytes of the AES-CMAC.
    pub(super) fn mic(&self, message: &[u8]) -> [u8; 4] {
        let mut mac = <Cmac<Aes128> as KeyInit>::new(&self.0.into());
        mac.update(message);
        let [a, b, c, d, ..]: [u8; 16] = mac.finalize().into_bytes().into();
        [a, b, c, d]
    }

    fn cipher(&self) -> Aes128 {
        Aes128::new(&self.0.into())
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(…)")
    }
}

/// The two keys of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SessionKeys {
    /// Signs frames, encrypts MAC commands at FPort 0.
    pub(super) nwk_s_key: Key,
    /// Encrypts payloads.
    pub(super) app_s_key: Key,
}

impl SessionKeys {
    /// Derives the keys of a session from what the join exchanged.
    pub(super) fn derive(app_key: &Key, join_nonce: u32, net_id: u32, dev_nonce: u16) -> Self {
        let derive = |kind: u8| {
            let mut block = [0; 16];
            block[0] = kind;
            block[1..4].copy_from_slice(&join_nonce.to_le_bytes()[..3]);
            block[4..7].copy_from_slice(&net_id.to_le_bytes()[..3]);
            block[7..9].copy_from_slice(&dev_nonce.to_le_bytes());
            Key(app_key.encrypt(block))
        };
        Self {
            nwk_s_key: derive(1),
            app_s_key: derive(2),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(hex: u128) -> Key {
        Key::new(hex.to_be_bytes())
    }

    // Made by lora-packet 0.9.3 (npm).
    #[test]
    fn session_keys_are_derived_as_others_do() {
        let app_key = key(0x9892_9b92_c49e_dba9_676d_646d_3b61_2456);
        let keys = SessionKeys::derive(&app_key, 0x0037_6338, 0x00aa_bbcc, 0xf18e);
        assert_eq!(keys.nwk_s_key, key(0x4e3d_6e6a_fbcc_67af_2ba3_c8e8_ec4a_cf4b));
        assert_eq!(keys.app_s_key, key(0x6108_97aa_6f14_6062_3443_b527_d3ac_6a9d));
    }

    #[test]
    fn a_key_is_not_printed() {
        let printed = format!("{:?}", key(0xdead_beef));
        assert_eq!(printed, "Key(…)");
    }
}
