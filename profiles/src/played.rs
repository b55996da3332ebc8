//! What somebody needs who plays a device of a kind: what it says when all is well, and what can be written to it.
//!
//! All of it follows from the golden frames and the commands of the profile; nothing is made up here.

use lwm2m_client::Timestamp;
use serde_json::Value as Json;
use ucifi_core::field::{Frame, LoRaWanData, MqttMessage, Table, TopicTemplate, WriteFunction};

use crate::command::{Action, CommandContent, RegisterCommand};
use crate::golden::{Case, Expected, Said, Test, open_exchange};
use crate::instant::TimeFormat;
use crate::json::JsonTime;
use crate::message::Form;
use crate::payload::{Payload, Place};
use crate::profile::{CompiledProfile, Medium};

/// Some registers or bits, one behind the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RegisterRange {
    /// In which table.
    pub table: Table,
    /// The first.
    pub address: u16,
    /// How many.
    pub count: u16,
}

impl CompiledProfile {
    /// Returns the golden frames that a device in good order sends: they say something, and nothing of it is absent or
    /// a fault.
    pub fn golden_frames(&self) -> Vec<Frame> {
        self.tests.iter().filter_map(good_frame).collect()
    }

    /// Returns the golden frame by which it is told that a device behind a broker is gone.
    pub fn golden_farewell(&self) -> Option<MqttMessage> {
        self.tests.iter().find_map(|test| match &test.case {
            Case::Said(Said {
                frame: Frame::MqttMessage(message),
                is_online: Some(false),
                ..
            }) => Some(message.clone()),
            Case::Said(_)
            | Case::Read { .. }
            | Case::Broken { .. }
            | Case::Write { .. }
            | Case::Refused { .. }
            | Case::Foreign(_)
            | Case::Sent { .. } => None,
        })
    }

    /// Returns a frame as the device would send it at another time: the time of measurement in it is this one, that of
    /// former values as much earlier as it was.
    #[must_use]
    pub fn dated(&self, frame: &Frame, measured: Timestamp) -> Frame {
        match (&self.medium, frame) {
            (Medium::LoRaWan(uplinks), Frame::LoRaWanData(data)) => {
                let payload = uplinks.payload_of(data);
                let dated = payload.and_then(|payload| payload.dated(&data.payload, measured.unix_secs()));
                Frame::LoRaWanData(LoRaWanData {
                    f_port: data.f_port,
                    payload: dated.unwrap_or_else(|| data.payload.clone()),
                })
            }
            (Medium::Mqtt(messages), Frame::MqttMessage(message)) => {
                let sources = messages.sources.iter();
                let of_topic = sources.filter(|source| source.topic == message.topic);
                let payload = of_topic.fold(message.payload.clone(), |payload, source| {
                    dated_message(&source.form, &payload, measured).unwrap_or(payload)
                });
                Frame::MqttMessage(MqttMessage {
                    topic: message.topic,
                    payload,
                })
            }
            (Medium::Modbus(_) | Medium::LoRaWan(_) | Medium::Mqtt(_), _) => frame.clone(),
        }
    }

    /// Returns what commands write to, and what they read back.
    pub fn commanded_registers(&self) -> Vec<RegisterRange> {
        let commands = self.commands.values();
        commands
            .filter_map(|command| match &command.action {
                Action::Registers(registers) => Some(registers.ranges()),
                Action::Downlink(_) | Action::Publish(_) => None,
            })
            .flatten()
            .collect()
    }

    /// Returns the topics under which commands come, each once.
    pub fn command_topics(&self) -> Vec<&TopicTemplate> {
        let mut topics: Vec<&TopicTemplate> = Vec::new();
        for command in self.commands.values() {
            if let Action::Publish(publish) = &command.action
                && !topics.contains(&&publish.topic)
            {
                topics.push(&publish.topic);
            }
        }
        topics
    }
}

fn good_frame(test: &Test) -> Option<Frame> {
    match &test.case {
        Case::Read {
            request,
            response,
            expect,
        } if is_good(expect) => open_exchange(request, response).ok().map(Frame::ModbusBlock),
        Case::Said(said) if said.is_online == Some(true) && said.expect.is_empty() => {
            Some(said.frame.clone())
        }
        Case::Said(said) if said.is_online != Some(false) && is_good(&said.expect) => {
            Some(said.frame.clone())
        }
        Case::Read { .. }
        | Case::Said(_)
        | Case::Broken { .. }
        | Case::Write { .. }
        | Case::Refused { .. }
        | Case::Foreign(_)
        | Case::Sent { .. } => None,
    }
}

fn is_good(expect: &[(String, Expected)]) -> bool {
    let is_value = |expected: &Expected| matches!(expected, Expected::Number { .. } | Expected::Value(_));
    !expect.is_empty() && expect.iter().all(|(_, expected)| is_value(expected))
}

fn dated_message(form: &Form, payload: &[u8], measured: Timestamp) -> Option<Vec<u8>> {
    match form {
        Form::Json { time, .. } => {
            let mut json: Json = serde_json::from_slice(payload).ok()?;
            time.as_ref()?.set(&mut json, measured)?;
            serde_json::to_vec(&json).ok()
        }
        Form::Bytes(layout) if layout.is(payload) => layout.dated(payload, measured.unix_secs()),
        Form::Bytes(_) | Form::Text(_) => None,
    }
}

impl JsonTime {
    /// Writes a time where one stands; one that is written as text is taken out: without it, the message counts.
    fn set(&self, json: &mut Json, measured: Timestamp) -> Option<()> {
        let there = self.path.find_mut(json)?;
        *there = match self.format {
            TimeFormat::UnixSecs => Json::from(measured.unix_secs()),
            TimeFormat::UnixMs => Json::from(measured.unix_ms()),
            TimeFormat::Rfc3339 => Json::Null,
        };
        Some(())
    }
}

impl Payload {
    /// Returns the payload with another time of measurement; none where it has none that can be set.
    fn dated(&self, bytes: &[u8], unix_secs: i64) -> Option<Vec<u8>> {
        let own = self.time?;
        let before = own.integer(bytes)?;
        let mut dated = bytes.to_vec();
        own.set(&mut dated, unix_secs.into())?;
        for history in &self.histories {
            let ago = before - history.time.integer(bytes)?;
            history.time.set(&mut dated, i128::from(unix_secs) - ago)?;
        }
        Some(dated)
    }
}

impl Place {
    fn set(&self, bytes: &mut [u8], value: i128) -> Option<()> {
        let number = self.number.write(value as f64)?;
        let end = self.at.checked_add(number.len())?;
        bytes.get_mut(self.at..end)?.copy_from_slice(&number);
        Some(())
    }
}

impl RegisterCommand {
    fn ranges(&self) -> Vec<RegisterRange> {
        let table = match self.function {
            WriteFunction::SingleCoil | WriteFunction::MultipleCoils => Table::Coils,
            WriteFunction::SingleRegister | WriteFunction::MultipleRegisters => Table::HoldingRegisters,
        };
        let count = match &self.content {
            CommandContent::Choices(choices) => choices.iter().map(|(_, content)| content.len()).max(),
            CommandContent::Fixed(content) => Some(content.len()),
            CommandContent::Number { encoding, .. } => Some(usize::from(encoding.count())),
        };
        let written = RegisterRange {
            table,
            address: self.address,
            count: count.and_then(|count| u16::try_from(count).ok()).unwrap_or(1),
        };
        let read_back = self.verify.as_ref().map(|verify| RegisterRange {
            table: verify.table,
            address: verify.address,
            count: verify.count,
        });
        [Some(written), read_back].into_iter().flatten().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue::Catalogue;
    use lwm2m_client::object::ObjectTable;
    use ucifi_core::Profile;
    use ucifi_core::profile::Decoded;

    fn stock(id: &str) -> CompiledProfile {
        let catalogue = Catalogue::stock(&ObjectTable::builtin());
        catalogue.find(id).unwrap().as_ref().clone()
    }

    #[test]
    fn every_stock_profile_has_a_frame_that_can_be_played_and_each_of_them_says_something_good() {
        for profile in Catalogue::stock(&ObjectTable::builtin()).profiles() {
            let frames = profile.golden_frames();
            assert!(!frames.is_empty(), "{}", profile.id());
            for frame in frames {
                let meaning = profile.decode(&frame).unwrap();
                let good = |decoded: &Decoded| matches!(decoded, Decoded::Value(_));
                assert!(
                    meaning.samples.iter().all(|sample| good(&sample.decoded)),
                    "{frame:?}"
                );
                assert_ne!(meaning.is_online, Some(false), "{frame:?}");
                assert!(
                    meaning.is_online.is_some() || !meaning.samples.is_empty(),
                    "{frame:?}"
                );
            }
        }
    }

    #[test]
    fn a_frame_is_dated_anew_with_its_former_values_as_far_apart_as_they_were() {
        let at = Timestamp::from_unix_ms(1_800_000_000_000);
        let water = stock("axioma.w1");
        let first = &water.golden_frames()[0];
        let (old, new) = (
            water.decode(first).unwrap().samples,
            water.decode(&water.dated(first, at)).unwrap().samples,
        );
        assert_eq!(old.len(), new.len());
        assert_eq!(new.last().unwrap().measured, Some(at));
        let apart = at.unix_ms() - old.last().unwrap().measured.unwrap().unix_ms();
        for (old, new) in old.iter().zip(&new) {
            assert_eq!(old.decoded, new.decoded);
            let moved = new.measured.unwrap().unix_ms() - old.measured.unwrap().unix_ms();
            assert_eq!(moved, apart);
        }

        let meter = stock("shelly.gen2-meter");
        let frame = &meter.golden_frames()[0];
        let samples = meter.decode(&meter.dated(frame, at)).unwrap().samples;
        assert!(
            samples.iter().all(|sample| sample.measured == Some(at)),
            "{samples:?}"
        );
    }

    #[test]
    fn what_commands_write_and_read_back_is_known() {
        let ranges = stock("waveshare.relay-8ch").commanded_registers();
        let range = |address, count| RegisterRange {
            table: Table::Coils,
            address,
            count,
        };
        assert_eq!(ranges[..2], [range(0, 1), range(0, 8)]);
        assert_eq!(ranges.len(), 16);
        let plug = stock("tasmota.plug");
        assert!(plug.commanded_registers().is_empty());
        let topics: Vec<String> = plug.command_topics().iter().map(|topic| topic.of("p")).collect();
        assert_eq!(topics, ["cmnd/p/POWER"]);
        assert_eq!(plug.golden_farewell().unwrap().payload, b"Offline");
    }
}
