//! MAC commands (LoRaWAN 1.0.3, section 5): those of a device are read, those that this server says are written.
//!
//! A command that is not known ends the reading, since nobody knows its length; one that is cut short does too.

use super::region::DataRate;

/// What a device asks or answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UplinkCommand {
    /// How well is this frame heard?
    LinkCheckReq,
    /// What became of a LinkADRReq, a bit for each part that was taken.
    LinkAdrAns(u8),
    /// A DutyCycleReq was taken.
    DutyCycleAns,
    /// What became of an RXParamSetupReq, a bit for each part that was taken.
    RxParamSetupAns(u8),
    /// The state of the device.
    DevStatusAns {
        /// 0 is mains, 1 to 254 of 254, 255 is unknown.
        battery: u8,
        /// The signal to noise ratio of the last downlink, in dB.
        margin_db: i8,
    },
    /// What became of a NewChannelReq.
    NewChannelAns(u8),
    /// An RXTimingSetupReq was taken.
    RxTimingSetupAns,
    /// A TxParamSetupReq was taken.
    TxParamSetupAns,
    /// What became of a DlChannelReq.
    DlChannelAns(u8),
    /// What time is it?
    DeviceTimeReq,
}

/// Reads the commands of a device, as far as they are known.
pub fn read(mut bytes: &[u8]) -> Vec<UplinkCommand> {
    let mut commands = Vec::new();
    while let Some((command, rest)) = read_one(bytes) {
        commands.push(command);
        bytes = rest;
    }
    commands
}

fn read_one(bytes: &[u8]) -> Option<(UplinkCommand, &[u8])> {
    Some(match *bytes {
        [0x02, ref rest @ ..] => (UplinkCommand::LinkCheckReq, rest),
        [0x03, status, ref rest @ ..] => (UplinkCommand::LinkAdrAns(status), rest),
        [0x04, ref rest @ ..] => (UplinkCommand::DutyCycleAns, rest),
        [0x05, status, ref rest @ ..] => (UplinkCommand::RxParamSetupAns(status), rest),
        [0x06, battery, margin, ref rest @ ..] => {
            // Six bits with a sign.
            let margin_db = (margin << 2).cast_signed() >> 2;
            (UplinkCommand::DevStatusAns { battery, margin_db }, rest)
        }
        [0x07, status, ref rest @ ..] => (UplinkCommand::NewChannelAns(status), rest),
        [0x08, ref rest @ ..] => (UplinkCommand::RxTimingSetupAns, rest),
        [0x09, ref rest @ ..] => (UplinkCommand::TxParamSetupAns, rest),
        [0x0a, status, ref rest @ ..] => (UplinkCommand::DlChannelAns(status), rest),
        [0x0d, ref rest @ ..] => (UplinkCommand::DeviceTimeReq, rest),
        _ => return None,
    })
}

/// What this server says to a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DownlinkCommand {
    /// How well it was heard.
    LinkCheckAns {
        /// Above the weakest signal that can be demodulated, in dB.
        margin_db: u8,
        /// By how many forwarders.
        gateways: u8,
    },
    /// The data rate of the second receive window, at the region's frequency.
    RxParamSetupReq {
        /// The data rate.
        rx2_data_rate: DataRate,
        /// The frequency, in Hz.
        frequency_hz: u32,
    },
    /// The time at the end of the uplink that asked.
    DeviceTimeAns {
        /// Seconds since the begin of GPS time.
        gps_secs: u32,
        /// 256ths of a second.
        fraction: u8,
    },
}

impl DownlinkCommand {
    pub(super) const fn cid(&self) -> u8 {
        match self {
            Self::LinkCheckAns { .. } => 0x02,
            Self::RxParamSetupReq { .. } => 0x05,
            Self::DeviceTimeAns { .. } => 0x0d,
        }
    }

    pub(super) fn payload(&self) -> Vec<u8> {
        match *self {
            Self::LinkCheckAns { margin_db, gateways } => vec![margin_db, gateways],
            Self::RxParamSetupReq {
                rx2_data_rate,
                frequency_hz,
            } => {
                let [a, b, c, _] = (frequency_hz / 100).to_le_bytes();
                vec![rx2_data_rate.index(), a, b, c]
            }
            Self::DeviceTimeAns { gps_secs, fraction } => {
                let [a, b, c, d] = gps_secs.to_le_bytes();
                vec![a, b, c, d, fraction]
            }
        }
    }
}

/// Returns how many bytes commands take.
pub(super) fn len(commands: &[DownlinkCommand]) -> usize {
    commands.iter().map(|command| 1 + command.payload().len()).sum()
}

#[cfg(test)]
mod tests {
    use lorawan::maccommands::{DownlinkMacCommand, parse_downlink_mac_commands};
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_command_of_a_device_is_read() {
        let bytes = [2, 3, 7, 4, 5, 7, 6, 255, 0x3f, 7, 3, 8, 9, 0x0a, 3, 0x0d];
        let expected = [
            UplinkCommand::LinkCheckReq,
            UplinkCommand::LinkAdrAns(7),
            UplinkCommand::DutyCycleAns,
            UplinkCommand::RxParamSetupAns(7),
            UplinkCommand::DevStatusAns {
                battery: 255,
                margin_db: -1,
            },
            UplinkCommand::NewChannelAns(3),
            UplinkCommand::RxTimingSetupAns,
            UplinkCommand::TxParamSetupAns,
            UplinkCommand::DlChannelAns(3),
            UplinkCommand::DeviceTimeReq,
        ];
        assert_eq!(read(&bytes), expected);
    }

    #[test]
    fn an_unknown_or_cut_command_ends_the_reading() {
        assert_eq!(read(&[2, 0x80, 2]), [UplinkCommand::LinkCheckReq]);
        assert_eq!(read(&[2, 6, 8]), [UplinkCommand::LinkCheckReq]);
    }

    #[test]
    fn a_device_reads_what_is_written() {
        let commands = [
            DownlinkCommand::LinkCheckAns {
                margin_db: 20,
                gateways: 2,
            },
            DownlinkCommand::RxParamSetupReq {
                rx2_data_rate: DataRate::Dr3,
                frequency_hz: 869_525_000,
            },
            DownlinkCommand::DeviceTimeAns {
                gps_secs: 0x0102_0304,
                fraction: 128,
            },
        ];
        let bytes: Vec<u8> = commands
            .iter()
            .flat_map(|command| std::iter::once(command.cid()).chain(command.payload()))
            .collect();
        assert_eq!(bytes.len(), len(&commands));
        // The crate takes the seconds for big-endian; section 5.11 sends the lowest byte first, as everything.
        assert_eq!(bytes[8..], [0x0d, 4, 3, 2, 1, 128]);
        let read: Vec<_> = parse_downlink_mac_commands(&bytes).collect();
        assert!(matches!(&read[0], DownlinkMacCommand::LinkCheckAns(ans) if ans.margin() == 20));
        assert!(matches!(&read[1], DownlinkMacCommand::RXParamSetupReq(req)
            if req.frequency().value() == 869_525_000 && req.dl_settings().rx2_data_rate() == 3));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            prop_assert!(read(&bytes).len() <= bytes.len());
        }
    }
}
