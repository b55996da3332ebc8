//! What a Write or an Execute makes of a value: a write to registers, a downlink, a message.

use lwm2m_client::{Path, Value, ValueType};
use serde_json::Value as Json;
use ucifi_core::field::{
    BlockContent, Frame, LoRaWanCommand, MqttPublish, Qos, ReadBack, RegisterWrite, Table, TopicTemplate,
    WriteFunction,
};
use ucifi_core::profile::{self, Encoded};

use crate::bytes::ByteNumber;
use crate::layout;
use crate::ratio::Linear;
use crate::register::{self, Encoding, Order};

/// How a value for a resource becomes a frame.
#[derive(Clone, Debug)]
pub(crate) struct Command {
    /// The type of the resource; none is executed.
    pub(crate) value_type: Option<ValueType>,
    pub(crate) action: Action,
}

/// What is sent.
#[derive(Clone, Debug)]
pub(crate) enum Action {
    Registers(RegisterCommand),
    Downlink(DownlinkCommand),
    Publish(PublishCommand),
}

impl Command {
    pub(crate) fn encode(&self, value: &Value) -> Result<Encoded, String> {
        self.check_type(value)?;
        match &self.action {
            Action::Registers(command) => Ok(Encoded::of(Frame::ModbusWrite(command.write(value)?))),
            Action::Downlink(command) => command.encode(value),
            Action::Publish(command) => command.encode(value),
        }
    }

    fn check_type(&self, value: &Value) -> Result<(), String> {
        let is_number =
            |t: ValueType| matches!(t, ValueType::Integer | ValueType::Unsigned | ValueType::Time);
        let given = value.value_type();
        match self.value_type {
            Some(expected) if expected != given && !(is_number(expected) && is_number(given)) => {
                Err(format!("the resource is of type {expected}"))
            }
            Some(_) | None => Ok(()),
        }
    }
}

/// What a value is in the device's words.
#[derive(Clone, Debug)]
pub(crate) enum Setting {
    /// There is none: the command is always the same.
    Fixed,
    /// One of the values listed, each with the word for it.
    Words(Vec<(Value, Json)>),
    /// A number of the registry's unit within a range.
    Number {
        to_device: Linear,
        low: f64,
        high: f64,
        /// Whether the device takes whole numbers only.
        whole: bool,
    },
}

impl Setting {
    fn word(&self, value: &Value) -> Result<Json, String> {
        match self {
            Self::Fixed => Ok(Json::Null),
            Self::Words(words) => chosen(words, value).cloned().ok_or_else(|| takes_only(words)),
            Self::Number {
                to_device,
                low,
                high,
                whole,
            } => {
                let number = to_device.apply_decimal(within(value, *low, *high)?);
                let number = if *whole { number.round() } else { number };
                // Up to 2^53 a whole number is one in both types; 50.0 would surprise a device that counts.
                if number.fract() == 0.0 && number.abs() < 2_f64.powi(53) {
                    return Ok(Json::from(number as i64));
                }
                Ok(Json::from(number))
            }
        }
    }
}

fn within(value: &Value, low: f64, high: f64) -> Result<f64, String> {
    let number = value.as_f64().ok_or("it is not a number")?;
    if (low..=high).contains(&number) {
        Ok(number)
    } else {
        Err(format!("the device takes {low} to {high}"))
    }
}

fn takes_only<T>(choices: &[(Value, T)]) -> String {
    let known: Vec<String> = choices.iter().map(|(value, _)| value.to_string()).collect();
    format!("the device takes only {}", known.join(" or "))
}

/// What the device says later if it took a command.
#[derive(Clone, Debug)]
pub(crate) struct Expectation {
    pub(crate) path: Path,
    pub(crate) value_type: ValueType,
    pub(crate) tolerance: f64,
    pub(crate) within_ms: u64,
}

impl Expectation {
    fn of(&self, value: &Value) -> Result<profile::Verify, String> {
        let expect = match value.as_f64() {
            Some(number) => layout::typed(number, self.value_type),
            None => (value.value_type() == self.value_type).then(|| value.clone()),
        };
        Ok(profile::Verify {
            path: self.path,
            expect: expect.ok_or_else(|| format!("{} cannot show it", self.path))?,
            tolerance: self.tolerance,
            within_ms: self.within_ms,
        })
    }
}

fn encoded(frame: Frame, expectation: Option<&Expectation>, value: &Value) -> Result<Encoded, String> {
    let verify = expectation.map(|expectation| expectation.of(value)).transpose()?;
    Ok(Encoded { frame, verify })
}

/// How a value becomes a LoRaWAN downlink.
#[derive(Clone, Debug)]
pub(crate) struct DownlinkCommand {
    pub(crate) port: u8,
    pub(crate) confirmed: bool,
    pub(crate) pieces: Vec<Piece>,
    pub(crate) setting: Setting,
    pub(crate) expectation: Option<Expectation>,
}

/// A part of a downlink.
#[derive(Clone, Debug)]
pub(crate) enum Piece {
    Literal(Vec<u8>),
    /// The value.
    Value(ByteNumber),
}

impl DownlinkCommand {
    fn encode(&self, value: &Value) -> Result<Encoded, String> {
        let word = self.setting.word(value)?;
        let mut payload = Vec::new();
        for piece in &self.pieces {
            match piece {
                Piece::Literal(bytes) => payload.extend(bytes),
                Piece::Value(number) => {
                    let bytes = word.as_f64().and_then(|word| number.write(word));
                    payload.extend(bytes.ok_or("it does not fit the payload")?);
                }
            }
        }
        let frame = Frame::LoRaWanCommand(LoRaWanCommand {
            f_port: self.port,
            payload,
            confirmed: self.confirmed,
        });
        encoded(frame, self.expectation.as_ref(), value)
    }
}

/// How a value becomes an MQTT message.
#[derive(Clone, Debug)]
pub(crate) struct PublishCommand {
    pub(crate) topic: TopicTemplate,
    pub(crate) qos: Qos,
    pub(crate) retain: bool,
    pub(crate) payload: PayloadTemplate,
    pub(crate) setting: Setting,
    pub(crate) expectation: Option<Expectation>,
}

/// A payload in which `{value}` stands for the value.
#[derive(Clone, Debug)]
pub(crate) enum PayloadTemplate {
    Text(String),
    Json(Json),
}

/// What stands for the value in the payload of a message.
pub(crate) const VALUE_MARK: &str = "{value}";

impl PublishCommand {
    fn encode(&self, value: &Value) -> Result<Encoded, String> {
        let word = self.setting.word(value)?;
        let payload = match &self.payload {
            PayloadTemplate::Text(text) => match word.as_str() {
                Some(word) => text.replace(VALUE_MARK, word),
                None => text.replace(VALUE_MARK, &word.to_string()),
            },
            PayloadTemplate::Json(template) => filled(template, &word).to_string(),
        };
        let frame = Frame::MqttPublish(MqttPublish {
            topic: self.topic.clone(),
            payload: payload.into_bytes(),
            qos: self.qos,
            retain: self.retain,
        });
        encoded(frame, self.expectation.as_ref(), value)
    }
}

/// Puts the word where the mark stands; the document that the template comes from bounds how deep it nests.
fn filled(template: &Json, word: &Json) -> Json {
    match template {
        Json::String(text) if text == VALUE_MARK => word.clone(),
        Json::Array(items) => items.iter().map(|item| filled(item, word)).collect(),
        Json::Object(entries) => {
            let entries = entries
                .iter()
                .map(|(key, entry)| (key.clone(), filled(entry, word)));
            Json::Object(entries.collect())
        }
        Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) => template.clone(),
    }
}

/// How a value for a resource becomes a write to registers or coils.
#[derive(Clone, Debug)]
pub(crate) struct RegisterCommand {
    pub(crate) function: WriteFunction,
    pub(crate) address: u16,
    pub(crate) content: CommandContent,
    pub(crate) verify: Option<Verify>,
}

/// What a command writes.
#[derive(Clone, Debug)]
pub(crate) enum CommandContent {
    /// One of the values listed, each with what stands for it.
    Choices(Vec<(Value, BlockContent)>),
    /// Always the same, for what is executed.
    Fixed(BlockContent),
    /// A number of the registry's unit within a range.
    Number {
        encoding: Encoding,
        order: Order,
        to_raw: Linear,
        low: f64,
        high: f64,
    },
}

/// Where and when to read back.
#[derive(Clone, Debug)]
pub(crate) struct Verify {
    pub(crate) table: Table,
    pub(crate) address: u16,
    pub(crate) count: u16,
    pub(crate) at: u16,
    /// What stands there for each value, where that is not what was written.
    pub(crate) expect: Vec<(Value, BlockContent)>,
    pub(crate) after_ms: u64,
    pub(crate) within_ms: u64,
}

impl RegisterCommand {
    fn write(&self, value: &Value) -> Result<RegisterWrite, String> {
        let content = self.content(value)?;
        let read_back = self.verify.as_ref().map(|verify| ReadBack {
            table: verify.table,
            address: verify.address,
            count: verify.count,
            at: verify.at,
            expect: chosen(&verify.expect, value).unwrap_or(&content).clone(),
            after_ms: verify.after_ms,
            within_ms: verify.within_ms,
        });
        Ok(RegisterWrite {
            function: self.function,
            address: self.address,
            content,
            read_back,
        })
    }

    fn content(&self, value: &Value) -> Result<BlockContent, String> {
        match &self.content {
            CommandContent::Fixed(content) => Ok(content.clone()),
            CommandContent::Choices(choices) => {
                chosen(choices, value).cloned().ok_or_else(|| takes_only(choices))
            }
            CommandContent::Number {
                encoding,
                order,
                to_raw,
                low,
                high,
            } => {
                let number = within(value, *low, *high)?;
                let words = register::encode(*encoding, *order, to_raw.apply(number));
                let words = words.ok_or("it does not fit the register")?;
                Ok(BlockContent::Words(words))
            }
        }
    }
}

/// Returns what a value was paired with; numbers are the same whatever their types.
fn chosen<'c, T>(choices: &'c [(Value, T)], value: &Value) -> Option<&'c T> {
    let same = |choice: &Value| match (choice.as_f64(), value.as_f64()) {
        (Some(a), Some(b)) => a == b,
        (Some(_) | None, _) => choice == value,
    };
    let (_, content) = choices.iter().find(|(choice, _)| same(choice))?;
    Some(content)
}
