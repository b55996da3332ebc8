//! `[[test]]`: golden frames.

use lwm2m_client::{Path, Timestamp, Value};
use ucifi_core::field::{Frame, LoRaWanData, MqttMessage, TopicId};

use super::resource::{Use, typed_value};
use super::{Draft, Speaks, tables};
use crate::document::{Item, Table};
use crate::expression::Scope;
use crate::golden::{self, Case, Expected, Former, Said, Sent, Test};
use crate::instant;
use crate::limits::MAX_ENTRIES;

impl<'d> Draft<'d> {
    pub(super) fn tests(&mut self, root: &Table<'d>) {
        for table in tables(root, "test") {
            if self.tests.len() >= MAX_ENTRIES {
                table.error::<()>(format!("a profile has at most {MAX_ENTRIES} tests"));
                return;
            }
            let name = table.require("name").and_then(|item| item.string());
            table.get("source").and_then(|item| item.string());
            let write = table.get("write").or_else(|| table.get("execute"));
            let case = match (self.speaks, write) {
                (Speaks::Modbus, Some(item)) => self.write_case(&table, &item),
                (Speaks::Modbus, None) => self.read_case(&table),
                (Speaks::LoRaWan | Speaks::Mqtt, Some(item)) => self.sent_case(&table, &item),
                (Speaks::LoRaWan | Speaks::Mqtt, None) => self.said_case(&table),
            };
            table.finish();
            if let (Some(name), Some(case)) = (name, case) {
                let (name, place) = (name.to_owned(), table.place());
                self.tests.push(Test { name, place, case });
            }
        }
    }

    fn said_case(&self, table: &Table<'d>) -> Option<Case> {
        let refused = table
            .get("refused")
            .and_then(|item| item.boolean())
            .unwrap_or(false);
        let frame = match self.speaks {
            Speaks::Mqtt => self.message(table),
            Speaks::LoRaWan | Speaks::Modbus => uplink(table),
        };
        if refused {
            return Some(Case::Foreign(frame?));
        }
        let expect = self.expectations(table);
        let measured = match table.get("measured") {
            Some(item) => Some(instant(&item)?),
            None => None,
        };
        let is_online = match table.get("online") {
            Some(item) => Some(item.boolean()?),
            None => None,
        };
        let history = match table.get("history") {
            Some(item) => self.histories(&item.table()?)?,
            None => Vec::new(),
        };
        Some(Case::Said(Said {
            frame: frame?,
            expect: expect?,
            measured,
            history,
            is_online,
        }))
    }

    fn histories(&self, table: &Table<'d>) -> Option<Vec<(String, Former)>> {
        let former = |item: Item<'d>| {
            let name = self.known_point(&item, item.key())?;
            let table = item.table()?;
            let end = |key: &str| {
                let item = table.require(key)?;
                let [time, value] = <[Item<'d>; 2]>::try_from(item.items()?)
                    .ok()
                    .or_else(|| item.error(format!("{key} is [time, value]")))?;
                Some((instant(&time)?, number_expected(&value)?))
            };
            let count = table.require("count").and_then(|item| item.integer(1..=1000));
            let (first, last) = (end("first"), end("last"));
            table.finish();
            let former = Former {
                count: count?,
                first: first?,
                last: last?,
            };
            Some((name, former))
        };
        table.entries().into_iter().map(former).collect()
    }

    fn message(&self, table: &Table<'d>) -> Option<Frame> {
        let topic_item = table.require("topic");
        let payload = payload(table);
        let topic_item = topic_item?;
        let topic = topic_item.string()?;
        let mut topics = self.messages.topics.iter();
        let Some(index) = topics.position(|known| known.topic.device(topic).is_some()) else {
            return topic_item.error(format!("{topic:?} is none of the topics above"));
        };
        Some(Frame::MqttMessage(MqttMessage {
            topic: TopicId(u16::try_from(index).ok()?),
            payload: payload?,
        }))
    }

    fn sent_case(&self, table: &Table<'d>, item: &Item<'d>) -> Option<Case> {
        let refused = table
            .get("refused")
            .and_then(|item| item.boolean())
            .unwrap_or(false);
        let write = item.table()?;
        let command = self.commanded_value(&write);
        write.finish();
        if refused {
            let (path, value) = command?;
            return Some(Case::Refused { path, value });
        }
        let sent = match self.speaks {
            Speaks::Mqtt => {
                let topic = table.require("topic").and_then(|item| item.string());
                let payload = table.require("payload").and_then(|item| item.string());
                topic.zip(payload).map(|(topic, payload)| Sent::Publish {
                    topic: topic.to_owned(),
                    payload: payload.to_owned(),
                })
            }
            Speaks::LoRaWan | Speaks::Modbus => {
                let port = table.require("port").and_then(|item| item.integer(1..=223));
                let payload = table.require("payload").and_then(|item| bytes(&item));
                port.zip(payload)
                    .map(|(port, payload)| Sent::Downlink { port, payload })
            }
        };
        let ((path, value), sent) = (command?, sent?);
        Some(Case::Sent { path, value, sent })
    }

    fn read_case(&self, table: &Table<'d>) -> Option<Case> {
        let refused = table
            .get("refused")
            .and_then(|item| item.boolean())
            .unwrap_or(false);
        let request_item = table.require("request");
        let request = request_item.and_then(|item| frame(&item));
        let response_item = table.require("response");
        if refused {
            let response = response_item.and_then(|item| bytes(&item));
            let (request, response) = (request?, response?);
            return Some(Case::Broken { request, response });
        }
        let response = response_item.and_then(|item| frame(&item));
        let expect = self.expectations(table);
        let (request, response) = (request?, response?);
        if let Err(reason) = golden::open_exchange(&request, &response) {
            return response_item?
                .error_with_help(reason, "write refused = true if that is what the test shows");
        }
        Some(Case::Read {
            request,
            response,
            expect: expect?,
        })
    }

    fn expectations(&self, table: &Table<'d>) -> Option<Vec<(String, Expected)>> {
        let mut all = Vec::new();
        let mut good = true;
        if let Some(expect) = table.require("expect").and_then(|item| item.table()) {
            for item in expect.entries() {
                match self.expectation(&item) {
                    Some(expected) => all.push((item.key().to_owned(), expected)),
                    None => good = false,
                }
            }
        }
        for (key, expected) in [("absent", Expected::Absent), ("fault", Expected::Fault)] {
            let items = table.get(key).and_then(|item| item.items()).unwrap_or_default();
            for item in items {
                match item.string().and_then(|name| self.known_point(&item, name)) {
                    Some(name) => all.push((name, expected.clone())),
                    None => good = false,
                }
            }
        }
        good.then_some(all)
    }

    fn known_point(&self, item: &Item<'_>, name: &str) -> Option<String> {
        if self.names.contains_key(name) {
            return Some(name.to_owned());
        }
        self.unknown_point(item, name)
    }

    fn expectation(&self, item: &Item<'d>) -> Option<Expected> {
        let Some(id) = self.names.get(item.key()) else {
            return self.unknown_point(item, item.key());
        };
        if item.number_text().is_some() {
            return number_expected(item);
        }
        let point = self.points.get(usize::from(id.0))?;
        let target = self.target_of(item, &point.path.to_string(), Use::Fill)?;
        let value = typed_value(item, target.definition.value_type?, Scope::default())?;
        Some(Expected::Value(value))
    }

    fn write_case(&self, table: &Table<'d>, item: &Item<'d>) -> Option<Case> {
        let refused = table
            .get("refused")
            .and_then(|item| item.boolean())
            .unwrap_or(false);
        let request_item = table.get("request");
        let request = request_item.and_then(|item| frame(&item));
        let read_back_item = table.get("read_back");
        let read_back = read_back_item.and_then(|item| frame(&item));
        let write = item.table()?;
        let command = self.commanded_value(&write);
        write.finish();
        let (path, value) = command?;
        if refused {
            return Some(Case::Refused { path, value });
        }
        if request_item.is_none() {
            return table.error("request is missing: the frame that sets the value");
        }
        if read_back_item.is_some() && read_back.is_none() {
            return None;
        }
        Some(Case::Write {
            path,
            value,
            request: request?,
            read_back,
        })
    }

    fn commanded_value(&self, write: &Table<'d>) -> Option<(Path, Value)> {
        let path_item = write.require("path");
        let value = write.get("value");
        let path_item = path_item?;
        let path: Path = path_item.parse()?;
        let Some(command) = self.commands.get(&path) else {
            return path_item.error(format!("no command is mapped to {path}"));
        };
        match (command.value_type, value) {
            // What is executed takes arguments, here none.
            (None, _) => Some((path, Value::String(String::new()))),
            (Some(value_type), Some(value)) => {
                Some((path, typed_value(&value, value_type, Scope::default())?))
            }
            (Some(_), None) => write.error("value is missing"),
        }
    }
}

fn number_expected(item: &Item<'_>) -> Option<Expected> {
    let value = item.float()?;
    let tolerance = tolerance(&item.number_text()?).max(value.abs() * 1e-12);
    Some(Expected::Number { value, tolerance })
}

/// Returns the time that a number of seconds since 1970 or a text of RFC 3339 says.
fn instant(item: &Item<'_>) -> Option<Timestamp> {
    let time = match item.if_string() {
        Some(text) => instant::from_rfc3339(text),
        None => instant::from_unix_secs(item.float()?),
    };
    match time {
        Some(time) => Some(time),
        None => item.error("a time is seconds since 1970, or a text as \"2026-03-02T18:25:03Z\""),
    }
}

fn uplink(table: &Table<'_>) -> Option<Frame> {
    let f_port = table.require("port").and_then(|item| item.integer(1..=223));
    let payload = table.require("payload").and_then(|item| bytes(&item));
    Some(Frame::LoRaWanData(LoRaWanData {
        f_port: f_port?,
        payload: payload?,
    }))
}

/// Returns the payload of a message: a text, or bytes in hex digits.
fn payload(table: &Table<'_>) -> Option<Vec<u8>> {
    match table.get("payload_hex") {
        Some(item) => bytes(&item),
        None => Some(table.require("payload")?.string()?.as_bytes().to_vec()),
    }
}

/// Returns how far a number may be off: half of its last decimal, nothing for whole numbers.
fn tolerance(text: &str) -> f64 {
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let Some((_, decimals)) = mantissa.split_once('.') else {
        return 0.0;
    };
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let places = i32::try_from(decimals.len()).unwrap_or(i32::MAX);
    0.5 * 10_f64.powi(exponent.saturating_sub(places))
}

fn bytes(item: &Item<'_>) -> Option<Vec<u8>> {
    match golden::from_hex(item.string()?) {
        Some(bytes) if bytes.len() <= 256 => Some(bytes),
        Some(bytes) => item.error(format!("a frame has at most 256 bytes, not {}", bytes.len())),
        None => item.error(format!("{} must be pairs of hex digits", item.key())),
    }
}

/// Returns the bytes of a frame with a right CRC.
fn frame(item: &Item<'_>) -> Option<Vec<u8>> {
    let bytes = bytes(item)?;
    if bytes.len() < 4 {
        return item.error(format!("a frame has at least 4 bytes, not {}", bytes.len()));
    }
    match golden::check_crc(&bytes) {
        Ok(()) => Some(bytes),
        Err(right) => item.error_with_help(
            "the CRC, the last two bytes, is wrong",
            format!("for these bytes it would be {}", golden::hex(&right)),
        ),
    }
}
