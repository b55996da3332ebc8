//! A luminaire of the NAS UL20xx family with firmware 1.1: it dims, and says its level, power and energy.
//!
//! The frames are those of `nas.ul20xx` in the stock catalogue; it is one DALI driver that is reached by broadcast.

use super::{Gadget, Message};

const STATUS_PORT: u8 = 23;
const USAGE_PORT: u8 = 26;
const COMMAND_PORT: u8 = 60;
/// The address of all drivers.
const BROADCAST: u8 = 0xFE;
const DIM: u8 = 0x01;
/// What the lamp takes at 100 %, in W.
const FULL_WATTS: u32 = 40;

/// A luminaire.
#[derive(Clone, Debug)]
pub struct Luminaire {
    level: u8,
    energy_wh: f64,
    since: Option<u32>,
    on_secs: u32,
    says_usage_next: bool,
}

impl Luminaire {
    /// Returns one that burns at `level` percent.
    pub fn new(level: u8) -> Self {
        Self {
            level: level.min(100),
            energy_wh: 0.0,
            since: None,
            on_secs: 0,
            says_usage_next: false,
        }
    }

    fn watts(&self) -> u32 {
        FULL_WATTS * u32::from(self.level) / 100
    }

    fn pass_time(&mut self, unix_secs: u32) {
        let secs = self.since.map_or(0, |since| unix_secs.saturating_sub(since));
        self.energy_wh += f64::from(self.watts() * secs) / 3_600.0;
        self.on_secs += if self.level > 0 { secs } else { 0 };
        self.since = Some(unix_secs);
    }

    fn status(&self, unix_secs: u32) -> Vec<u8> {
        let relay = u8::from(self.level > 0) << 7;
        let mut payload = vec![0x01];
        payload.extend(unix_secs.to_le_bytes());
        // Flags, received signal and noise, temperature, no alert, no sensor; then the one driver.
        payload.extend([relay, 0x00, 80, 9, 24, 0x00, 0x00]);
        payload.extend([BROADCAST, 0x00, self.level, 0x00]);
        payload
    }

    fn usage(&self) -> Vec<u8> {
        let energy = (self.energy_wh as u32).to_le_bytes();
        let watts = (self.watts() as u16).to_le_bytes();
        let mut payload = vec![0x00, BROADCAST, 0xFF];
        payload.extend(energy.iter().chain(&watts).chain(&energy).chain(&watts));
        // Power factor in hundredths, volts.
        payload.extend([95, 230]);
        payload.extend([self.on_secs.to_le_bytes(), self.on_secs.to_le_bytes()].concat());
        payload
    }
}

impl Gadget for Luminaire {
    fn report(&mut self, unix_secs: u32) -> Message {
        self.pass_time(unix_secs);
        let says_usage = self.says_usage_next;
        self.says_usage_next = !says_usage;
        let (f_port, payload) = if says_usage {
            (USAGE_PORT, self.usage())
        } else {
            (STATUS_PORT, self.status(unix_secs))
        };
        Message {
            f_port,
            payload,
            is_confirmed: false,
        }
    }

    fn told(&mut self, f_port: u8, payload: &[u8]) -> Option<Message> {
        let (COMMAND_PORT, [DIM, BROADCAST, level @ 0..=100]) = (f_port, payload) else {
            return None;
        };
        self.level = *level;
        Some(Message {
            f_port: COMMAND_PORT,
            payload: payload.to_vec(),
            is_confirmed: false,
        })
    }

    fn level(&self) -> Option<u8> {
        Some(self.level)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_takes_a_level_answers_and_says_what_it_takes() {
        let mut lamp = Luminaire::new(100);
        assert_eq!(lamp.report(1_000).f_port, STATUS_PORT);
        assert_eq!(lamp.report(4_600).f_port, USAGE_PORT);
        assert_eq!(lamp.energy_wh as u32, FULL_WATTS);
        let answer = lamp.told(60, &[0x01, 0xFE, 25]).unwrap();
        assert_eq!((answer.f_port, answer.payload), (60, vec![0x01, 0xFE, 25]));
        assert_eq!((lamp.level(), lamp.watts()), (Some(25), FULL_WATTS / 4));
        assert_eq!(lamp.status(0)[12..], [0xFE, 0, 25, 0]);
    }

    #[test]
    fn what_is_no_command_changes_nothing() {
        let mut lamp = Luminaire::new(50);
        for (port, payload) in [(60, &[0x01, 0xFE, 101][..]), (61, &[0x01, 0xFE, 10]), (60, &[])] {
            assert_eq!(lamp.told(port, payload), None);
        }
        assert_eq!(lamp.level(), Some(50));
    }
}
