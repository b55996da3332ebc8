//! Values in JSON texts and in plain texts: which one is meant, and what it means.

use std::collections::BTreeMap;
use std::str::FromStr;

use lwm2m_client::{Timestamp, Value};
use serde_json::Value as Json;
use ucifi_core::profile::Decoded;

use crate::instant::{self, TimeFormat};
use crate::layout::{Limit, Number};
use crate::limits::{MAX_JSON_PATH, MAX_TEXT_BYTES};
use crate::register::Raw;

/// Where a value stands in a JSON text: `params.em:0.voltage[2]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct JsonPath(Vec<Step>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Key(String),
    Index(usize),
}

impl JsonPath {
    /// Returns the value at the path.
    pub(crate) fn find<'j>(&self, json: &'j Json) -> Option<&'j Json> {
        self.0.iter().try_fold(json, |json, step| match step {
            Step::Key(key) => json.get(key),
            Step::Index(index) => json.get(index),
        })
    }

    /// Returns the value at the path, to change it.
    pub(crate) fn find_mut<'j>(&self, json: &'j mut Json) -> Option<&'j mut Json> {
        self.0.iter().try_fold(json, |json, step| match step {
            Step::Key(key) => json.get_mut(key),
            Step::Index(index) => json.get_mut(index),
        })
    }
}

impl FromStr for JsonPath {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.starts_with('$') {
            return Err("a JSON path begins with the first key: leave the $ out".to_owned());
        }
        let mut steps = Vec::new();
        for part in text.split('.') {
            let (key, indices) = part
                .split_at_checked(part.find('[').unwrap_or(part.len()))
                .unwrap_or((part, ""));
            let is_first_index = key.is_empty() && steps.is_empty() && !indices.is_empty();
            if key.contains(['"', '\'', ']', '*', '?', ' ']) || (key.is_empty() && !is_first_index) {
                return Err(not_a_path(text));
            }
            if !key.is_empty() {
                steps.push(Step::Key(key.to_owned()));
            }
            for index in indices.split_inclusive(']') {
                let index = index.strip_prefix('[').and_then(|index| index.strip_suffix(']'));
                let index = index.and_then(|index| index.parse::<u16>().ok());
                steps.push(Step::Index(index.ok_or_else(|| not_a_path(text))?.into()));
            }
        }
        if steps.len() > MAX_JSON_PATH {
            return Err(format!("a JSON path has at most {MAX_JSON_PATH} steps"));
        }
        Ok(Self(steps))
    }
}

fn not_a_path(text: &str) -> String {
    format!(
        "{text:?} is no JSON path: expected keys and places, as in params.em:0.voltage or ENERGY.Power[0]"
    )
}

/// One value that is no list and no object.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Leaf<'j> {
    Truth(bool),
    Number(Raw),
    Text(&'j str),
    /// The device has no value.
    Null,
}

impl<'j> Leaf<'j> {
    /// Returns the leaf that a JSON value is; none for lists and objects.
    pub(crate) fn of(json: &'j Json) -> Option<Self> {
        match json {
            Json::Null => Some(Self::Null),
            Json::Bool(truth) => Some(Self::Truth(*truth)),
            Json::String(text) => Some(Self::Text(text)),
            Json::Number(number) => Some(Self::Number(match number.as_i128() {
                Some(whole) => Raw::Integer(whole),
                None => Raw::Decimal(number.as_f64()?),
            })),
            Json::Array(_) | Json::Object(_) => None,
        }
    }

    /// Returns the word for it in maps and conditions.
    fn word(&self) -> String {
        match self {
            Self::Truth(truth) => truth.to_string(),
            Self::Number(Raw::Integer(whole)) => whole.to_string(),
            Self::Number(raw) => raw.as_f64().to_string(),
            Self::Text(text) => (*text).to_owned(),
            Self::Null => "null".to_owned(),
        }
    }
}

/// What a leaf says.
#[derive(Clone, Debug)]
pub(crate) enum LeafMeaning {
    /// True or false, or 1 or 0.
    Flag,
    /// One of the words listed.
    Words(BTreeMap<String, Value>),
    /// A measured number.
    Number { number: Number, from_text: bool },
    /// Whether a measured number has reached a limit.
    Limit { limit: Limit, from_text: bool },
    /// A text as it is.
    Text,
}

impl LeafMeaning {
    pub(crate) fn of(&self, leaf: &Leaf<'_>) -> Decoded {
        if *leaf == Leaf::Null {
            return Decoded::Absent;
        }
        let value = match self {
            Self::Flag => flag(leaf),
            Self::Words(words) => {
                let word = leaf.word();
                let value = words.get(&word).cloned();
                value.ok_or_else(|| format!("{} is not in the map of the profile", clipped(&word)))
            }
            Self::Number { number, from_text } => raw(leaf, *from_text).and_then(|raw| number.value(raw)),
            Self::Limit { limit, from_text } => {
                raw(leaf, *from_text).map(|raw| Value::Boolean(limit.is_reached(raw)))
            }
            Self::Text => match leaf.word() {
                text if text.len() <= MAX_TEXT_BYTES => Ok(Value::String(text)),
                text => Err(format!("a text of {} bytes is too long", text.len())),
            },
        };
        value.map_or_else(Decoded::Fault, Decoded::Value)
    }
}

fn flag(leaf: &Leaf<'_>) -> Result<Value, String> {
    match leaf {
        Leaf::Truth(truth) => Ok(Value::Boolean(*truth)),
        Leaf::Number(Raw::Integer(number @ (0 | 1))) => Ok(Value::Boolean(*number == 1)),
        Leaf::Number(_) | Leaf::Text(_) | Leaf::Null => {
            Err(format!("{} is neither true nor false", clipped(&leaf.word())))
        }
    }
}

fn raw(leaf: &Leaf<'_>, from_text: bool) -> Result<Raw, String> {
    let number = match leaf {
        Leaf::Number(raw) => Some(*raw),
        Leaf::Text(text) if from_text => decimal(text.trim()),
        Leaf::Truth(_) | Leaf::Text(_) | Leaf::Null => None,
    };
    number.ok_or_else(|| format!("{} is no number", clipped(&leaf.word())))
}

fn decimal(text: &str) -> Option<Raw> {
    if let Ok(whole) = text.parse::<i64>() {
        return Some(Raw::Integer(whole.into()));
    }
    // What Rust reads beside decimal numbers: inf, nan, infinity.
    let is_plain = text.bytes().all(|b| b.is_ascii_digit() || b"+-.eE".contains(&b));
    let number = is_plain.then(|| text.parse::<f64>().ok())??;
    number.is_finite().then_some(Raw::Decimal(number))
}

/// A foreign text for people: no longer than a line has room for, without control characters.
fn clipped(text: &str) -> String {
    let short: String = text.chars().filter(|c| !c.is_control()).take(40).collect();
    format!("{short:?}")
}

/// A value that must be one of the words listed.
#[derive(Clone, Debug)]
pub(crate) struct LeafCondition {
    pub(crate) path: JsonPath,
    pub(crate) among: Vec<String>,
}

impl LeafCondition {
    pub(crate) fn holds(&self, json: &Json) -> bool {
        let word = self.path.find(json).and_then(Leaf::of).map(|leaf| leaf.word());
        word.is_some_and(|word| self.among.contains(&word))
    }
}

/// Where a JSON text says when it was measured.
#[derive(Clone, Debug)]
pub(crate) struct JsonTime {
    pub(crate) path: JsonPath,
    pub(crate) format: TimeFormat,
}

impl JsonTime {
    pub(crate) fn read(&self, json: &Json) -> Option<Timestamp> {
        match (Leaf::of(self.path.find(json)?)?, self.format) {
            (Leaf::Number(raw), TimeFormat::UnixSecs) => instant::from_unix_secs(raw.as_f64()),
            (Leaf::Number(raw), TimeFormat::UnixMs) => instant::from_unix_ms(raw.as_f64()),
            (Leaf::Text(text), TimeFormat::Rfc3339) => instant::from_rfc3339(text),
            (Leaf::Number(_) | Leaf::Text(_) | Leaf::Truth(_) | Leaf::Null, _) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_leads_to_a_value() {
        let json = serde_json::json!({"params": {"em:0": {"v": [230.1, 231.5]}, "": 1}, "on": true});
        for (path, expected) in [
            ("params.em:0.v[1]", Some(serde_json::json!(231.5))),
            ("on", Some(serde_json::json!(true))),
            ("params.em:0.v[2]", None),
            ("params.v", None),
            ("on.v", None),
        ] {
            let found = path.parse::<JsonPath>().unwrap().find(&json).cloned();
            assert_eq!(found, expected, "{path}");
        }
        let list = serde_json::json!([[7]]);
        assert_eq!(
            "[0][0]".parse::<JsonPath>().unwrap().find(&list),
            Some(&serde_json::json!(7))
        );
    }

    #[test]
    fn what_is_no_path_is_refused() {
        for text in [
            "", ".", "a.", "a..b", "a[", "a[x]", "a[0]b", "a[-1]", "$.a", "a[*]", "a b", "a.[0]", "a[70000]",
        ] {
            assert!(text.parse::<JsonPath>().is_err(), "{text}");
        }
        assert!(
            "a.".repeat(MAX_JSON_PATH)
                .trim_end_matches('.')
                .parse::<JsonPath>()
                .is_ok()
        );
        assert!(
            format!("{}a", "a.".repeat(MAX_JSON_PATH))
                .parse::<JsonPath>()
                .is_err()
        );
    }

    #[test]
    fn numbers_in_texts_are_decimal_numbers_only() {
        assert_eq!(decimal("230.1"), Some(Raw::Decimal(230.1)));
        assert_eq!(decimal("-5"), Some(Raw::Integer(-5)));
        for text in ["", "nan", "inf", "1e999", "0x10", "12 W", "--1"] {
            assert_eq!(decimal(text), None, "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_a_path_or_has_a_reason(text in "[a-z:.$ *\\[\\]0-9\"]{0,40}") {
            let _outcome = text.parse::<JsonPath>();
        }
    }
}
