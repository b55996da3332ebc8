//! A water meter, Axioma Qalcosonic W1: it says its volume and has it acknowledged.
//!
//! The frames are those of `axioma.w1` in the stock catalogue, without a log of the hours before.

use super::{Gadget, Message};

const PORT: u8 = 100;
/// The beginning of its log, which it does not have: a clock that was never set.
const NO_LOG: [u8; 4] = [0; 4];

/// A water meter.
#[derive(Clone, Debug)]
pub struct WaterMeter {
    litres: u32,
    litres_a_report: u32,
}

impl WaterMeter {
    /// Returns one that shows `litres`, and `litres_a_report` more at each report.
    pub const fn new(litres: u32, litres_a_report: u32) -> Self {
        Self {
            litres,
            litres_a_report,
        }
    }
}

impl Gadget for WaterMeter {
    fn report(&mut self, unix_secs: u32) -> Message {
        self.litres += self.litres_a_report;
        let mut payload = unix_secs.to_le_bytes().to_vec();
        // No error.
        payload.push(0x00);
        payload.extend(self.litres.to_le_bytes());
        payload.extend(NO_LOG);
        payload.extend(self.litres.to_le_bytes());
        Message {
            f_port: PORT,
            payload,
            is_confirmed: true,
        }
    }

    fn told(&mut self, _f_port: u8, _payload: &[u8]) -> Option<Message> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_shows_more_each_time() {
        let mut meter = WaterMeter::new(13_600, 9);
        let message = meter.report(0x5D35_A00E);
        assert_eq!(
            message.payload[..9],
            [0x0E, 0xA0, 0x35, 0x5D, 0, 0x29, 0x35, 0, 0]
        );
        assert!(message.is_confirmed);
    }
}
